/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What stdout is, if it is a terminal. */

#include <stdbool.h>

typedef struct TerminalSize {
        unsigned columns;
        unsigned rows;
} TerminalSize;

bool terminal_is_stdout(void);
/* 80 by 24 when nobody knows; $COLUMNS and $LINES count more than the terminal. */
TerminalSize terminal_size(void);
/* On a terminal that is not "dumb", unless $NO_COLOR is set and not empty. */
bool terminal_has_colour(void);
