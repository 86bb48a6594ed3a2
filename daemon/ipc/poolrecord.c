/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/poolrecord.h"

#include <errno.h>
#include <string.h>

static const char record_magic[4] = {'P', 'M', 'B', 'p'};

static void copy_string(char *to, size_t size, const char *from)
{
        size_t n = strnlen(from, size - 1);

        memcpy(to, from, n);
        memset(to + n, 0, size - n);
}

void pool_record_encode(const Pool *pool, PoolRecord *ret)
{
        *ret = (PoolRecord){
                .version = POOL_RECORD_VERSION,
                .size = sizeof(*ret),
                .id = pool->id,
                .start_time = pool->owner->start_time,
                .max = pool->max,
                .created = pool->created,
                .request_id = pool->request_id,
                .uid = pool->owner->uid,
                .gid = pool->owner->gid,
                .pid = pool->owner->pid,
        };
        memcpy(ret->magic, record_magic, sizeof(record_magic));
        copy_string(ret->command, sizeof(ret->command), pool->owner->command);
        copy_string(ret->name, sizeof(ret->name), pool->name);
        copy_string(ret->store, sizeof(ret->store), pool->store->info.name);
        copy_string(ret->tenant, sizeof(ret->tenant), tenant_name(pool->tenant));
}

static int is_terminated(const char *s, size_t size)
{
        return memchr(s, '\0', size) != NULL;
}

int pool_record_decode(const void *data, size_t size, PoolRecord *ret)
{
        PoolRecord r;

        if (size < offsetof(PoolRecord, id))
                return -EBADMSG;
        memcpy(&r, data, offsetof(PoolRecord, id));
        if (memcmp(r.magic, record_magic, sizeof(record_magic)) != 0)
                return -EBADMSG;
        if (r.version > POOL_RECORD_VERSION)
                return -EPROTONOSUPPORT;
        if (r.version == 0 || r.size != sizeof(r) || size != sizeof(r))
                return -EBADMSG;
        memcpy(&r, data, sizeof(r));
        if (r.id == 0 || !is_terminated(r.command, sizeof(r.command)) ||
                !is_terminated(r.name, sizeof(r.name)) || !is_terminated(r.store, sizeof(r.store)) ||
                !is_terminated(r.tenant, sizeof(r.tenant)))
                return -EBADMSG;
        *ret = r;
        return 0;
}
