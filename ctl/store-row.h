/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Words for what the daemon tells of a store. */

#include "proto/pmbroker.pb-c.h"

/* "fsdax" and so on; "unknown". */
const char *store_kind_to_string(Pmbroker__V1__StoreKind kind);
/* "available", "draining" (with pools), "drained" or "unavailable". */
const char *store_state_to_string(const Pmbroker__V1__StoreRow *row);
