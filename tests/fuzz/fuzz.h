/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What libFuzzer calls, and replay.c for each file of a corpus. */

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
