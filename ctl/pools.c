/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools, fetched page by page. */

#include "ctl/pools.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/select.h"

char *pools_subject(uint64_t id, char buf[static POOLS_SUBJECT_MAX])
{
        (void)snprintf(buf, POOLS_SUBJECT_MAX, "pool %016" PRIx64, id);
        return buf;
}

void pools_done(Pools *pools)
{
        pages_done(&pools->pages);
        free(pools->rows);
        *pools = (Pools){0};
}

static uint64_t get_next(const Pmbroker__V1__ServerPacket *page)
{
        return page->pools->next;
}

/* One array over all pages. */
static int gather_rows(Pools *pools)
{
        size_t n = 0;

        for (size_t i = 0; i < pools->pages.n; i++)
                n += pools->pages.packets[i]->pools->n_rows;
        pools->rows = calloc(n + 1, sizeof(Pmbroker__V1__PoolRow *));
        if (!pools->rows)
                return message_oom();
        for (size_t i = 0; i < pools->pages.n; i++) {
                const Pmbroker__V1__PoolList *list = pools->pages.packets[i]->pools;

                for (size_t k = 0; k < list->n_rows; k++)
                        pools->rows[pools->n_rows++] = list->rows[k];
        }
        return EXIT_DONE;
}

static int fetch(CtlConnection *c, const CtlRequest *request, uint64_t *after, Pools *ret)
{
        _cleanup_(pools_done) Pools pools = {0};
        int r;

        r = pages_fetch(c, request, after, get_next, &pools.pages);
        if (r == EXIT_DONE)
                r = gather_rows(&pools);
        if (r != EXIT_DONE)
                return r;
        *ret = pools;
        pools = (Pools){0};
        return EXIT_DONE;
}

int pools_fetch(CtlConnection *c, Pools *ret)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ListPools list = PMBROKER__V1__LIST_POOLS__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_POOLS};

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_LIST_POOLS;
        packet.list_pools = &list;
        return fetch(c, &request, &list.after, ret);
}

/* ---------------------------------------------------------------------------------------------- one pool */

static int get_pool(CtlConnection *c, uint64_t id, Pools *ret)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__GetPool get = PMBROKER__V1__GET_POOL__INIT;
        _cleanup_(pools_done) Pools pools = {0};
        char subject[POOLS_SUBJECT_MAX];
        CtlRequest request = {
                .packet = &packet,
                .expected = PMBROKER__V1__SERVER_PACKET__BODY_POOLS,
                .subject = pools_subject(id, subject),
        };
        uint64_t only_page;
        int r;

        get.pool = id;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GET_POOL;
        packet.get_pool = &get;
        r = fetch(c, &request, &only_page, &pools);
        if (r != EXIT_DONE)
                return r;
        assert(pools.rows);
        if (pools.n_rows != 1 || pools.rows[0]->pool != id)
                return ctl_nonsense(c, "the answer is about another pool");
        *ret = pools;
        pools = (Pools){0};
        return EXIT_DONE;
}

static int no_such_pool(const CtlConnection *c, const char *spec)
{
        message_error("pool %s: there is no such pool%s", spec,
                ctl_is_admin(c) ? "" : " (pools of other users are shown to administrators only)");
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
        assert(pools.rows);
        *ret_id = pools.rows[0]->pool;
        return EXIT_DONE;
}
