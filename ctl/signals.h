/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Signals as something that is read, for verbs that wait for more than the daemon. */

/* Block these (ended by 0) and have them come by *ret_fd instead. EXIT_DONE, or EXIT_REFUSED and it was said why. */
int signals_take(const int *signals, int *ret_fd);
