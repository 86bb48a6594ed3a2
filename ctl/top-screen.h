/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* One screen of top, as text. Pure but for the names of users. */

#include <stdbool.h>
#include <stdio.h>

#include "ctl/overview.h"
#include "ctl/terminal.h"
#include "ctl/user.h"

typedef enum TopOrder {
        TOP_BY_LIMIT,
        TOP_BY_USED,
        TOP_BY_AGE,
        TOP_BY_TENANT,
        TOP_BY_STORE,
        TOP_BY_PID,
        TOP_BY_ID,
        _TOP_ORDER_MAX,
} TopOrder;

typedef struct TopView {
        TerminalSize size;
        TopOrder order;
        bool reversed;
        bool colour;
        bool all; /* every pool, however few rows there are */
        double refusals_per_sec;
} TopView;

/* "limit" and so on; -EINVAL. */
int top_order_from_string(const char *s, TopOrder *ret);

/* Rows of at most size.columns characters, at most size.rows of them unless `all`, each ended by a line feed. Sorts the
 * pools of the overview. EXIT_DONE or EXIT_REFUSED (out of memory). */
int top_write(Overview *overview, const TopView *view, Users *users, FILE *out);
