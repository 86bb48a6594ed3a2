/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What resize is asked for: "64M" is a size, "+64M" and "-64M" are relative to the size that the pool has. Pure. */

#include <stdbool.h>
#include <stdint.h>

#define CHANGE_UNIT (UINT64_C(2) << 20) /* pools are made of these */

typedef struct Change {
        int sign; /* 0: absolute */
        uint64_t bytes;
} Change;

/* 0, -EINVAL (no size), or -ERANGE. */
int change_parse(const char *s, Change *ret);

/*
 * The size to ask the daemon for. It is rounded up to whole units, so that nobody gets less than was asked for.
 * Returns 0, -EDOM when that leaves less than one unit, or -ERANGE when it is beyond all sizes.
 */
int change_apply(const Change *change, uint64_t current, uint64_t *ret_target, bool *ret_rounded);
