/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The outcomes that both sides know by name: code ↔ name ↔ errno, and the one sentence that a refusal turns
 * into, whether in the journal or in pmb_pool_explain(). Plain C without protobuf, so that the core may use
 * it. The values equal those of enum Code in pmbroker.proto (proto/wire.c asserts it).
 */

#include <stddef.h>
#include <stdint.h>

typedef enum Result {
        RESULT_OK = 0,
        RESULT_MALFORMED = 1,
        RESULT_VERSION = 2,
        RESULT_HELLO_REQUIRED = 3,
        RESULT_UNSUPPORTED = 4,
        RESULT_DENIED = 5,
        RESULT_INVALID = 6,
        RESULT_NOT_FOUND = 7,
        RESULT_NO_TENANT = 8,
        RESULT_STORE_UNKNOWN = 9,
        RESULT_STORE_UNAVAILABLE = 10,
        RESULT_STORE_FULL = 11,
        RESULT_QUOTA_BYTES = 12,
        RESULT_QUOTA_POOLS = 13,
        RESULT_QUOTA_POOL_SIZE = 14,
        RESULT_POOL_MAX = 15,
        RESULT_BUSY = 16,
        RESULT_RETRY = 17,
        RESULT_RATE = 18,
        RESULT_REQUEST_CONFLICT = 19,
        RESULT_SESSION_LIMIT = 20,
        RESULT_UNITS_INVALID = 21,
        RESULT_FAILED = 22,
        RESULT_STORE_BUSY = 23,
        RESULT_STORE_DRAINED = 24,
        RESULT_TENANT_UNKNOWN = 25,
        _RESULT_MAX,
} Result;

/* Room for any name of a store or tenant, with its NUL. */
#define RESULT_SUBJECT_MAX 33

/* A refusal with its numbers. Fields that a code does not use are 0 or "". */
typedef struct Refusal {
        Result code;
        int errno_value; /* positive; set for RESULT_FAILED, otherwise result_to_errno() holds */
        uint64_t asked;
        uint64_t limit;
        uint64_t used;
        char subject[RESULT_SUBJECT_MAX]; /* name of the tenant or store whose limit it is */
} Refusal;

#define REFUSAL_SENTENCE_MAX 256

/* "quota-bytes" and so on; "unknown" for a value outside the enum. */
const char *result_to_string(Result code);

/* A positive errno, 0 for RESULT_OK; EPROTO for a value outside the enum. */
int result_to_errno(Result code);

/* One English sentence without a full stop, with sizes for humans: "tenant batch has 8G of 8G in use, 64M
 * more were asked for". Always NUL-terminated, returns buf. */
char *refusal_to_sentence(const Refusal *refusal, char buf[static REFUSAL_SENTENCE_MAX]);
