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
#include <string.h>

#include "base/cleanup.h"

#define DEFAULT_SOCKET "/run/pmbroker/pmbroker.sock"

enum {
        OPTION_OPERAND = 1, /* getopt's */
        OPTION_NOHEADINGS = 256,
        OPTION_BYTES,
        OPTION_NO_PAGER,
        OPTION_OF_VERB, /* + the number of its bit */
};

static const char short_options[] = "-:S:H:o:JrqhV0::1::2::3::4::5::6::7::8::9::";

#define OF_VERB(bit) (OPTION_OF_VERB + __builtin_ctz(bit))

static const struct option long_options[] = {
        {"socket", required_argument, NULL, 'S'},
        {"host", required_argument, NULL, 'H'},
        {"output", required_argument, NULL, 'o'},
        {"noheadings", no_argument, NULL, OPTION_NOHEADINGS},
        {"bytes", no_argument, NULL, OPTION_BYTES},
        {"json", no_argument, NULL, 'J'},
        {"raw", no_argument, NULL, 'r'},
        {"quiet", no_argument, NULL, 'q'},
        {"no-pager", no_argument, NULL, OPTION_NO_PAGER},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {"store", required_argument, NULL, OF_VERB(TAKES_STORE)},
        {"apply", no_argument, NULL, OF_VERB(TAKES_APPLY)},
        {"force", no_argument, NULL, OF_VERB(TAKES_FORCE)},
        {"size", required_argument, NULL, OF_VERB(TAKES_SIZE)},
        {"max", required_argument, NULL, OF_VERB(TAKES_MAX)},
        {"name", required_argument, NULL, OF_VERB(TAKES_NAME)},
        {"undo", no_argument, NULL, OF_VERB(TAKES_UNDO)},
        {"permanent", no_argument, NULL, OF_VERB(TAKES_PERMANENT)},
        {"config", required_argument, NULL, OF_VERB(TAKES_CONFIG)},
        {"grace", required_argument, NULL, OF_VERB(TAKES_GRACE)},
        {"wait", no_argument, NULL, OF_VERB(TAKES_WAIT)},
        {"interval", required_argument, NULL, OF_VERB(TAKES_INTERVAL)},
        {"count", required_argument, NULL, OF_VERB(TAKES_COUNT)},
        {"sort", required_argument, NULL, OF_VERB(TAKES_SORT)},
        {"root", required_argument, NULL, OF_VERB(TAKES_ROOT)},
        {0},
};

const OptionHelp arguments_verb_options[] = {
        {TAKES_SIZE, "--size", "      --size SIZE          of the pool\n"},
        {TAKES_MAX, "--max", "      --max SIZE           what it may grow to; default: its size\n"},
        {TAKES_STORE, "--store", "      --store STORE        this store only\n"},
        {TAKES_NAME, "--name",
                "      --name NAME          a label for it, of a-z, 0-9, dot, underscore, hyphen\n"},
        {TAKES_APPLY, "--apply", "      --apply              do it\n"},
        {TAKES_FORCE, "--force", "      --force              revoke its pools\n"},
        {TAKES_UNDO, "--undo", "      --undo               new pools again\n"},
        {TAKES_PERMANENT, "--permanent",
                "      --permanent          write a drop-in of the configuration, and reload\n"},
        {TAKES_CONFIG, "--config",
                "      --config FILE        the configuration; default: " PMBROKER_SYSCONFDIR
                "/pmbroker/pmbrokerd.conf\n"},
        {TAKES_GRACE, "--grace", "      --grace SEC          tell its owner, and wait so long (30, 5min)\n"},
        {TAKES_WAIT, "--wait", "      --wait               ask its owner until the size is reached\n"},
        {TAKES_INTERVAL, "--interval", "      --interval SEC       between two screens; default: 2\n"},
        {TAKES_COUNT, "--count", "      --count N            end after so many\n"},
        {TAKES_SORT, "--sort", "      --sort COL           limit, used, age, tenant, store, pid or id\n"},
        {TAKES_ROOT, "--root",
                "      --root DIR           look at the /proc, /sys, /run and /etc below DIR\n"},
        {0},
};

static void add_word(Arguments *a, const char *word)
{
        if (!a->verb)
                a->verb = word;
        else
                a->operands[a->n_operands++] = word;
}

static void take_verb_option(Arguments *a, unsigned bit)
{
        a->given |= bit;
        switch (bit) {
        case TAKES_STORE:
                a->store = optarg;
                break;
        case TAKES_APPLY:
                a->apply = true;
                break;
        case TAKES_FORCE:
                a->force = true;
                break;
        case TAKES_SIZE:
                a->size = optarg;
                break;
        case TAKES_MAX:
                a->max = optarg;
                break;
        case TAKES_NAME:
                a->name = optarg;
                break;
        case TAKES_UNDO:
                a->undo = true;
                break;
        case TAKES_PERMANENT:
                a->permanent = true;
                break;
        case TAKES_CONFIG:
                a->config = optarg;
                break;
        case TAKES_GRACE:
                a->grace = optarg;
                break;
        case TAKES_WAIT:
                a->wait = true;
                break;
        case TAKES_INTERVAL:
                a->interval = optarg;
                break;
        case TAKES_COUNT:
                a->count = optarg;
                break;
        case TAKES_SORT:
                a->sort = optarg;
                break;
        case TAKES_ROOT:
                a->root = optarg;
                break;
        }
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
                case 'H':
                        a.host = optarg;
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
                case OPTION_NO_PAGER:
                        a.table.no_pager = true;
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
                        if (c >= OPTION_OF_VERB) {
                                take_verb_option(&a, 1u << (c - OPTION_OF_VERB));
                                break;
                        }
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
        if (a.host && (a.host[0] == '-' || a.host[0] == '\0')) {
                (void)snprintf(error, ARGUMENTS_ERROR_MAX, "'%.60s' is no host", a.host);
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

bool arguments_socket_is_default(const Arguments *a)
{
        return strcmp(arguments_socket(a), DEFAULT_SOCKET) == 0;
}
