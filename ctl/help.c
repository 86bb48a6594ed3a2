/* SPDX-License-Identifier: BSD-3-Clause */
/* --help, in general and of a verb. */

#include <stdio.h>

#include "ctl/verbs.h"

static const char options_help[] =
        "Options, anywhere on the command line:\n"
        "  -S, --socket PATH      where pmbrokerd listens; default: $PMBROKER_SOCKET or\n"
        "                         /run/pmbroker/pmbroker.sock\n"
        "  -H, --host [USER@]HOST on another host, over ssh\n"
        "  -o, --output COL,COL   show these columns; +COL,COL adds to the default\n"
        "      --noheadings       no headings\n"
        "      --bytes            sizes in bytes\n"
        "  -J, --json             JSON; sizes are numbers of bytes, ages seconds\n"
        "  -r, --raw              columns separated by one blank, special characters as \\xNN\n"
        "  -q, --quiet            no notes, no confirmations\n"
        "      --no-pager         no pager, however long a table is\n"
        "  -h, --help             this, or with a verb more about it\n"
        "  -V, --version          the version\n";

void help_print(void)
{
        (void)printf("Usage: pmbrokerctl [OPTION...] [VERB [OPERAND...]]\n\n"
                     "Look at pmbrokerd's pools, stores and tenants, and administrate them.\n\n"
                     "Verbs:\n");
        for (size_t i = 0; i < n_verbs; i++)
                (void)printf("  %-11s %-23s  %s\n", verbs[i].name, verbs[i].operands, verbs[i].summary);
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

static void print_options(const Verb *verb)
{
        (void)printf("\nOptions of %s:\n", verb->name);
        for (const OptionHelp *o = arguments_verb_options; o->name; o++)
                if (verb->takes & o->bit)
                        (void)fputs(o->help, stdout);
}

void help_print_verb(const Verb *verb)
{
        (void)printf("Usage: pmbrokerctl [OPTION...] %s%s%s\n\n%s: %s.\n\n%s\n", verb->name,
                *verb->operands ? " " : "", verb->operands, verb->name, verb->summary, verb->details);
        if (verb->columns)
                print_columns(verb);
        if (verb->takes != 0)
                print_options(verb);
        (void)printf("\nExamples:\n%s\n%s", verb->examples, options_help);
}
