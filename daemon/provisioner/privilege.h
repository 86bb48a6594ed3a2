/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Give up what makes the kernel deaf to its own limits: ext4 lets who has CAP_SYS_RESOURCE allocate beyond a quota, and
 * that would be us. For this process and all it starts. Returns 0 or a negative errno.
 */
int privilege_drop_resource(void);
