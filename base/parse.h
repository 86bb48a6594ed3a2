/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Text ↔ numbers, one way for the configuration, the command line and the tables. Every function parses the
 * whole string, returns 0 or a negative errno (-EINVAL: not of the form, -ERANGE: does not fit), and sets
 * its result only on success.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)

#define USEC_PER_SEC UINT64_C(1000000)

/* Room for the longest text that format_size() writes, with its NUL. */
#define FORMAT_SIZE_MAX 32

/* "64M", "1.5G", "2097152", "512K", "0": powers of 1024, suffix B K M G T P E, optionally followed by "B" or
 * "iB". */
int parse_size(const char *s, uint64_t *ret_bytes);

/* A size as above, or a percentage "25%" (1 to 100). Exactly one of the results is non-zero, but for "0". */
int parse_size_or_percent(const char *s, uint64_t *ret_bytes, unsigned *ret_percent);

/* "0", "30", "500ms", "10s", "5min", "1h": a bare number counts seconds. */
int parse_usec(const char *s, uint64_t *ret_usec);

/* Decimal digits only, no sign, no blanks. */
int parse_u64(const char *s, uint64_t *ret);
int parse_u32(const char *s, uint32_t *ret);

/* yes/no, true/false, on/off, 1/0 */
int parse_bool(const char *s, bool *ret);

/* One to 16 hexadecimal digits, as pool ids are printed. */
int parse_hex64(const char *s, uint64_t *ret);

/* "64M", "1.5G", "0B": the shortest form with at most one decimal, rounded half up, as lsblk prints sizes.
 * Returns buf. */
char *format_size(char buf[static FORMAT_SIZE_MAX], uint64_t bytes);

/* "3s", "2min", "4h", "5d": the largest unit that is at least one. Returns buf. */
char *format_age(char buf[static FORMAT_SIZE_MAX], uint64_t usec);

/* A label as a client may give one: 1 to 32 characters of [a-z0-9._-]. */
bool name_is_valid(const char *s);

/* What others have written, before it goes into a message: all but printable ASCII becomes '?'. Strings of the protocol
 * are UTF-8 by contract, and terminals obey some of the rest. */
void make_printable(char *s);
