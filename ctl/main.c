/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl: look at pmbrokerd's pools, stores and tenants, and administrate them. */

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/arguments.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/pager.h"
#include "ctl/verbs.h"

static int run(const Arguments *arguments)
{
        const Verb *verb;
        int r;

        if (arguments->version) {
                (void)printf("pmbrokerctl %s\n", PMBROKER_VERSION);
                return EXIT_DONE;
        }
        if (arguments->help && !arguments->verb) {
                help_print();
                return EXIT_DONE;
        }
        verb = verbs_find(arguments->verb ? arguments->verb : "status");
        if (!verb)
                return verbs_unknown(arguments->verb);
        if (arguments->help) {
                help_print_verb(verb);
                return EXIT_DONE;
        }
        r = verbs_check(verb, arguments);
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
        r = run(&arguments);
        if (pager_close()) /* whoever has left it has read enough */
                return r;
        return flush_output(r);
}
