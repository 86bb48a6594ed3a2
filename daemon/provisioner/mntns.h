/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The provisioner's own mount namespace. Mounts of the rest of the system appear in it, ours appear nowhere
 * else, so that no path leads to a pool from outside.
 */

/*
 * Go back into the namespace `kept_fd` (taken over; -EBADF: none), or make a new one, and see to it that a
 * file system of ours lies on STATE_DIR/mnt. There must be no second thread, and this process stays in it.
 * Returns 0 and fds of the namespace and of STATE_DIR/mnt, or a negative errno: -EPERM without the
 * privilege, and nothing has changed then.
 */
int mntns_enter(const char *state_dir, int kept_fd, int *ret_ns_fd, int *ret_mnt_fd);
