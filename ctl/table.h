/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Rows and columns: for people through libsmartcols, for programs as JSON. A verb has a const array of columns (ended
 * by one without a name) and an enum that counts along with it; it adds rows, sets what it knows of each, and prints.
 *
 * Text is borrowed and must outlive the table. A cell that was never set is "-", null in JSON.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"

#define TABLE_COLUMNS_MAX 32

typedef enum TableType {
        TABLE_TEXT,
        TABLE_ID,   /* 16 hexadecimal digits, a string in JSON, too */
        TABLE_SIZE, /* bytes; in JSON always a number of bytes */
        TABLE_NUMBER,
        TABLE_PERCENT,
        TABLE_AGE, /* microseconds; whole seconds in JSON */
        TABLE_BOOL,
} TableType;

enum {
        TABLE_RIGHT = 1 << 0,    /* aligned to the right */
        TABLE_TRUNC = 1 << 1,    /* may be cut off when the terminal is narrow */
        TABLE_OPTIONAL = 1 << 2, /* shown when asked for, and in JSON */
};

typedef struct TableColumn {
        const char *name;
        double width; /* hint: a fraction of the terminal, or at least this many characters; 0: what it takes */
        TableType type;
        unsigned flags;
        const char *help;
} TableColumn;

typedef struct TableOptions {
        const char *output; /* "COL,COL" or "+COL,COL"; NULL: the columns that are not optional */
        bool all;           /* by default the optional ones, too; JSON does so always */
        bool noheadings;
        bool bytes;
        bool json;
        bool raw;
        bool no_pager;
} TableOptions;

typedef struct Table Table;

/*
 * The pure half of table_new(): the columns' indexes go to `ret`, a column that is named twice counts once. Returns how
 * many, or -EINVAL with the part of `output` that is no column's name in ret_bad and its length in ret_bad_length.
 */
int table_parse_output(const TableColumn *columns, const char *output, bool all,
        unsigned ret[static TABLE_COLUMNS_MAX], const char **ret_bad, size_t *ret_bad_length);

/* EXIT_DONE, EXIT_USAGE for an unknown column, or EXIT_REFUSED. The columns must outlive the table. */
int table_new(const TableColumn *columns, const TableOptions *options, Table **ret);
Table *table_free(Table *table);
DEFINE_CLEANUP(Table, table_free);

/* Whether the column is shown: do not look up what nobody sees. */
bool table_wants(const Table *table, unsigned column);

int table_add_row(Table *table); /* 0 or -ENOMEM */
/* Of the row that was added last: */
void table_set_text(Table *table, unsigned column, const char *s); /* "": as if never set */
void table_set_number(Table *table, unsigned column, uint64_t number);

/* All rows; `name` is the array's in JSON. EXIT_DONE or EXIT_REFUSED. */
int table_print(const Table *table, const char *name, FILE *out);

/* The one row as "COLUMN: value" lines, or as an object in JSON. EXIT_DONE or EXIT_REFUSED. */
int table_print_record(const Table *table, FILE *out);
