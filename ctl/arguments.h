/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The command line: options anywhere, then a verb and its operands. Which verbs there are is verb-table.c's business. */

#include <stdbool.h>
#include <stddef.h>

#include "ctl/table.h"

#define ARGUMENTS_ERROR_MAX 128

/* Options that only some verbs take, for sets of them. */
enum {
        TAKES_STORE = 1 << 0,
        TAKES_APPLY = 1 << 1,
        TAKES_FORCE = 1 << 2,
        TAKES_SIZE = 1 << 3,
        TAKES_MAX = 1 << 4,
        TAKES_NAME = 1 << 5,
        TAKES_UNDO = 1 << 6,
        TAKES_PERMANENT = 1 << 7,
        TAKES_CONFIG = 1 << 8,
        TAKES_GRACE = 1 << 9,
        TAKES_WAIT = 1 << 10,
        TAKES_INTERVAL = 1 << 11,
        TAKES_COUNT = 1 << 12,
        TAKES_SORT = 1 << 13,
        TAKES_ROOT = 1 << 14,
};

typedef struct OptionHelp {
        unsigned bit;
        const char *name; /* "--store" */
        const char *help; /* lines as --help shows them */
} OptionHelp;

extern const OptionHelp arguments_verb_options[]; /* ended by one without a name */

typedef struct Arguments {
        const char *socket; /* NULL: not given, as all below */
        const char *host;
        TableOptions table;
        const char *store;
        const char *size, *max, *name;
        const char *config;
        const char *grace, *interval, *count;
        const char *sort;
        const char *root;
        bool apply;
        bool force;
        bool undo;
        bool permanent;
        bool wait;
        bool quiet;
        bool help;
        bool version;
        unsigned given;        /* TAKES_*: which of the options of verbs */
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
/* Whether it is the default. */
bool arguments_socket_is_default(const Arguments *arguments);
