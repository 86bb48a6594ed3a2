/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl: look at pmbrokerd's pools, stores and tenants, resize a pool, take one away. */

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/arguments.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/pool-table.h"
#include "ctl/suggest.h"
#include "ctl/verb.h"

typedef struct Verb {
        const char *name;
        const char *operands;
        size_t operands_min, operands_max;
        const char *options; /* help of its own ones, NULL: none */
        bool takes_apply, takes_force;
        const TableColumn *columns; /* NULL: -o means nothing here */
        bool all_columns;           /* the optional ones, too */
        const char *summary;
        const char *details;
        const char *examples;
        int (*run)(const Arguments *arguments);
} Verb;

static const Verb verbs[] = {
        {
                .name = "status",
                .operands = "",
                .summary = "how the daemon is (this is the default)",
                .details = "Version, uptime, provisioner, stores, capacity, pools, sessions, refusals, and "
                           "whether a\n"
                           "restart of the provisioner keeps the pools. Most of it is for administrators.",
                .examples = "  pmbrokerctl\n"
                            "  pmbrokerctl status --json | jq .pools\n",
                .run = verb_status,
        },
        {
                .name = "list",
                .operands = "",
                .columns = pool_columns,
                .summary = "all pools, a row each",
                .details = "Administrators see everybody's pools.",
                .examples = "  pmbrokerctl list\n"
                            "  pmbrokerctl list -o +MAX,ENFORCED\n"
                            "  pmbrokerctl list -o ID,USED --noheadings --bytes\n"
                            "  pmbrokerctl list --json | jq '[.pools[].limit] | add'\n",
                .run = verb_list,
        },
        {
                .name = "show",
                .operands = "POOL",
                .operands_min = 1,
                .operands_max = 1,
                .columns = pool_columns,
                .all_columns = true,
                .summary = "all there is to say of one pool",
                .details = "POOL is an id (16 hexadecimal digits), the beginning of one, or a name; the "
                           "last two must\n"
                           "fit exactly one pool.",
                .examples = "  pmbrokerctl show 3f9c\n"
                            "  pmbrokerctl show web -o USED --noheadings --bytes\n",
                .run = verb_show,
        },
        {
                .name = "stores",
                .operands = "[STORE...]",
                .operands_max = SIZE_MAX,
                .columns = store_columns,
                .summary = "what pools are cut from",
                .details = "All stores, or those that are named.",
                .examples = "  pmbrokerctl stores\n"
                            "  pmbrokerctl stores pmem0 -o FREE --noheadings --bytes\n",
                .run = verb_stores,
        },
        {
                .name = "tenants",
                .operands = "[TENANT...]",
                .operands_max = SIZE_MAX,
                .columns = tenant_columns,
                .summary = "who is charged, and up to what",
                .details = "All tenants, or those that are named.",
                .examples = "  pmbrokerctl tenants\n"
                            "  pmbrokerctl tenants batch --json\n",
                .run = verb_tenants,
        },
        {
                .name = "resize",
                .operands = "POOL SIZE|+SIZE|-SIZE",
                .operands_min = 2,
                .operands_max = 2,
                .summary = "give a pool more or less memory",
                .details = "SIZE is in bytes or has a suffix K, M, G, T (powers of 1024), and is rounded up "
                           "to a\n"
                           "multiple of 2M. A pool shrinks by what its owner gives back; when the owner has "
                           "given\n"
                           "nothing for 30 s the resize ends at what was reached, with exit status 1.",
                .examples = "  pmbrokerctl resize web 256M\n"
                            "  pmbrokerctl resize web -64M\n",
                .run = verb_resize,
        },
        {
                .name = "revoke",
                .operands = "POOL",
                .operands_min = 1,
                .operands_max = 1,
                .summary = "take a pool away, at once and without asking",
                .details = "Its owner gets SIGBUS when it touches the memory again.",
                .examples = "  pmbrokerctl revoke 3f9c2b7a10d4e586\n",
                .run = verb_revoke,
        },
        {
                .name = "regions",
                .operands = "",
                .columns = region_columns,
                .summary = "persistent memory, and what is on it",
                .details = "Each region, and behind it its namespaces. ADDRESS is what Region= and, of a "
                           "region "
                           "without\n"
                           "labels, Adopt= take; UUID is what Adopt= takes otherwise.",
                .examples = "  pmbrokerctl regions\n"
                            "  pmbrokerctl regions --json | jq '.regions[] | select(.namespace == null)'\n",
                .run = verb_regions,
        },
        {
                .name = "provision",
                .operands = "",
                .summary = "what a store on persistent memory needs, or make it",
                .details = "Each step for each store of Type=fsdax or kmem: what exists, what would be "
                           "done, and "
                           "what is "
                           "refused\n"
                           "and why. With --apply it is done; a second time there is nothing left to do.",
                .options = "      --store STORE        this store only\n"
                           "      --apply              do it\n",
                .takes_apply = true,
                .examples = "  pmbrokerctl provision\n"
                            "  pmbrokerctl provision --store pmem0 --apply\n",
                .run = verb_provision,
        },
        {
                .name = "deprovision",
                .operands = "STORE",
                .operands_min = 1,
                .operands_max = 1,
                .summary = "take a store on persistent memory down again",
                .details =
                        "Its file system and, if the store made it, its namespace are removed, after being "
                        "overwritten\n"
                        "with Scrub=release; memory of a NUMA node becomes a dax device again. Refused "
                        "while the "
                        "store\n"
                        "holds pools, unless --force revokes them. The next start makes the store again if "
                        "it is "
                        "still\n"
                        "in the configuration.",
                .options = "      --force              revoke its pools\n",
                .takes_force = true,
                .examples = "  pmbrokerctl deprovision pmem0\n",
                .run = verb_deprovision,
        },
};

