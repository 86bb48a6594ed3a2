/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Memory that is broken, as the provisioner tells again and again: who has to know of it is told once. */

#include <stdint.h>

#include "ipc/server.h"

/* Of the pool `bytes` cannot be read, the first at `offset`. */
void damage_of_pool(Server *server, Pool *pool, uint64_t bytes, uint64_t offset);
/* Of the device of the store with the provisioner's number. */
void damage_of_store(Server *server, uint32_t index, uint64_t bytes);
