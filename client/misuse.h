/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Pointers that are not what they should be: told to the application's handler, or the end. */

#include "pmbroker.h"

/* No lock may be held. Returns if the application's handler does. */
void misuse_report(enum pmb_misuse what, struct pmb_pool *pool, const void *ptr);
