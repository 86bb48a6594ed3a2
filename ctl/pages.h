/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A list that the daemon tells in pages. They are kept: what is shown borrows its text from them. */

#include "ctl/connection.h"

typedef struct Pages {
        Pmbroker__V1__ServerPacket **packets;
        size_t n;
} Pages;

/*
 * Ask until there is no next page. `after` is the field of the request's body that says where a page begins,
 * `get_next` finds the field of the answer that says where the next one does. Returns as ctl_request().
 */
int pages_fetch(CtlConnection *c, const CtlRequest *request, uint64_t *after,
        uint64_t (*get_next)(const Pmbroker__V1__ServerPacket *), Pages *ret);
void pages_done(Pages *pages);
