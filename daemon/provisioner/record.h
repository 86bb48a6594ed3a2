/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The record of a pool: a small file RUNTIME_DIR/records/STORE.ID that says the pool was granted, with what
 * the broker wants to know of it after a restart (bytes that we do not read) and what the kernel does not
 * tell us. Its appearance under that name is the commit point of a create; under STORE.ID.releasing, of a
 * release; its removal ends the release.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provisioner/job.h"

#define RECORD_VERSION 1

typedef struct Record {
        uint64_t pool;
        uint64_t limit;  /* bytes; 0 where the kernel knows it */
        uint64_t length; /* bytes that the file was given */
        uint32_t size;
        uint8_t bytes[JOB_RECORD_MAX];
} Record;

/* RUNTIME_DIR/records, made if need be. Returns an fd. */
int record_open_dir(const char *runtime_dir);

/* Write a new record, or replace one. */
int record_write(int dir_fd, const char *store, const Record *record);
/* A release begins; a record that does not exist is none of our business. */
int record_set_releasing(int dir_fd, const char *store, uint64_t pool);
/* Under either name. */
int record_remove(int dir_fd, const char *store, uint64_t pool);

/* -ENOENT, -EBADMSG: damaged, -EPROTONOSUPPORT: of a version that we do not know. */
int record_read(int dir_fd, const char *store, uint64_t pool, bool releasing, Record *ret);

/* "STORE.ID" or "STORE.ID.releasing". -EINVAL for any other name. */
int record_parse_name(
        const char *name, char store[static JOB_NAME_MAX], uint64_t *ret_pool, bool *ret_releasing);

/* Every record there is, in no order. Stops when the callback returns
 * a negative errno, which is returned. */
typedef int (*RecordFn)(const char *store, uint64_t pool, bool releasing, void *userdata);
int record_for_each(int dir_fd, RecordFn fn, void *userdata);
