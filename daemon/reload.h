/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* SIGHUP means the same in both processes: parse fully, validate fully, then swap; a bad file leaves the old
 * one. */

#include "config.h"

/* Tells the service manager, reads, and returns the new configuration or NULL (logged: the old one stays).
 */
Config *reload_begin(const char *path, bool must_exist);
void reload_end(bool changed);
