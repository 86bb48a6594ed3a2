/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Facts about a machine, from files below a root ("" is this machine) and from programs. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define FACT_MAX 4096

/* The first FACT_MAX - 1 bytes of a file, without the line feed at its end. 0 or a negative errno. */
int fact_read(const char *root, const char *path, char text[static FACT_MAX]);
/* A decimal number alone in a file. */
int fact_read_number(const char *root, const char *path, uint64_t *ret);
int fact_stat(const char *root, const char *path, struct stat *ret);
bool fact_exists(const char *root, const char *path);

/* "6.1.0-28-amd64" into 6 and 1. */
bool fact_parse_version(const char *text, unsigned *ret_major, unsigned *ret_minor);

/* The first line that contains the word, or NULL. */
const char *fact_find_line(const char *text, const char *word);

/*
 * What a program says on both of its outputs, the first FACT_MAX - 1 bytes of it, and how it ends: its exit status, or a
 * negative errno (-ENOENT: no such program). It gets nothing to read.
 */
int fact_run(const char *const *argv, char text[static FACT_MAX]);
