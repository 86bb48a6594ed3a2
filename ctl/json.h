/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * JSON on a stream, in lsblk's manner. libsmartcols could write the tables, but not a bare object, and it lets C1
 * control characters and DEL through; here every character outside printable ASCII becomes \uXXXX.
 *
 * The first two levels have one member per line, what is deeper (the row of a table) stays on one. `key` is NULL in
 * an array and for the outermost value.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Json {
        FILE *out;
        unsigned depth;
        bool started; /* the innermost object or array has a member */
        bool one_line;
} Json;

void json_open(Json *json, const char *key, char bracket);
/* Of the outermost value: ends the line, too. */
void json_close(Json *json, char bracket);

void json_text(Json *json, const char *key, const char *s); /* what is not UTF-8 becomes U+FFFD */
void json_number(Json *json, const char *key, uint64_t number);
void json_bool(Json *json, const char *key, bool b);
void json_null(Json *json, const char *key);
