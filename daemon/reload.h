/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Reading the configuration again: parse fully, validate fully, then swap; a bad file leaves the old one. The broker
 * has the provisioner do it first, so that a reload is one, and done by both or by neither. */

#include "config.h"

/* Tells the service manager, and reads. As config_load(), but it logs what is wrong, and `ret_message` may be NULL. */
int reload_begin(const char *path, bool must_exist, Config **ret, char **ret_message);
void reload_end(void);
