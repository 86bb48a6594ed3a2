/* SPDX-License-Identifier: BSD-3-Clause */
/* Outcomes: one table for name and errno, one function for the sentence. */

#include "proto/result.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

static const struct {
        const char *name;
        int errno_value;
} results[_RESULT_MAX] = {
        [RESULT_OK] = {"ok", 0},
        [RESULT_MALFORMED] = {"malformed", EBADMSG},
        [RESULT_VERSION] = {"version", EPROTONOSUPPORT},
        [RESULT_HELLO_REQUIRED] = {"hello-required", EPROTO},
        [RESULT_UNSUPPORTED] = {"unsupported", EOPNOTSUPP},
        [RESULT_DENIED] = {"denied", EACCES},
        [RESULT_INVALID] = {"invalid", EINVAL},
        [RESULT_NOT_FOUND] = {"not-found", ENOENT},
        [RESULT_NO_TENANT] = {"no-tenant", EACCES},
        [RESULT_STORE_UNKNOWN] = {"store-unknown", ENOENT},
        [RESULT_STORE_UNAVAILABLE] = {"store-unavailable", ENODEV},
        [RESULT_STORE_FULL] = {"store-full", ENOSPC},
        [RESULT_QUOTA_BYTES] = {"quota-bytes", EDQUOT},
        [RESULT_QUOTA_POOLS] = {"quota-pools", EDQUOT},
        [RESULT_QUOTA_POOL_SIZE] = {"quota-pool-size", EDQUOT},
        [RESULT_POOL_MAX] = {"pool-max", EDQUOT},
        [RESULT_BUSY] = {"busy", EBUSY},
        [RESULT_RETRY] = {"retry", EAGAIN},
        [RESULT_RATE] = {"rate", EAGAIN},
        [RESULT_REQUEST_CONFLICT] = {"request-conflict", EEXIST},
        [RESULT_SESSION_LIMIT] = {"session-limit", EUSERS},
        [RESULT_UNITS_INVALID] = {"units-invalid", EINVAL},
        [RESULT_FAILED] = {"failed", EIO},
        [RESULT_STORE_BUSY] = {"store-busy", EBUSY},
        [RESULT_STORE_DRAINED] = {"store-drained", EBUSY},
        [RESULT_TENANT_UNKNOWN] = {"tenant-unknown", ENOENT},
};

const char *result_to_string(Result code)
{
        return (unsigned)code < _RESULT_MAX ? results[code].name : "unknown";
}

int result_to_errno(Result code)
{
        return (unsigned)code < _RESULT_MAX ? results[code].errno_value : EPROTO;
}

char *refusal_to_sentence(const Refusal *r, char buf[static REFUSAL_SENTENCE_MAX])
{
        char asked[FORMAT_SIZE_MAX], limit[FORMAT_SIZE_MAX], used[FORMAT_SIZE_MAX];

        format_size(asked, r->asked);
        format_size(limit, r->limit);
        format_size(used, r->used);

#define SAY(...) (void)snprintf(buf, REFUSAL_SENTENCE_MAX, __VA_ARGS__)
        switch (r->code) {
        case RESULT_OK:
                SAY("no refusal");
                break;
        case RESULT_MALFORMED:
                SAY("the packet is not of the protocol");
                break;
        case RESULT_VERSION:
                SAY("the daemon speaks protocol versions %" PRIu64 " to %" PRIu64 ", not %" PRIu64, r->used,
                        r->limit, r->asked);
                break;
        case RESULT_HELLO_REQUIRED:
                SAY("the session has to begin with one Hello");
                break;
        case RESULT_UNSUPPORTED:
                SAY("the daemon does not know this request");
                break;
        case RESULT_DENIED:
                SAY("only the administrators may do this");
                break;
        case RESULT_INVALID:
                if (r->limit > 0)
                        SAY("%" PRIu64 " bytes is out of range: a multiple of 2M, from %s to %s, is needed",
                                r->asked, format_size(used, r->used), limit);
                else
                        SAY("an argument is not valid (%" PRIu64 ")", r->asked);
                break;
        case RESULT_NOT_FOUND:
                SAY("there is no such pool");
                break;
        case RESULT_NO_TENANT:
                SAY("no tenant is configured for this process");
                break;
        case RESULT_STORE_UNKNOWN:
                SAY("there is no such store for this tenant");
                break;
        case RESULT_STORE_UNAVAILABLE:
                if (r->subject[0])
                        SAY("store %s is not available", r->subject);
                else
                        SAY("no store is available");
                break;
        case RESULT_STORE_FULL:
                SAY("store %s has %s of %s in use, %s more were asked for", r->subject, used, limit, asked);
                break;
        case RESULT_QUOTA_BYTES:
                SAY("tenant %s has %s of %s in use, %s more were asked for", r->subject, used, limit, asked);
                break;
        case RESULT_QUOTA_POOLS:
                SAY("tenant %s has %" PRIu64 " of %" PRIu64 " pools", r->subject, r->used, r->limit);
                break;
        case RESULT_QUOTA_POOL_SIZE:
                SAY("a pool of tenant %s may have %s at most, %s were asked for", r->subject, limit, asked);
                break;
        case RESULT_POOL_MAX:
                SAY("the pool was made to grow to %s at most, %s were asked for", limit, asked);
                break;
        case RESULT_BUSY:
                SAY("the pool is being resized or released");
                break;
        case RESULT_RETRY:
                SAY("the provisioner is away for a moment");
                break;
        case RESULT_RATE:
                SAY("more than %" PRIu64 " requests per second", r->limit);
                break;
        case RESULT_REQUEST_CONFLICT:
                SAY("this request id was used for another request");
                break;
        case RESULT_SESSION_LIMIT:
                SAY("%" PRIu64 " of %" PRIu64 " sessions are open", r->used, r->limit);
                break;
        case RESULT_UNITS_INVALID:
                SAY("the units given back are not backed units of the pool, in ascending order");
                break;
        case RESULT_FAILED:
                SAY("%s (the daemon's journal says more)", strerror(r->errno_value));
                break;
        case RESULT_STORE_BUSY:
                if (r->used > 0)
                        SAY("store %s holds %" PRIu64 " pool%s, which --force would revoke", r->subject,
                                r->used, r->used == 1 ? "" : "s");
                else
                        SAY("store %s is being prepared", r->subject);
                break;
        case RESULT_STORE_DRAINED:
                SAY("store %s takes no new pools", r->subject);
                break;
        case RESULT_TENANT_UNKNOWN:
                SAY("there is no such tenant");
                break;
        case _RESULT_MAX:
        default:
                SAY("refused with code %d", (int)r->code);
                break;
        }
#undef SAY
        return buf;
}
