/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What a table is, for table.c, which fills it, and table-print.c, which shows it. */

#include "ctl/table.h"

typedef struct Cell {
        bool present;
        const char *text;
        uint64_t number;
} Cell;

struct Table {
        const TableColumn *columns;
        size_t n_columns;
        TableOptions options;
        unsigned shown[TABLE_COLUMNS_MAX];
        size_t n_shown;
        Cell *cells; /* n_columns for each row */
        size_t n_rows;
        size_t room; /* rows */
};

/* The cell of a row and a column that there are. */
Cell *table_cell(const Table *table, size_t row, unsigned column);
