/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables, see table.h. */

#include "ctl/table.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/pager.h"
#include "ctl/terminal.h"
#include "ctl/text.h"

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

static inline void unref_scols(struct libscols_table **t)
{
        scols_unref_table(*t);
}

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

static Cell *cell_at(const Table *t, size_t row, unsigned column)
{
        assert(row < t->n_rows && column < t->n_columns);
        return t->cells + row * t->n_columns + column;
}

void table_set_text(Table *t, unsigned column, const char *s)
{
        assert(t->columns[column].type == TABLE_TEXT);
        *cell_at(t, t->n_rows - 1, column) = (Cell){.present = *s != '\0', .text = s};
}

void table_set_number(Table *t, unsigned column, uint64_t number)
{
        assert(t->columns[column].type != TABLE_TEXT);
        *cell_at(t, t->n_rows - 1, column) = (Cell){.present = true, .number = number};
}

/* ------------------------------------------------------------------------------------------------ people */

/* What a cell says; text that libsmartcols does not escape itself is escaped here. A new string or NULL. */
static char *cell_to_string(const Table *t, size_t row, unsigned column, bool escape)
{
        const Cell *cell = cell_at(t, row, column);
        char buf[FORMAT_SIZE_MAX] = "-";

        if (cell->present)
                switch (t->columns[column].type) {
                case TABLE_TEXT:
                        return escape ? text_escape(cell->text) : strdup(cell->text);
                case TABLE_ID:
                        (void)snprintf(buf, sizeof(buf), "%016" PRIx64, cell->number);
                        break;
                case TABLE_SIZE:
                        if (!t->options.bytes) {
                                (void)format_size(buf, cell->number);
                                break;
                        }
                        /* fall through */
                case TABLE_NUMBER:
                        (void)snprintf(buf, sizeof(buf), "%" PRIu64, cell->number);
                        break;
                case TABLE_PERCENT:
                        (void)snprintf(buf, sizeof(buf), "%" PRIu64 "%%", cell->number);
                        break;
                case TABLE_AGE:
                        (void)format_age(buf, cell->number);
                        break;
                case TABLE_BOOL:
                        (void)strcpy(buf, cell->number ? "yes" : "no");
                        break;
                }
        return strdup(buf);
}

static int fill_line(const Table *t, size_t row, struct libscols_line *line)
{
        for (size_t i = 0; i < t->n_shown; i++) {
                /* In raw mode libsmartcols escapes all by itself, our backslashes, too. */
                char *s = cell_to_string(t, row, t->shown[i], /* escape= */ !t->options.raw);

                if (!s)
                        return -ENOMEM;
                if (scols_line_refer_data(line, i, s) < 0) {
                        free(s);
                        return -ENOMEM;
                }
        }
        return 0;
}

static int print_columns(const Table *t, FILE *out)
{
        bool on_terminal = out == stdout && terminal_is_stdout();
        size_t width = on_terminal ? terminal_size().columns : 0;
        _cleanup_(unref_scols) struct libscols_table *scols = scols_new_table();

        if (!scols)
                return -ENOMEM;
        if (scols_table_set_stream(scols, out) < 0 || scols_table_enable_raw(scols, t->options.raw) < 0 ||
                scols_table_enable_noheadings(scols, t->options.noheadings) < 0 ||
                scols_table_enable_noencoding(scols, 1) < 0)
                return -ENOMEM;
        if (on_terminal) { /* with a pager in between it is none any more */
                pager_open(&t->options, t->n_rows + 1);
                if (scols_table_set_termforce(scols, SCOLS_TERMFORCE_ALWAYS) < 0 ||
                        scols_table_set_termwidth(scols, width) < 0)
                        return -ENOMEM;
        }
        for (size_t i = 0; i < t->n_shown; i++) {
                const TableColumn *c = &t->columns[t->shown[i]];
                int flags = (c->flags & TABLE_RIGHT ? SCOLS_FL_RIGHT : 0) |
                            (c->flags & TABLE_TRUNC ? SCOLS_FL_TRUNC : 0);

                if (!scols_table_new_column(scols, c->name, c->width, flags))
                        return -ENOMEM;
        }
        for (size_t row = 0; row < t->n_rows; row++) {
                struct libscols_line *line = scols_table_new_line(scols, NULL);
                int r = line ? fill_line(t, row, line) : -ENOMEM;

                if (r < 0)
                        return r;
        }
        return scols_print_table(scols);
}

static int print_record(const Table *t, FILE *out)
{
        int width = 0;

        for (size_t i = 0; i < t->n_shown && !t->options.raw; i++)
                if ((int)strlen(t->columns[t->shown[i]].name) > width)
                        width = (int)strlen(t->columns[t->shown[i]].name);
        for (size_t i = 0; i < t->n_shown; i++) {
                _cleanup_free_ char *s = cell_to_string(t, 0, t->shown[i], /* escape= */ true);

                if (!s)
                        return -ENOMEM;
                if (t->options.noheadings)
                        (void)fprintf(out, "%s\n", s);
                else
                        (void)fprintf(out, "%*s: %s\n", width, t->columns[t->shown[i]].name, s);
        }
        return 0;
}

/* ---------------------------------------------------------------------------------------------- programs */

static void write_cell(const Table *t, size_t row, unsigned column, Json *json)
{
        const Cell *cell = cell_at(t, row, column);
        char key[32] = "", id[17];

        for (size_t i = 0; i < sizeof(key) - 1 && t->columns[column].name[i]; i++)
                key[i] = (char)tolower((unsigned char)t->columns[column].name[i]);
        if (!cell->present) {
                json_null(json, key);
                return;
        }
        switch (t->columns[column].type) {
        case TABLE_TEXT:
                json_text(json, key, cell->text);
                break;
        case TABLE_ID:
                (void)snprintf(id, sizeof(id), "%016" PRIx64, cell->number);
                json_text(json, key, id);
                break;
        case TABLE_SIZE:
        case TABLE_NUMBER:
        case TABLE_PERCENT:
                json_number(json, key, cell->number);
                break;
        case TABLE_AGE:
                json_number(json, key, cell->number / USEC_PER_SEC);
                break;
        case TABLE_BOOL:
                json_bool(json, key, cell->number != 0);
                break;
        }
}

static void write_row(const Table *t, size_t row, Json *json)
{
        json_open(json, NULL, '{');
        for (size_t i = 0; i < t->n_shown; i++)
                write_cell(t, row, t->shown[i], json);
        json_close(json, '}');
}

/* ------------------------------------------------------------------------------------------------- print */

int table_print(const Table *t, const char *name, FILE *out)
{
        if (t->options.json) {
                Json json = {.out = out};

                json_open(&json, NULL, '{');
                json_open(&json, name, '[');
                for (size_t row = 0; row < t->n_rows; row++)
                        write_row(t, row, &json);
                json_close(&json, ']');
                json_close(&json, '}');
                return EXIT_DONE;
        }
        return print_columns(t, out) < 0 ? message_oom() : EXIT_DONE;
}

int table_print_record(const Table *t, FILE *out)
{
        assert(t->n_rows == 1);
        if (t->options.json) {
                Json json = {.out = out};

                write_row(t, 0, &json);
                return EXIT_DONE;
        }
        return print_record(t, out) < 0 ? message_oom() : EXIT_DONE;
}
