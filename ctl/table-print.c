/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables, see table.h: how they are shown. */

#include "ctl/table-internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <string.h>

#include "base/parse.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/pager.h"
#include "ctl/terminal.h"
#include "ctl/text.h"

static inline void unref_scols(struct libscols_table **t)
{
        scols_unref_table(*t);
}

/* ------------------------------------------------------------------------------------------------ people */

/* What a cell says; text that libsmartcols does not escape itself is escaped here. A new string or NULL. */
static char *cell_to_string(const Table *t, size_t row, unsigned column, bool escape)
{
        const Cell *cell = table_cell(t, row, column);
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
        const Cell *cell = table_cell(t, row, column);
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
