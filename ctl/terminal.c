/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/parse.h"

#define SIZE_MAX_SANE 4096

bool terminal_is_stdout(void)
{
        return isatty(STDOUT_FILENO) == 1;
}

static unsigned from_environment(const char *name)
{
        const char *s = getenv(name);
        uint32_t n;

        return s && parse_u32(s, &n) == 0 && n > 0 && n <= SIZE_MAX_SANE ? n : 0;
}

TerminalSize terminal_size(void)
{
        TerminalSize size = {.columns = from_environment("COLUMNS"), .rows = from_environment("LINES")};
        struct winsize ws;

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0) {
                if (size.columns == 0 && ws.ws_col <= SIZE_MAX_SANE)
                        size.columns = ws.ws_col;
                if (size.rows == 0 && ws.ws_row <= SIZE_MAX_SANE)
                        size.rows = ws.ws_row;
        }
        if (size.columns == 0)
                size.columns = 80;
        if (size.rows == 0)
                size.rows = 24;
        return size;
}

bool terminal_has_colour(void)
{
        const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

        if (no_color && *no_color)
                return false;
        return terminal_is_stdout() && term && *term && strcmp(term, "dumb") != 0;
}
