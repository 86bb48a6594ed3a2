/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Which pool is meant: 16 hexadecimal digits are an id, whatever the pools are named (a label is chosen by the
 * client, and revoking must not hit the wrong pool for it). Anything else is the beginning of an id or a whole name,
 * and must fit exactly one pool. Pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/pmbroker.pb-c.h"

/* Whether `spec` is a whole id; *ret_id is set then. */
bool select_is_id(const char *spec, uint64_t *ret_id);

bool select_matches(const Pmbroker__V1__PoolRow *row, const char *spec);

/* 0 and the index of the one pool that matches, -ENOENT, or -ENOTUNIQ. */
int select_pool(Pmbroker__V1__PoolRow *const *rows, size_t n, const char *spec, size_t *ret_index);
