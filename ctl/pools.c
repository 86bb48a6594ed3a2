/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools, fetched page by page. */

#include "ctl/pools.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/select.h"

void pools_done(Pools *pools)
{
        for (size_t i = 0; i < pools->n_pages; i++)
                wire_free_server(pools->pages[i]);
        free(pools->pages);
        free(pools->rows);
        *pools = (Pools){0};
}

/* Takes the page over, on failure, too. */
static int add_page(Pools *pools, Pmbroker__V1__ServerPacket *taken)
{
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *page = taken;
        const Pmbroker__V1__PoolList *list = page->pools;
        Pmbroker__V1__ServerPacket **pages;
        Pmbroker__V1__PoolRow **rows;

        pages = reallocarray(pools->pages, pools->n_pages + 1, sizeof(Pmbroker__V1__ServerPacket *));
        if (!pages)
                return message_oom();
        pools->pages = pages;
        rows = reallocarray(pools->rows, pools->n_rows + list->n_rows + 1, sizeof(Pmbroker__V1__PoolRow *));
        if (!rows)
                return message_oom();
        pools->rows = rows;
        if (list->n_rows > 0)
                memcpy(rows + pools->n_rows, list->rows, list->n_rows * sizeof(Pmbroker__V1__PoolRow *));
        pools->n_rows += list->n_rows;
        pages[pools->n_pages++] = TAKE_PTR(page);
        return EXIT_DONE;
}

static int fetch_page(CtlConnection *c, uint64_t after, Pools *pools, uint64_t *ret_next)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ListPools list = PMBROKER__V1__LIST_POOLS__INIT;
        Pmbroker__V1__ServerPacket *answer;
        int r;

        list.after = after;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_LIST_POOLS;
        packet.list_pools = &list;
        r = ctl_request(c,
                &(CtlRequest){.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_POOLS}, &answer);
        if (r != EXIT_DONE)
                return r;
        *ret_next = answer->pools->next;
        return add_page(pools, answer);
}

int pools_fetch(CtlConnection *c, Pools *ret)
{
        _cleanup_(pools_done) Pools pools = {0};
        uint64_t after = 0, next;

        for (;; after = next) {
                int r = fetch_page(c, after, &pools, &next);

                if (r != EXIT_DONE)
                        return r;
                if (next == 0)
                        break;
                if (next <= after) /* pages only go forward: anything else would have no end */
                        return ctl_nonsense(c, "a list without an end");
        }
        *ret = pools;
        pools = (Pools){0};
        return EXIT_DONE;
}

/* ---------------------------------------------------------------------------------------------- one pool */

static int get_pool(CtlConnection *c, uint64_t id, Pools *ret)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__GetPool get = PMBROKER__V1__GET_POOL__INIT;
        _cleanup_(pools_done) Pools pools = {0};
        Pmbroker__V1__ServerPacket *answer;
        char subject[32];
        int r;

        get.pool = id;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GET_POOL;
        packet.get_pool = &get;
        (void)snprintf(subject, sizeof(subject), "pool %016" PRIx64, id);
        r = ctl_request(c,
                &(CtlRequest){.packet = &packet,
                        .expected = PMBROKER__V1__SERVER_PACKET__BODY_POOLS,
                        .subject = subject},
                &answer);
        if (r == EXIT_DONE)
                r = add_page(&pools, answer);
        if (r != EXIT_DONE)
                return r;
        if (pools.n_rows != 1 || pools.rows[0]->pool != id)
                return ctl_nonsense(c, "the answer is about another pool");
        *ret = pools;
        pools = (Pools){0};
        return EXIT_DONE;
}

static int no_such_pool(const CtlConnection *c, const char *spec)
{
        message_error("pool %s: there is no such pool%s", spec,
                ctl_is_admin(c) ? "" : " (pools of other processes are shown to administrators only)");
        return EXIT_NO_POOL;
}

static int ambiguous(const Pools *pools, const char *spec)
{
        char ids[128] = "";
        size_t used = 0, matches = 0;

        for (size_t i = 0; i < pools->n_rows; i++) {
                if (!select_matches(pools->rows[i], spec))
                        continue;
                if (++matches <= 4)
                        used += (size_t)snprintf(ids + used, sizeof(ids) - used, "%s%016" PRIx64,
                                matches > 1 ? ", " : "", pools->rows[i]->pool);
        }
        message_error("pool %s: %zu pools fit: %s%s", spec, matches, ids, matches > 4 ? ", ..." : "");
        return EXIT_NO_POOL;
}

int pools_fetch_one(CtlConnection *c, const char *spec, Pools *ret)
{
        _cleanup_(pools_done) Pools pools = {0};
        uint64_t id;
        size_t index;
        int r;

        if (select_is_id(spec, &id))
                return get_pool(c, id, ret);
        r = pools_fetch(c, &pools);
        if (r != EXIT_DONE)
                return r;
        r = select_pool(pools.rows, pools.n_rows, spec, &index);
        if (r == -ENOENT)
                return no_such_pool(c, spec);
        if (r < 0)
                return ambiguous(&pools, spec);
        pools.rows[0] = pools.rows[index];
        pools.n_rows = 1;
        *ret = pools;
        pools = (Pools){0};
        return EXIT_DONE;
}

int pools_resolve(CtlConnection *c, const char *spec, uint64_t *ret_id)
{
        _cleanup_(pools_done) Pools pools = {0};
        int r;

        if (select_is_id(spec, ret_id))
                return EXIT_DONE;
        r = pools_fetch_one(c, spec, &pools);
        if (r != EXIT_DONE)
                return r;
        *ret_id = pools.rows[0]->pool;
        return EXIT_DONE;
}
