/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists in pages. */

#include "ctl/pages.h"

#include <assert.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/message.h"

void pages_done(Pages *pages)
{
        for (size_t i = 0; i < pages->n; i++)
                wire_free_server(pages->packets[i]);
        free(pages->packets);
        *pages = (Pages){0};
}

static int fetch_page(CtlConnection *c, const CtlRequest *request, Pages *pages)
{
        Pmbroker__V1__ServerPacket **packets;
        int r;

        packets = reallocarray(pages->packets, pages->n + 1, sizeof(Pmbroker__V1__ServerPacket *));
        if (!packets)
                return message_oom();
        pages->packets = packets;
        r = ctl_request(c, request, &packets[pages->n]);
        if (r == EXIT_DONE)
                pages->n++;
        return r;
}

int pages_fetch(CtlConnection *c, const CtlRequest *request, uint64_t *after,
        uint64_t (*get_next)(const Pmbroker__V1__ServerPacket *), Pages *ret)
{
        _cleanup_(pages_done) Pages pages = {0};

        for (*after = 0;;) {
                uint64_t next;
                int r;

                r = fetch_page(c, request, &pages);
                if (r != EXIT_DONE)
                        return r;
                assert(pages.packets);
                next = get_next(pages.packets[pages.n - 1]);
                if (next == 0)
                        break;
                if (next <= *after) /* pages only go forward: anything else would have no end */
                        return ctl_nonsense(c, "a list without an end");
                *after = next;
        }
        *ret = pages;
        pages = (Pages){0};
        return EXIT_DONE;
}
