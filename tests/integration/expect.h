/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* For programs that use the library and end with 1, and a line that says why, when something is not as it should be. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition)                                                                \
        do {                                                                             \
                if (!(condition)) {                                                      \
                        printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
                        exit(EXIT_FAILURE);                                              \
                }                                                                        \
        } while (0)
