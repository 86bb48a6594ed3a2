/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* How full something is. Pure. */

#include <stdint.h>

#define BAR_MAX 128 /* characters between the brackets */

/* "[####------]": `width` characters with the brackets (at least 3, at most BAR_MAX + 2); what is not nothing shows, and
 * what is not all shows, too. Returns buf. */
char *bar_draw(char buf[static BAR_MAX + 3], uint64_t part, uint64_t whole, unsigned width);
/* 0 to 100, rounded down; 0 for nothing of nothing, 100 for more than all. */
unsigned bar_percent(uint64_t part, uint64_t whole);
