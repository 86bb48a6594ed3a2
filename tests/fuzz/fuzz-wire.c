/* SPDX-License-Identifier: BSD-3-Clause */
/* Decoding, in both directions: what is accepted can be said again, and means the same. */

#include <assert.h>
#include <string.h>

#include "fuzz.h"
#include "proto/wire.h"

static void try_client(const uint8_t *data, size_t size)
{
        uint8_t once[WIRE_CLIENT_MAX], twice[WIRE_CLIENT_MAX];
        Pmbroker__V1__ClientPacket *p, *q;
        ssize_t n;

        if (wire_decode_client(data, size, &p) < 0)
                return;
        assert(p->serial != 0);
        n = wire_encode_client(p, once);
        wire_free_client(p);
        if (n < 0) /* what was not in its shortest form may be longer now */
                return;
        assert(wire_decode_client(once, (size_t)n, &q) == 0);
        assert(wire_encode_client(q, twice) == n && memcmp(once, twice, (size_t)n) == 0);
        wire_free_client(q);
}

static void try_server(const uint8_t *data, size_t size)
{
        uint8_t once[WIRE_SERVER_MAX], twice[WIRE_SERVER_MAX];
        Pmbroker__V1__ServerPacket *p, *q;
        ssize_t n;

        if (wire_decode_server(data, size, &p) < 0)
                return;
        assert(p->serial != 0);
        n = wire_encode_server(p, once);
        wire_free_server(p);
        if (n < 0)
                return;
        assert(wire_decode_server(once, (size_t)n, &q) == 0);
        assert(wire_encode_server(q, twice) == n && memcmp(once, twice, (size_t)n) == 0);
        wire_free_server(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size <= WIRE_CLIENT_MAX)
                try_client(data, size);
        if (size <= WIRE_SERVER_MAX)
                try_server(data, size);
        return 0;
}
