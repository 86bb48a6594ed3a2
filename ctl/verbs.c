/* SPDX-License-Identifier: BSD-3-Clause */
/* Which verb is meant, and whether what was given makes sense to it; they are all in verb-table.c. */

#include "ctl/verbs.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/suggest.h"

const Verb *verbs_find(const char *name)
{
        for (size_t i = 0; i < n_verbs; i++)
                if (strcmp(verbs[i].name, name) == 0)
                        return &verbs[i];
        return NULL;
}

int verbs_unknown(const char *name)
{
        _cleanup_free_ const char **names = calloc(n_verbs + 1, sizeof(*names));
        const char *nearest;

        if (!names)
                return message_oom();
        for (size_t i = 0; i < n_verbs; i++)
                names[i] = verbs[i].name;
        nearest = suggest_nearest(name, names);
        if (nearest)
                message_error("unknown verb '%s'; did you mean '%s'?", name, nearest);
        else
                message_error("unknown verb '%s'; see pmbrokerctl --help", name);
        return EXIT_USAGE;
}

int verbs_check(const Verb *verb, const Arguments *arguments)
{
        unsigned foreign = arguments->given & ~verb->takes;

        if (arguments->n_operands < verb->operands_min || arguments->n_operands > verb->operands_max) {
                message_error(
                        "usage: pmbrokerctl %s%s%s", verb->name, *verb->operands ? " " : "", verb->operands);
                return EXIT_USAGE;
        }
        if (arguments->table.output && !verb->columns) {
                message_error("%s has no columns: --output means nothing here", verb->name);
                return EXIT_USAGE;
        }
        for (const OptionHelp *o = arguments_verb_options; o->name; o++)
                if (foreign & o->bit) {
                        message_error("%s means nothing to %s", o->name, verb->name);
                        return EXIT_USAGE;
                }
        if (arguments->host && verb->local) {
                message_error("%s cannot be done over --host: %s", verb->name, verb->local_why);
                return EXIT_USAGE;
        }
        return EXIT_DONE;
}
