/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The table of verbs, and what is said about them. */

#include "ctl/arguments.h"

typedef struct Verb {
        const char *name;
        const char *operands;
        size_t operands_min, operands_max;
        unsigned takes;             /* TAKES_*: the options of its own */
        bool local;                 /* not over ssh: why is in `local_why` */
        const char *local_why;      /* ends "...: " of a sentence */
        const TableColumn *columns; /* NULL: -o means nothing here */
        bool all_columns;           /* the optional ones, too */
        const char *summary;
        const char *details;
        const char *examples;
        int (*run)(const Arguments *arguments);
} Verb;

extern const Verb verbs[];
extern const size_t n_verbs;

/* NULL: there is none. */
const Verb *verbs_find(const char *name);
/* "did you mean ...?"; returns EXIT_USAGE. */
int verbs_unknown(const char *name);
/* Whether the verb takes these operands and options: EXIT_DONE, or EXIT_USAGE. */
int verbs_check(const Verb *verb, const Arguments *arguments);

/* On stdout. */
void help_print(void);
void help_print_verb(const Verb *verb);
