/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A time limit on a system call that waits interruptibly: from `usec` on it ends with EINTR, again and again, until
 * interrupt_stop(). For processes that do nothing else with SIGALRM: workers and probes.
 */

#include <stdint.h>

int interrupt_after(uint64_t usec);
void interrupt_stop(void);
