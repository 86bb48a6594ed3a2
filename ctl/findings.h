/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What check has found: each with what can be done about it. */

#include <stddef.h>
#include <stdio.h>

#include "ctl/arguments.h"

typedef enum FindingResult {
        FINDING_OK,
        FINDING_NOTE,    /* worth knowing */
        FINDING_WARNING, /* works, but not as well as it could */
        FINDING_FAILURE, /* does not work */
} FindingResult;

typedef struct Finding {
        FindingResult result;
        const char *check; /* a word */
        char *text;
        char *advice; /* NULL: none is needed */
} Finding;

typedef struct Findings {
        Finding *entries;
        size_t n;
        size_t room;
        size_t n_failures, n_warnings;
        int error; /* out of memory: EXIT_REFUSED */
} Findings;

/* `advice` is a constant, or NULL. */
void findings_add(Findings *f, FindingResult result, const char *check, const char *advice,
        const char *format, ...) __attribute__((format(printf, 5, 6)));
void findings_done(Findings *f);

/* For people, or as the table options say. EXIT_DONE or EXIT_REFUSED, also when something fails. */
int findings_print(const Findings *f, const Arguments *arguments);
