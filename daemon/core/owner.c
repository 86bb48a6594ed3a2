/* SPDX-License-Identifier: BSD-3-Clause */

/* The processes that pools belong to. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/broker-internal.h"

static OwnerKey owner_key(const PeerIdentity *peer, uint64_t connection)
{
        /* Processes of foreign pid namespaces all look alike: only the connection tells them apart. */
        if (peer->pid == 0)
                return (OwnerKey){.uid = peer->uid, .connection = connection};
        return (OwnerKey){.uid = peer->uid, .pid = peer->pid, .start_time = peer->start_time};
}

static OwnerEntry *find_owner(const Broker *broker, const OwnerKey *key)
{
        OwnerEntry *entry;

        HASH_FIND(by_key, broker->owners_by_key, key, sizeof(*key), entry);
        return entry;
}

/* The name of the program changes with execve(), so it is taken anew from each session. */
static void set_command(Owner *owner, const char *command)
{
        size_t length = strnlen(command, sizeof(owner->command) - 1);

        memset(owner->command, 0, sizeof(owner->command));
        memcpy(owner->command, command, length);
}

static OwnerEntry *owner_new(Broker *broker, const OwnerKey *key, uint32_t gid)
{
        OwnerEntry *entry = calloc(1, sizeof(*entry));

        if (!entry)
                return NULL;
        entry->key = *key;
        entry->owner.uid = key->uid;
        entry->owner.gid = gid;
        entry->owner.pid = key->pid;
        entry->owner.start_time = key->start_time;
        entry->owner.connection = key->connection;
        list_init(&entry->owner.pools);

        HASH_ADD(by_key, broker->owners_by_key, key, sizeof(entry->key), entry);
        if (!entry->by_key.tbl) {
                free(entry);
                return NULL;
        }
        list_append(&broker->owners, &entry->owner.owner_link);
        return entry;
}

void broker_owner_gone(Broker *broker, Owner *owner)
{
        OwnerEntry *entry = CONTAINER_OF(owner, OwnerEntry, owner);

        if (owner->gone)
                return;
        HASH_DELETE(by_key, broker->owners_by_key, entry);
        owner->gone = true;
}

Owner *broker_free_owner(Broker *broker, Owner *owner)
{
        OwnerEntry *entry;

        if (!owner)
                return NULL;
        assert(list_is_empty(&owner->pools));
        entry = CONTAINER_OF(owner, OwnerEntry, owner);
        if (!owner->gone)
                HASH_DELETE(by_key, broker->owners_by_key, entry);
        list_unlink(&owner->owner_link);
        free(entry);
        return NULL;
}

int broker_owner_attach(
        Broker *broker, const PeerIdentity *peer, uint64_t connection, const char *command, Owner **ret)
{
        OwnerKey key = owner_key(peer, connection);
        OwnerEntry *entry;

        assert(peer->pid != 0 || connection != 0);
        entry = find_owner(broker, &key);
        if (!entry)
                entry = owner_new(broker, &key, peer->gid);
        if (!entry)
                return -ENOMEM;
        if (command && command[0] != '\0')
                set_command(&entry->owner, command);
        entry->owner.n_sessions++;
        entry->owner.alone_since = 0;
        *ret = &entry->owner;
        return 0;
}

bool broker_owner_detach(Broker *broker, Owner *owner, uint64_t now_usec)
{
        assert(owner->n_sessions > 0);
        owner->n_sessions--;
        if (owner->n_sessions > 0)
                return true;
        owner->alone_since = now_usec;
        return !broker_owner_collect(broker, owner);
}

bool broker_owner_collect(Broker *broker, Owner *owner)
{
        if (owner->n_sessions > 0 || !list_is_empty(&owner->pools))
                return false;
        broker_free_owner(broker, owner);
        return true;
}
