/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/findings.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/terminal.h"
#include "ctl/text.h"
#include "ctl/verb.h"

#define INDENT 25 /* where the text begins */

enum {
        COLUMN_RESULT,
        COLUMN_CHECK,
        COLUMN_FINDING,
        COLUMN_ADVICE,
};

const TableColumn check_columns[] = {
        [COLUMN_RESULT] = {"RESULT", 0, TABLE_TEXT, 0, "ok, note, warning or failure"},
        [COLUMN_CHECK] = {"CHECK", 0, TABLE_TEXT, 0, "what was looked at"},
        [COLUMN_FINDING] = {"FINDING", 0.4, TABLE_TEXT, TABLE_TRUNC, "what was found"},
        [COLUMN_ADVICE] = {"ADVICE", 0.4, TABLE_TEXT, TABLE_TRUNC, "what can be done"},
        {0},
};

static const char *const result_names[] = {
        [FINDING_OK] = "ok",
        [FINDING_NOTE] = "note",
        [FINDING_WARNING] = "warning",
        [FINDING_FAILURE] = "failure",
};
static const char *const result_colours[] = {
        [FINDING_OK] = "\033[32m",
        [FINDING_NOTE] = "",
        [FINDING_WARNING] = "\033[33m",
        [FINDING_FAILURE] = "\033[31m",
};

void findings_add(
        Findings *f, FindingResult result, const char *check, const char *advice, const char *format, ...)
{
        _cleanup_free_ char *raw = NULL, *text = NULL, *advice_copy = NULL;
        va_list ap;

        if (f->n == f->room) {
                size_t room = f->room > 0 ? f->room * 2 : 32;
                Finding *entries = reallocarray(f->entries, room, sizeof(*entries));

                if (!entries) {
                        f->error = EXIT_REFUSED;
                        return;
                }
                f->entries = entries;
                f->room = room;
        }
        va_start(ap, format);
        if (vasprintf(&raw, format, ap) < 0)
                raw = NULL;
        va_end(ap);
        text = raw ? text_escape(raw) : NULL;
        advice_copy = advice ? strdup(advice) : NULL;
        if (!text || (advice && !advice_copy)) {
                f->error = EXIT_REFUSED;
                return;
        }
        f->entries[f->n++] = (Finding){
                .result = result, .check = check, .text = TAKE_PTR(text), .advice = TAKE_PTR(advice_copy)};
        f->n_failures += result == FINDING_FAILURE;
        f->n_warnings += result == FINDING_WARNING;
}

void findings_done(Findings *f)
{
        for (size_t i = 0; i < f->n; i++) {
                free(f->entries[i].text);
                free(f->entries[i].advice);
        }
        free(f->entries);
        *f = (Findings){0};
}

/* ------------------------------------------------------------------------------------------------ people */

static void print_text(const Findings *f)
{
        unsigned columns = terminal_is_stdout() ? terminal_size().columns : 120;
        bool colour = terminal_has_colour();

        for (size_t i = 0; i < f->n; i++) {
                const Finding *finding = &f->entries[i];

                (void)printf("%s%-8s%s %-15s ", colour ? result_colours[finding->result] : "",
                        result_names[finding->result], colour ? "\033[0m" : "", finding->check);
                text_wrap(stdout, finding->text, INDENT, columns);
                if (finding->advice) {
                        (void)printf("%*s", INDENT, "");
                        text_wrap(stdout, finding->advice, INDENT, columns);
                }
        }
        if (f->n_failures == 0 && f->n_warnings == 0)
                (void)printf("nothing is wrong\n");
        else
                (void)printf("%zu failure%s, %zu warning%s\n", f->n_failures, f->n_failures == 1 ? "" : "s",
                        f->n_warnings, f->n_warnings == 1 ? "" : "s");
}

static int print_table(const Findings *f, const Arguments *arguments)
{
        _cleanup_(cleanup_table_free) Table *table = NULL;
        int r = table_new(check_columns, &arguments->table, &table);

        for (size_t i = 0; r == EXIT_DONE && i < f->n; i++) {
                const Finding *finding = &f->entries[i];

                if (table_add_row(table) < 0)
                        return message_oom();
                table_set_text(table, COLUMN_RESULT, result_names[finding->result]);
                table_set_text(table, COLUMN_CHECK, finding->check);
                table_set_text(table, COLUMN_FINDING, finding->text);
                table_set_text(table, COLUMN_ADVICE, finding->advice ? finding->advice : "");
        }
        return r == EXIT_DONE ? table_print(table, "findings", stdout) : r;
}

int findings_print(const Findings *f, const Arguments *arguments)
{
        const TableOptions *options = &arguments->table;
        int r = EXIT_DONE;

        if (f->error != EXIT_DONE)
                return message_oom();
        if (options->json || options->raw || options->output || options->noheadings)
                r = print_table(f, arguments);
        else if (!arguments->quiet)
                print_text(f);
        return r == EXIT_DONE && f->n_failures > 0 ? EXIT_REFUSED : r;
}
