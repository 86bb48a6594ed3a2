/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The command line: options anywhere, then a verb and its operands. Which verbs there are is main.c's business. */

#include <stdbool.h>
#include <stddef.h>

#include "ctl/table.h"

#define ARGUMENTS_ERROR_MAX 128

typedef struct Arguments {
        const char *socket; /* NULL: not given */
        TableOptions table;
        const char *store; /* NULL: not given */
        bool apply;
        bool force;
        bool quiet;
        bool help;
        bool version;
        const char *verb;      /* NULL: none */
        const char **operands; /* and a NULL */
        size_t n_operands;
} Arguments;

/*
 * Pure but for getopt's own state. The result borrows from argv, but for the array of operands: arguments_done().
 * Returns 0, -EINVAL with one line in `error`, or -ENOMEM.
 */
int arguments_parse(int argc, char *argv[], Arguments *ret, char error[static ARGUMENTS_ERROR_MAX]);
void arguments_done(Arguments *arguments);

/* The socket that was named, by option or environment, or the default. */
const char *arguments_socket(const Arguments *arguments);
