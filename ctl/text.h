/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Text of others: the command of a process, a label, an answer. It goes to a terminal only through here.
 *
 * What is not printable in the user's locale, and what is printable but invisible (bidirectional overrides, zero-width
 * characters), is written as \xNN, byte by byte, as libsmartcols does; a backslash before an x as \x5c, so that the
 * result is unambiguous.
 */

#include <stdio.h>

/* A new string, or NULL when out of memory. */
char *text_escape(const char *s);

/* Words in lines of at most so many columns, the first of which was begun and has `indent` of them already, as the others
 * get. Ends the line. A word that is longer stands alone. */
void text_wrap(FILE *out, const char *text, unsigned indent, unsigned columns);
