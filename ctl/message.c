/* SPDX-License-Identifier: BSD-3-Clause */
/* One line on stderr. */

#include "ctl/message.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/text.h"

__attribute__((format(printf, 2, 0))) static void print_line(
        const char *prefix, const char *format, va_list ap)
{
        _cleanup_free_ char *raw = NULL, *clean = NULL;

        if (vasprintf(&raw, format, ap) < 0) {
                raw = NULL;
                return;
        }
        clean = text_escape(raw);
        if (clean)
                (void)fprintf(stderr, "pmbrokerctl: %s%s\n", prefix, clean);
}

static bool arg_muted;

void message_set_muted(bool muted)
{
        arg_muted = muted;
}

void message_error(const char *format, ...)
{
        va_list ap;

        if (arg_muted)
                return;
        va_start(ap, format);
        print_line("", format, ap);
        va_end(ap);
}

void message_note(const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        print_line("note: ", format, ap);
        va_end(ap);
}

int message_oom(void)
{
        (void)fputs("pmbrokerctl: out of memory\n", stderr);
        return EXIT_REFUSED;
}
