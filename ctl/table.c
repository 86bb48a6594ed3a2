/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables, see table.h: columns and rows. */

#include "ctl/table-internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/exit.h"
#include "ctl/message.h"

/* ----------------------------------------------------------------------------------------------- columns */

static size_t count_columns(const TableColumn *columns)
{
        size_t n = 0;

        while (columns[n].name)
                n++;
        assert(n <= TABLE_COLUMNS_MAX);
        return n;
}

static int find_column(const TableColumn *columns, const char *name, size_t length)
{
        for (unsigned i = 0; columns[i].name; i++)
                if (strlen(columns[i].name) == length && strncasecmp(columns[i].name, name, length) == 0)
                        return (int)i;
        return -EINVAL;
}

static size_t add_once(unsigned set[static TABLE_COLUMNS_MAX], size_t n, unsigned column)
{
        for (size_t i = 0; i < n; i++)
                if (set[i] == column)
                        return n;
        set[n] = column;
        return n + 1;
}

int table_parse_output(const TableColumn *columns, const char *output, bool all,
        unsigned ret[static TABLE_COLUMNS_MAX], const char **ret_bad, size_t *ret_bad_length)
{
        unsigned set[TABLE_COLUMNS_MAX] = {0};
        size_t n = 0;

        if (!output || *output == '+')
                for (unsigned i = 0; i < count_columns(columns); i++)
                        if (all || !(columns[i].flags & TABLE_OPTIONAL))
                                n = add_once(set, n, i);
        if (output) {
                const char *p = output + (*output == '+');
                size_t length;

                for (;; p += length + 1) {
                        int column;

                        length = strcspn(p, ",");
                        column = find_column(columns, p, length);
                        if (column < 0) {
                                *ret_bad = p;
                                *ret_bad_length = length;
                                return column;
                        }
                        n = add_once(set, n, (unsigned)column);
                        if (p[length] == '\0')
                                break;
                }
        }
        memcpy(ret, set, sizeof(set));
        return (int)n;
}

static void complain_of_column(const TableColumn *columns, const char *bad, size_t length)
{
        char names[512] = "";

        for (size_t i = 0, used = 0; columns[i].name && used < sizeof(names); i++) {
                int n = snprintf(
                        names + used, sizeof(names) - used, "%s%s", i > 0 ? ", " : "", columns[i].name);

                used += (size_t)n;
        }
        message_error("unknown column '%.*s'; there are: %s", (int)length, bad, names);
}

/* --------------------------------------------------------------------------------------- new, free, fill */

int table_new(const TableColumn *columns, const TableOptions *options, Table **ret)
{
        _cleanup_(cleanup_table_free) Table *t = NULL;
        const char *bad;
        size_t length;
        int n;

        t = calloc(1, sizeof(*t));
        if (!t)
                return message_oom();
        t->columns = columns;
        t->n_columns = count_columns(columns);
        t->options = *options;
        n = table_parse_output(
                columns, options->output, options->all || options->json, t->shown, &bad, &length);
        if (n < 0) {
                complain_of_column(columns, bad, length);
                return EXIT_USAGE;
        }
        t->n_shown = (size_t)n;
        *ret = TAKE_PTR(t);
        return EXIT_DONE;
}

Table *table_free(Table *t)
{
        if (t) {
                free(t->cells);
                free(t);
        }
        return NULL;
}

bool table_wants(const Table *t, unsigned column)
{
        for (size_t i = 0; i < t->n_shown; i++)
                if (t->shown[i] == column)
                        return true;
        return false;
}

int table_add_row(Table *t)
{
        if (t->n_rows == t->room) {
                size_t room = t->room > 0 ? t->room * 2 : 64;
                Cell *cells = reallocarray(t->cells, room, t->n_columns * sizeof(Cell));

                if (!cells)
                        return -ENOMEM;
                t->cells = cells;
                t->room = room;
        }
        memset(t->cells + t->n_rows * t->n_columns, 0, t->n_columns * sizeof(Cell));
        t->n_rows++;
        return 0;
}

Cell *table_cell(const Table *t, size_t row, unsigned column)
{
        assert(row < t->n_rows && column < t->n_columns);
        return t->cells + row * t->n_columns + column;
}

void table_set_text(Table *t, unsigned column, const char *s)
{
        assert(t->columns[column].type == TABLE_TEXT);
        *table_cell(t, t->n_rows - 1, column) = (Cell){.present = *s != '\0', .text = s};
}

void table_set_number(Table *t, unsigned column, uint64_t number)
{
        assert(t->columns[column].type != TABLE_TEXT);
        *table_cell(t, t->n_rows - 1, column) = (Cell){.present = true, .number = number};
}
