/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One line to the journal, or to stderr where that is not the journal. A failure is logged once, by the
 * layer that knows what it means; the core and the client library never log.
 */

#include <stddef.h>
#include <syslog.h>

/* Messages less important than this are dropped. Default: what $PMBROKER_LOG_LEVEL says, or LOG_INFO. */
void log_set_level(int level);
/* "debug", "info", "notice", "warning", "error", "crit", "alert", "emerg", or "0" to "7"; -EINVAL. */
int log_level_from_string(const char *s, int *ret);
/* `who` stands before each message, and stays the caller's. Reads the environment. */
void log_open(const char *who);

void log_full(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with ": strerror(error)"; returns -abs(error), so that `return log_errno(...)` passes it up. */
int log_errno(int level, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* One line with further fields, each "NAME=value", for the journal. */
void log_fields(int level, const char *const *fields, size_t n, const char *message);

/* Each line of a text as a message of its own; NULL is no text. */
void log_lines(int level, const char *text);

#define log_debug(...)   log_full(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)    log_full(LOG_INFO, __VA_ARGS__)
#define log_notice(...)  log_full(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, __VA_ARGS__)
#define log_error(...)   log_full(LOG_ERR, __VA_ARGS__)
