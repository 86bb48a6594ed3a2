/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What a unit cannot take from a process, as it needs it itself to start that: no execve(2) any more, nor a system call
 * that is another architecture's and might be it. For this thread and all it starts; there is no way back, and no
 * program can get rights that this one has not. Returns 0 or a negative errno.
 */
int sandbox_forbid_exec(void);
