/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* "Did you mean ...?" */

#include <stddef.h>

/* Insertions, deletions, replacements and swaps of neighbours that make one word the other. */
size_t suggest_distance(const char *a, const char *b);

/* The one of `words` (ended by NULL) that is nearest to `word` and not too far from it, or NULL. */
const char *suggest_nearest(const char *word, const char *const *words);
