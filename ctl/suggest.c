/* SPDX-License-Identifier: BSD-3-Clause */
/* Edit distance (optimal string alignment), for short words. */

#include "ctl/suggest.h"

#include <string.h>

#define WORD_MAX 24 /* no verb is longer; a longer word is near to none */

static size_t smaller(size_t a, size_t b)
{
        return a < b ? a : b;
}

size_t suggest_distance(const char *a, const char *b)
{
        size_t na = strlen(a), nb = strlen(b);
        size_t d[WORD_MAX + 1][WORD_MAX + 1];

        if (na > WORD_MAX || nb > WORD_MAX)
                return na > nb ? na : nb;
        for (size_t i = 0; i <= na; i++)
                for (size_t k = 0; k <= nb; k++) {
                        if (i == 0 || k == 0) {
                                d[i][k] = i + k;
                                continue;
                        }
                        d[i][k] = smaller(d[i - 1][k - 1] + (a[i - 1] != b[k - 1]),
                                smaller(d[i - 1][k], d[i][k - 1]) + 1);
                        if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                                d[i][k] = smaller(d[i][k], d[i - 2][k - 2] + 1);
                }
        return d[na][nb];
}

const char *suggest_nearest(const char *word, const char *const *words)
{
        const char *best = NULL;
        size_t best_distance = 0;

        for (; *words; words++) {
                size_t distance = suggest_distance(word, *words);

                /* More than every third letter wrong is another word. */
                if (distance > 1 && distance * 3 > strlen(*words) + 2)
                        continue;
                if (!best || distance < best_distance) {
                        best = *words;
                        best_distance = distance;
                }
        }
        return best;
}