static const char options_help[] =
        "Options, anywhere on the command line:\n"
        "  -S, --socket PATH      where pmbrokerd listens; default: $PMBROKER_SOCKET or\n"
        "                         /run/pmbroker/pmbroker.sock\n"
        "  -o, --output COL,COL   show these columns; +COL,COL adds to the default\n"
        "      --noheadings       no headings\n"
        "      --bytes            sizes in bytes\n"
        "  -J, --json             JSON; sizes are numbers of bytes, ages seconds\n"
        "  -r, --raw              columns separated by one blank, special characters as \\xNN\n"
        "  -q, --quiet            no notes, no confirmations\n"
        "  -h, --help             this, or with a verb more about it\n"
        "  -V, --version          the version\n";

/* ------------------------------------------------------------------------------------------------------------ help */

static void print_help(void)
{
        (void)printf("Usage: pmbrokerctl [OPTION...] [VERB [OPERAND...]]\n\n"
                     "Look at pmbrokerd's pools, stores and tenants, resize a pool, take one away.\n\n"
                     "Verbs:\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                (void)printf("  %-11s %-17s  %s\n", verbs[i].name, verbs[i].operands, verbs[i].summary);
        (void)printf("\n%s\n"
                     "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no daemon, 4 no such pool "
                     "or several.\n"
                     "More: pmbrokerctl VERB --help, pmbrokerctl(1).\n",
                options_help);
}

static void print_columns(const Verb *verb)
{
        (void)printf("\nColumns%s:\n", verb->all_columns ? "" : " (* by default)");
        for (const TableColumn *c = verb->columns; c->name; c++)
                (void)printf("%s %-9s %s\n",
                        verb->all_columns           ? " "
                        : c->flags & TABLE_OPTIONAL ? " "
                                                    : "*",
                        c->name, c->help);
}

static void print_verb_help(const Verb *verb)
{
        (void)printf("Usage: pmbrokerctl [OPTION...] %s%s%s\n\n%s: %s.\n\n%s\n", verb->name,
                *verb->operands ? " " : "", verb->operands, verb->name, verb->summary, verb->details);
        if (verb->columns)
                print_columns(verb);
        if (verb->options)
                (void)printf("\nOptions of %s:\n%s", verb->name, verb->options);
        (void)printf("\nExamples:\n%s\n%s", verb->examples, options_help);
}

/* -------------------------------------------------------------------------------------------------------- dispatch */

static const Verb *find_verb(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (strcmp(verbs[i].name, name) == 0)
                        return &verbs[i];
        return NULL;
}

static int unknown_verb(const char *name)
{
        const char *names[ELEMENTSOF(verbs) + 1] = {0};
        const char *nearest;

        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                names[i] = verbs[i].name;
        nearest = suggest_nearest(name, names);
        if (nearest)
                message_error("unknown verb '%s'; did you mean '%s'?", name, nearest);
        else
                message_error("unknown verb '%s'; see pmbrokerctl --help", name);
        return EXIT_USAGE;
}

static int check_operands(const Verb *verb, const Arguments *arguments)
{
        if (arguments->n_operands < verb->operands_min || arguments->n_operands > verb->operands_max) {
                message_error(
                        "usage: pmbrokerctl %s%s%s", verb->name, *verb->operands ? " " : "", verb->operands);
                return EXIT_USAGE;
        }
        if (arguments->table.output && !verb->columns) {
                message_error("%s has no columns: --output means nothing here", verb->name);
                return EXIT_USAGE;
        }
        if ((arguments->apply || arguments->store) && !verb->takes_apply) {
                message_error(
                        "%s means nothing to %s", arguments->apply ? "--apply" : "--store", verb->name);
                return EXIT_USAGE;
        }
        if (arguments->force && !verb->takes_force) {
                message_error("--force means nothing to %s", verb->name);
                return EXIT_USAGE;
        }
        return EXIT_DONE;
}

static int run(const Arguments *arguments)
{
        const Verb *verb;
        int r;

        if (arguments->version) {
                (void)printf("pmbrokerctl %s\n", PMBROKER_VERSION);
                return EXIT_DONE;
        }
        if (arguments->help && !arguments->verb) {
                print_help();
                return EXIT_DONE;
        }
        verb = find_verb(arguments->verb ? arguments->verb : "status");
        if (!verb)
                return unknown_verb(arguments->verb);
        if (arguments->help) {
                print_verb_help(verb);
                return EXIT_DONE;
        }
        r = check_operands(verb, arguments);
        return r == EXIT_DONE ? verb->run(arguments) : r;
}

/* What did not reach the reader was not done. */
static int flush_output(int status)
{
        if (fflush(stdout) == 0 && !ferror(stdout))
                return status;
        message_error("cannot write the output: %s", strerror(errno));
        return status == EXIT_DONE ? EXIT_REFUSED : status;
}

int main(int argc, char *argv[])
{
        _cleanup_(arguments_done) Arguments arguments = {0};
        char error[ARGUMENTS_ERROR_MAX];
        int r;

        (void)setlocale(LC_CTYPE, ""); /* which characters a terminal shows */
        r = arguments_parse(argc, argv, &arguments, error);
        if (r == -ENOMEM)
                return message_oom();
        if (r < 0) {
                message_error("%s; see pmbrokerctl --help", error);
                return EXIT_USAGE;
        }
        return flush_output(run(&arguments));
}
