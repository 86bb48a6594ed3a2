/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

/* What goes to stderr: one line each, "pmbrokerctl: ...", with the text of others escaped. */

void message_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "pmbrokerctl: note: ...", for what --quiet is not to show: the caller asks. */
void message_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* While it is muted, message_error() says nothing: for what is tried again and again. */
void message_set_muted(bool muted);

/* "out of memory"; returns EXIT_REFUSED. */
int message_oom(void);
