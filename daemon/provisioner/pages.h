/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* In what pages a file is mapped, found out by touching it. For self-tests. */

#include <stdint.h>

/* `bytes` of the file from its start, aligned as the library maps pools: elsewhere no huge page fits. NULL with errno. */
void *pages_map(int fd, uint64_t bytes);

/* Store to all of it, and tell from the number of faults: 2 MiB, or 4096. */
uint32_t pages_touch(void *memory, uint64_t bytes);
