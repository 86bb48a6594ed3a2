/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Filling in a Refusal. Each function returns the code, so that a check reads `return refuse(...)`. */

#include "proto/result.h"

/* A limit that somebody would exceed; `subject` is the name of the tenant or store whose limit it is. */
Result refuse(Refusal *ret, Result code, uint64_t asked, uint64_t limit, uint64_t used, const char *subject);

/* A code without numbers, about `subject` or about nobody (""). */
Result refuse_plain(Refusal *ret, Result code, const char *subject);

/* An argument out of its range. */
Result refuse_invalid(Refusal *ret, uint64_t asked);

/* RESULT_FAILED; `error` is a negative errno. */
Result refuse_errno(Refusal *ret, int error);
