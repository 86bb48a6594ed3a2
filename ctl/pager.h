/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A pager for what is longer than the terminal: $PMBROKER_PAGER, $PAGER, or less; an empty one, "cat" or --no-pager mean
 * none. It takes stdout until pager_close().
 */

#include <stdbool.h>
#include <stddef.h>

#include "ctl/table.h"

/* Start one if stdout is a terminal with fewer lines than that. When it cannot be started, there is none. */
void pager_open(const TableOptions *options, size_t lines);
/* Wait for it to end; false when there was none. */
bool pager_close(void);
