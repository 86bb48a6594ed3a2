/* SPDX-License-Identifier: BSD-3-Clause */
/* What the daemon serves, and to whom. */

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/check.h"
#include "ctl/store-row.h"

#define PAGE_2M (UINT32_C(2) << 20)

static void check_provisioner(Check *c)
{
        const Pmbroker__V1__Status *status = c->overview->status;

        if (!status->provisioner)
                findings_add(&c->findings, FINDING_FAILURE, "provisioner",
                        "see `systemctl status pmbroker-provisioner` and `journalctl -u "
                        "pmbroker-provisioner`",
                        "it is away: no pool can be made or resized");
        else if (status->keeps_pools)
                findings_add(&c->findings, FINDING_OK, "provisioner", NULL,
                        "connected; a restart of it keeps all pools");
        else
                findings_add(&c->findings, FINDING_WARNING, "provisioner",
                        "start pmbrokerd by its units: systemd keeps the mounts from one start to the next",
                        "connected; a restart of it ends the pools of stores with KEEPS \"no\"");
        if (strcmp(status->version, PMBROKER_VERSION) != 0)
                findings_add(&c->findings, FINDING_NOTE, "version",
                        "after an upgrade: `systemctl restart pmbrokerd pmbroker-provisioner`; pools stay",
                        "pmbrokerd is version %s, pmbrokerctl %s", status->version, PMBROKER_VERSION);
        if (status->releasing > 0)
                findings_add(&c->findings, FINDING_NOTE, "releasing",
                        "`pmbrokerctl list` shows whose they are; they stay charged until their owners end",
                        "of %" PRIu32 " pools somebody still holds the memory", status->releasing);
}

/* ------------------------------------------------------------------------------------------------ stores */

static void check_fsdax(Check *c, const Pmbroker__V1__StoreRow *s)
{
        if (s->dax == PMBROKER__V1__TESTED__DOES_NOT_HOLD)
                findings_add(&c->findings, FINDING_WARNING, "dax",
                        "is the namespace of mode fsdax, and the file system mounted by pmbroker? See "
                        "`pmbrokerctl "
                        "provision`",
                        "store %s: what is mapped is the page cache, not the device's memory", s->name);
        else if (s->dax == PMBROKER__V1__TESTED__HOLDS)
                findings_add(
                        &c->findings, FINDING_OK, "dax", NULL, "store %s maps the device's memory", s->name);
        if (s->quota == PMBROKER__V1__TESTED__DOES_NOT_HOLD)
                findings_add(&c->findings, FINDING_FAILURE, "quota",
                        "`pmbrokerctl provision` says what is missing",
                        "store %s: the kernel does not hold its limits", s->name);
        if (s->seal == PMBROKER__V1__TESTED__DOES_NOT_HOLD)
                findings_add(&c->findings, FINDING_WARNING, "seal",
                        "use Filesystem=ext4 unless all tenants are trusted",
                        "store %s: clients can do more with their files than map them", s->name);
}

static void check_store(Check *c, const Pmbroker__V1__StoreRow *s)
{
        char capacity[FORMAT_SIZE_MAX], page[FORMAT_SIZE_MAX];

        if (!s->available) {
                findings_add(&c->findings, FINDING_FAILURE, "store",
                        "`journalctl -u pmbroker-provisioner` says more; of fsdax stores, `pmbrokerctl "
                        "provision`",
                        "%s is not available: %s", s->name, *s->reason ? s->reason : "no reason is known");
                return;
        }
        findings_add(&c->findings, FINDING_OK, "store", NULL, "%s: %s, %s, pages of %s", s->name,
                store_kind_to_string(s->kind), format_size(capacity, s->capacity),
                format_size(page, s->page_size));
        if (s->drained)
                findings_add(&c->findings, FINDING_NOTE, "drained",
                        "`pmbrokerctl drain --undo STORE` ends that",
                        "%s takes no new pools, as an administrator said", s->name);
        if (*s->reason)
                findings_add(&c->findings, FINDING_WARNING, "store",
                        "`journalctl -u pmbroker-provisioner` says more", "%s: %s", s->name, s->reason);
        if (strcmp(s->enforced_by, "audit") == 0)
                findings_add(&c->findings, FINDING_WARNING, "enforcement",
                        "Type=dir is for development: use tmpfs, fsdax or kmem where tenants are not "
                        "trusted",
                        "%s: limits are looked at once a second, not held by the kernel", s->name);
        else if (s->page_size < PAGE_2M)
                findings_add(&c->findings, FINDING_WARNING, "pages",
                        s->kind == PMBROKER__V1__STORE_KIND__KIND_TMPFS
                                ? "HugePages=within-size or always, in the store's section"
                                : "the namespace has to be aligned to 2M: see `pmbrokerctl provision`",
                        "%s: its memory is mapped in pages of %s, not of 2M", s->name, page);
        if (s->capacity > 0 && s->charged > s->capacity)
                findings_add(&c->findings, FINDING_WARNING, "capacity",
                        "it has become smaller: drain it, or give it more",
                        "%s: pools have more of it than it has", s->name);
        check_fsdax(c, s);
}

static void check_stores(Check *c)
{
        const Pmbroker__V1__StoreList *stores = c->overview->stores;

        for (size_t i = 0; i < stores->n_rows; i++)
                check_store(c, stores->rows[i]);
        if (stores->n_rows == 0 && c->overview->status->provisioner)
                findings_add(&c->findings, FINDING_FAILURE, "store", "name one in pmbrokerd.conf(5)",
                        "there is none, so that nobody gets a pool");
}

/* ----------------------------------------------------------------------------------------------- tenants */

static void check_tenants(Check *c)
{
        const Overview *o = c->overview;
        uint64_t promised = 0, capacity = 0;
        char promised_text[FORMAT_SIZE_MAX], capacity_text[FORMAT_SIZE_MAX];
        size_t over = 0;

        for (size_t i = 0; i < o->stores->n_rows; i++)
                if (o->stores->rows[i]->available)
                        capacity += o->stores->rows[i]->capacity;
        for (size_t i = 0; i < o->n_tenants; i++) {
                const Pmbroker__V1__TenantRow *t = o->tenants[i];
                uint64_t limit = t->bytes_limit < capacity ? t->bytes_limit : capacity;

                if (__builtin_add_overflow(promised, limit, &promised))
                        promised = UINT64_MAX;
                over += t->bytes > t->bytes_limit;
        }
        (void)format_size(promised_text, promised);
        (void)format_size(capacity_text, capacity);
        if (o->n_tenants == 0)
                findings_add(&c->findings, FINDING_FAILURE, "tenants",
                        "DefaultTenant=yes, or a [Tenant] section",
                        "there is none, so that nobody gets a pool");
        else if (promised > capacity && capacity > 0)
                findings_add(&c->findings, FINDING_NOTE, "tenants",
                        "that is allowed; whoever comes last may find the stores full",
                        "%zu tenants may have %s together, of stores of %s", o->n_tenants, promised_text,
                        capacity_text);
        else
                findings_add(&c->findings, FINDING_OK, "tenants", NULL,
                        "%zu, who may have %s of %s together", o->n_tenants, promised_text, capacity_text);
        if (over > 0)
                findings_add(&c->findings, FINDING_NOTE, "tenants",
                        "`pmbrokerctl tenants` shows them; what they have stays",
                        "%zu have more than they may have by now", over);
}

void check_daemon(Check *c)
{
        check_provisioner(c);
        check_stores(c);
        check_tenants(c);
}
