/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Text of others: the command of a process, a label, an answer. It goes to a terminal only through here.
 *
 * What is not printable in the user's locale, and what is printable but invisible (bidirectional overrides, zero-width
 * characters), is written as \xNN, byte by byte, as libsmartcols does; a backslash before an x as \x5c, so that the
 * result is unambiguous.
 */

/* A new string, or NULL when out of memory. */
char *text_escape(const char *s);
