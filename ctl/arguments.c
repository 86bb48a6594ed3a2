/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * getopt_long() finds the options. "-64M" is an operand (of resize), though it looks like options: every digit is an
 * option with an optional argument, which makes getopt swallow the whole word, and the word is put among the operands.
 * That needs operands reported in their order (a leading '-' in the option string) instead of sorted to the end.
 */

#include "ctl/arguments.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define DEFAULT_SOCKET "/run/pmbroker/pmbroker.sock"

enum {
        OPTION_OPERAND = 1, /* getopt's */
        OPTION_NOHEADINGS = 256,
        OPTION_BYTES,
        OPTION_STORE,
        OPTION_APPLY,
        OPTION_FORCE,
};

static const char short_options[] = "-:S:o:JrqhV0::1::2::3::4::5::6::7::8::9::";

static const struct option long_options[] = {
        {"socket", required_argument, NULL, 'S'},
        {"output", required_argument, NULL, 'o'},
        {"noheadings", no_argument, NULL, OPTION_NOHEADINGS},
        {"bytes", no_argument, NULL, OPTION_BYTES},
        {"store", required_argument, NULL, OPTION_STORE},
        {"apply", no_argument, NULL, OPTION_APPLY},
        {"force", no_argument, NULL, OPTION_FORCE},
        {"json", no_argument, NULL, 'J'},
        {"raw", no_argument, NULL, 'r'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
};

static void add_word(Arguments *a, const char *word)
{
        if (!a->verb)
                a->verb = word;
        else
                a->operands[a->n_operands++] = word;
}

/* `word` is what getopt looked at when it said '?' or ':'. */
static void explain(int answer, const char *word, char error[static ARGUMENTS_ERROR_MAX])
{
        if (word[1] == '-')
                (void)snprintf(error, ARGUMENTS_ERROR_MAX, "%s '%s'",
                        answer == ':' ? "an argument is missing after"
                        : optopt      ? "no argument belongs to"
                                      : "unknown or ambiguous option",
                        word);
        else
                (void)snprintf(error, ARGUMENTS_ERROR_MAX, "%s '-%c'",
                        answer == ':' ? "an argument is missing after" : "unknown option", optopt);
}

int arguments_parse(int argc, char *argv[], Arguments *ret, char error[static ARGUMENTS_ERROR_MAX])
{
        _cleanup_free_ const char **operands = calloc((size_t)argc + 1, sizeof(*operands));
        Arguments a = {.operands = operands};

        if (!operands)
                return -ENOMEM;
        optind = 0; /* glibc: begin anew */
        opterr = 0;
        for (;;) {
                int before = optind > 0 ? optind : 1;
                int c = getopt_long(argc, argv, short_options, long_options, NULL);

                if (c == -1)
                        break;
                switch (c) {
                case OPTION_OPERAND:
                        add_word(&a, optarg);
                        break;
                case 'S':
                        a.socket = optarg;
                        break;
                case 'o':
                        a.table.output = optarg;
                        break;
                case OPTION_NOHEADINGS:
                        a.table.noheadings = true;
                        break;
                case OPTION_BYTES:
                        a.table.bytes = true;
                        break;
                case OPTION_STORE:
                        a.store = optarg;
                        break;
                case OPTION_APPLY:
                        a.apply = true;
                        break;
                case OPTION_FORCE:
                        a.force = true;
                        break;
                case 'J':
                        a.table.json = true;
                        break;
                case 'r':
                        a.table.raw = true;
                        break;
                case 'q':
                        a.quiet = true;
                        break;
                case 'h':
                        a.help = true;
                        break;
                case 'V':
                        a.version = true;
                        break;
                case '0' ... '9':
                        if (argv[before][1] == c) {
                                add_word(&a, argv[before]);
                                break;
                        }
                        optopt = c; /* "-q5" */
                        c = '?';
                        /* fall through */
                default:
                        explain(c, argv[before], error);
                        return -EINVAL;
                }
        }
        while (optind < argc) /* behind "--" */
                add_word(&a, argv[optind++]);
        if (a.table.json && a.table.raw) {
                (void)snprintf(error, ARGUMENTS_ERROR_MAX, "--json and --raw exclude each other");
                return -EINVAL;
        }
        (void)TAKE_PTR(operands);
        *ret = a;
        return 0;
}

void arguments_done(Arguments *a)
{
        free(a->operands);
        *a = (Arguments){0};
}

const char *arguments_socket(const Arguments *a)
{
        const char *env = getenv("PMBROKER_SOCKET");

        if (a->socket)
                return a->socket;
        return env && *env ? env : DEFAULT_SOCKET;
}
