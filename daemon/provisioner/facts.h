/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What was found out about a store, as an attribute of a directory: it goes with whatever that is a part of. Only who
 * has CAP_SYS_ADMIN can read or write it.
 */

#include <stddef.h>

/* -ENODATA: there are none yet, or those of another version; *ret is as it was. */
int facts_get(int dir_fd, void *ret, size_t size);
int facts_set(int dir_fd, const void *facts, size_t size);
/* Nothing is known any more. */
int facts_remove(int dir_fd);
