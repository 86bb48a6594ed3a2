/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What a broker writes down about a pool for the broker after it: who owns it and what it was promised. Not
 * in it is what the kernel knows (size, length, usage). The provisioner keeps the bytes unread, and checks
 * their sum.
 */

#include <stddef.h>
#include <stdint.h>

#include "core/pool.h"
#include "provisioner/job.h"

#define POOL_RECORD_VERSION 1

typedef struct PoolRecord {
        char magic[4]; /* "PMBp" */
        uint16_t version;
        uint16_t size; /* of this structure */
        uint64_t id;
        uint64_t start_time;
        uint64_t max;
        uint64_t created;
        uint64_t request_id;
        uint32_t uid;
        uint32_t gid;
        uint32_t pid; /* 0: the pool lived with a connection, which no restart survives */
        uint32_t reserved;
        char command[16];
        char name[RESULT_SUBJECT_MAX];
        char store[RESULT_SUBJECT_MAX];
        char tenant[RESULT_SUBJECT_MAX];
        char padding[5];
} PoolRecord;

_Static_assert(sizeof(PoolRecord) == 184, "no hidden padding");
_Static_assert(sizeof(PoolRecord) <= JOB_RECORD_MAX, "fits a job");

void pool_record_encode(const Pool *pool, PoolRecord *ret);
/* 0, -EBADMSG (not a record), -EPROTONOSUPPORT (of a newer version). */
int pool_record_decode(const void *data, size_t size, PoolRecord *ret);
