/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * From a devdax namespace, or a dax device that has none, to memory of a NUMA node that was tried out; and back.
 *
 * The node has to be the device's alone: pools are bound to it, and what is promised is reckoned from what it has free.
 */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "provisioner/dax.h"
#include "provisioner/kmem-probe.h"
#include "provisioner/node.h"
#include "provisioner/provision-internal.h"
#include "provisioner/tmpfs-pool.h"

/* Pools that are gone can leave so much behind, a page each while a client has its file open. */
#define LEFT_BEHIND (UINT64_C(4) << 20)

/* ------------------------------------------------------------------------------------------------ device */

/* Of the store: its namespace, NULL if the device has none, and the device. */
typedef struct Device {
        const NdNamespace *ns;
        DaxDevice dax;
        bool exists;
} Device;

static const NdNamespace *namespace_of(const Provision *p, const DaxDevice *device)
{
        for (size_t i = 0; i < p->snapshot.n_namespaces; i++)
                if (strcmp(p->snapshot.namespaces[i].dax, device->name) == 0)
                        return &p->snapshot.namespaces[i];
        return NULL;
}

/* What Adopt= names by its address, if it is not in a namespace. Others are found as namespaces. */
static int find_bare(Provision *p, Device *ret)
{
        _cleanup_(dax_snapshot_deinit) DaxSnapshot snapshot = {0};
        const DaxDevice *device;
        int r = provision_begin(p);

        if (r < 0)
                return r;
        r = dax_snapshot(p->context->lock_dir, &snapshot);
        if (r < 0)
                return r;
        device = dax_find_start(&snapshot, p->config->adopt);
        if (!device || namespace_of(p, device))
                return 0;
        *ret = (Device){.dax = *device, .exists = true};
        return 0;
}

static int look_again(Provision *p, Device *device)
{
        _cleanup_(dax_snapshot_deinit) DaxSnapshot snapshot = {0};
        const char *name = device->ns ? device->ns->dax : device->dax.name;
        const DaxDevice *found;
        int r = dax_snapshot(p->context->lock_dir, &snapshot);

        if (r < 0)
                return r;
        found = dax_find(&snapshot, name);
        if (!found)
                return -ENODEV;
        device->dax = *found;
        device->exists = true;
        return 0;
}

static int get_device(Provision *p, Device *ret)
{
        char size[FORMAT_SIZE_MAX];
        int r;

        provision_at(p, JOB_STEP_NAMESPACE, "namespace");
        r = find_bare(p, ret);
        if (r < 0)
                return provision_fail(p, r, "cannot list dax devices");
        if (ret->exists) {
                provision_say(p, JOB_STEP_EXISTS, "%s at 0x%" PRIx64 ", adopted, %s", ret->dax.name,
                        ret->dax.start, format_size(size, ret->dax.size));
                return 0;
        }
        r = provision_get_namespace(p, &ret->ns);
        if (r < 0 || !ret->ns)
                return r;
        r = look_again(p, ret);
        return r < 0 ? provision_fail(p, r, "there is no dax device of %s", ret->ns->name) : 0;
}

/* ------------------------------------------------------------------------------------------------ memory */

static bool is_memory(const DaxDevice *device)
{
        return device->mode == DAX_MEMORY && device->blocks > 0 && device->online == device->blocks &&
               device->movable;
}

/* Whether it can be the memory of a node, of its own. */
static int check_node(Provision *p, const DaxDevice *device, uint64_t *ret_usable)
{
        char is[FORMAT_SIZE_MAX], block[FORMAT_SIZE_MAX];
        uint64_t block_size = 0, usable, inside = 0, outside = 0;
        int r = node_get_block_size(&block_size);

        if (r == -EOPNOTSUPP)
                return provision_refuse(p, EOPNOTSUPP, "this kernel cannot add memory while it runs");
        if (r < 0)
                return provision_fail(p, r, "cannot ask for the size of blocks of memory");
        if (device->node < 0)
                return provision_refuse(p, EOPNOTSUPP,
                        "%s belongs to no NUMA node: the firmware does not say where it is", device->name);
        usable = node_usable(device->start, device->size, block_size);
        if (usable == 0)
                return provision_refuse(p, ENOSPC,
                        "%s has %s at 0x%" PRIx64
                        ", in which there is no whole block of memory (%s each): a "
                        "larger one is needed",
                        device->name, format_size(is, device->size), device->start,
                        format_size(block, block_size));
        r = node_get_memory(device->node, device->start, device->size, &inside, &outside);
        if (r < 0)
                return provision_fail(p, r, "cannot find out what memory node %d has", device->node);
        if (outside > 0)
                return provision_refuse(p, EEXIST,
                        "%s would be part of node %d, which has %s of other memory, and pools would not be "
                        "on the device: it needs a NUMA node of its own, which is up to the firmware; one "
                        "store for each node",
                        device->name, device->node, format_size(is, outside));
        *ret_usable = usable;
        return 0;
}

static int make_memory(Provision *p, Device *device)
{
        char size[FORMAT_SIZE_MAX];
        DaxDevice *dax = &device->dax;
        uint64_t usable = 0;
        int r;

        provision_at(p, JOB_STEP_MEMORY, "memory");
        if (!device->exists) {
                provision_say(p, JOB_STEP_PLANNED, "make it memory of its NUMA node, movable");
                return 0;
        }
        r = check_node(p, dax, &usable);
        if (r < 0)
                return r;
        (void)format_size(size, usable);
        if (is_memory(dax)) {
                provision_say(p, JOB_STEP_EXISTS, "%s is memory of node %d, %s, movable", dax->name,
                        dax->node, size);
                return 0;
        }
        if (provision_is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "make %s memory of node %d, %s, movable", dax->name,
                        dax->node, size);
                return 0;
        }
        r = dax_make_memory(p->context->lock_dir, dax);
        if (r == -EEXIST) { /* somebody else was quicker */
                r = check_node(p, dax, &usable);
                return r < 0 ? r : provision_fail(p, -EAGAIN, "node %d has changed", dax->node);
        }
        if (r == -EBUSY)
                return provision_refuse(p, EBUSY,
                        "%s is memory of node %d, but the kernel has put it online as unmovable, and it "
                        "cannot be taken out again: set /sys/devices/system/memory/auto_online_blocks to "
                        "offline or online_movable and restart the machine",
                        dax->name, dax->node);
        if (r >= 0)
                r = look_again(p, device);
        if (r >= 0 && !is_memory(dax))
                r = -EIO;
        if (r < 0)
                return provision_fail(p, r,
                        "cannot make %s memory of node %d (is the kernel's module kmem there?)", dax->name,
                        dax->node);
        provision_say(
                p, JOB_STEP_DONE, "made %s memory of node %d, %s, movable", dax->name, dax->node, size);
        return 0;
}

/* -------------------------------------------------------------------------------------------------- test */

static int judge(Provision *p, const KmemFacts *facts)
{
        if (!(facts->flags & KMEM_PLACED))
                return provision_refuse(p, EOPNOTSUPP,
                        "memory does not come from node %d, though tmpfs was told so (mpol=)", facts->node);
        if (!(facts->flags & KMEM_LIMIT))
                return provision_refuse(
                        p, EOPNOTSUPP, "the kernel does not hold a pool to its limit (size of a tmpfs)");
        return 0;
}

static void say_facts(Provision *p, JobStepState state, const KmemFacts *facts)
{
        char capacity[FORMAT_SIZE_MAX];

        provision_say(p, state, "%s for pools, on node %d, pages of %s, limits hold",
                format_size(capacity, facts->capacity), facts->node,
                facts->page_size >= JOB_UNIT ? "2M" : "4K");
}

static int try_out(Provision *p, int dir_fd, const DaxDevice *device, KmemFacts *facts)
{
        TmpfsOptions options = {
                .huge = tmpfs_pools_huge(p->config->huge), .noswap = true, .node = device->node};
        char is[FORMAT_SIZE_MAX], needed[FORMAT_SIZE_MAX];
        NodeFigures figures;
        int r = node_get_figures(device->node, &figures);

        if (r < 0)
                return provision_fail(p, r, "cannot ask what node %d has", device->node);
        if (node_available(&figures) < KMEM_PROBE_BYTES)
                return provision_refuse(p, ENOSPC,
                        "node %d has %s free, and trying it out takes %s: others use its memory (numastat "
                        "-m)",
                        device->node, format_size(is, node_available(&figures)),
                        format_size(needed, KMEM_PROBE_BYTES));
        *facts = (KmemFacts){
                .start = device->start,
                .size = device->size,
                .capacity = figures.total > figures.high ? figures.total - figures.high : 0,
                .node = device->node,
        };
        facts->capacity -= facts->capacity % JOB_UNIT;
        r = tmpfs_probe(&options);
        if (r >= 0)
                r = kmem_probe(dir_fd, &options, facts);
        return r < 0 ? provision_fail(p, r, "the self-test failed") : judge(p, facts);
}

static int test(Provision *p, const Device *device)
{
        _cleanup_close_ int dir_fd = kmem_open_dir(p->context->mnt_fd, p->config->name);
        KmemFacts facts = {0};
        int r;

        provision_at(p, JOB_STEP_TEST, "self-test");
        if (dir_fd >= 0 && device->exists && kmem_get_facts(dir_fd, &facts) >= 0 &&
                facts.start == device->dax.start && facts.size == device->dax.size &&
                facts.node == device->dax.node) {
                say_facts(p, JOB_STEP_EXISTS, &facts);
                return 0;
        }
        if (provision_is_plan(p)) {
                provision_say(
                        p, JOB_STEP_PLANNED, "try out that memory comes from there, and that limits hold");
                return 0;
        }
        if (dir_fd < 0)
                dir_fd = kmem_make_dir(p->context->mnt_fd, p->config->name);
        if (dir_fd < 0)
                return provision_fail(p, dir_fd, "cannot make the directory of its pools");
        r = try_out(p, dir_fd, &device->dax, &facts);
        if (r < 0)
                return r;
        r = kmem_set_facts(dir_fd, &facts);
        if (r < 0)
                return provision_fail(p, r, "cannot note down what is known of it");
        say_facts(p, JOB_STEP_DONE, &facts);
        return 0;
}

int kmem_provision(Provision *p)
{
        Device device = {0};
        int r;

        r = get_device(p, &device);
        if (r >= 0)
                r = make_memory(p, &device);
        return r < 0 ? r : test(p, &device);
}

/* -------------------------------------------------------------------------------------------------- back */

static int find_device(Provision *p, Device *ret)
{
        int r = find_bare(p, ret);

        if (r < 0 || ret->exists)
                return r;
        r = provision_find(p, &ret->ns);
        if (r < 0 || !ret->ns || !ret->ns->dax[0])
                return r;
        r = look_again(p, ret);
        return r == -ENODEV ? 0 : r;
}

static int take_out(Provision *p, const DaxDevice *device)
{
        char is[FORMAT_SIZE_MAX];
        NodeFigures figures;
        int r;

        provision_at(p, JOB_STEP_MEMORY, "taking the memory out");
        if (device->mode != DAX_MEMORY) {
                provision_say(p, JOB_STEP_EXISTS, "%s is no memory of the system", device->name);
                return 0;
        }
        /* The kernel would move it to other memory, of which there may not be enough. */
        if (node_get_figures(device->node, &figures) >= 0 && figures.shared > LEFT_BEHIND)
                return provision_refuse(p, EBUSY,
                        "there are still %s of shared memory on node %d: a process whose pool is not known "
                        "any more still has it; once it has ended, try again",
                        format_size(is, figures.shared), device->node);
        r = dax_make_device(p->context->lock_dir, device);
        if (r == -EBUSY)
                return provision_refuse(p, EBUSY,
                        "the memory of node %d cannot be taken out, as somebody holds on to some of it: a "
                        "process whose pool was taken away, or a driver; once it has ended, try again",
                        device->node);
        if (r < 0)
                return provision_fail(p, r, "cannot make %s a dax device again", device->name);
        provision_say(p, JOB_STEP_DONE, "%s is a dax device again, its memory taken out of node %d",
                device->name, device->node);
        return 0;
}

int kmem_deprovision(Provision *p)
{
        Device device = {0};
        int r;

        provision_at(p, JOB_STEP_NAMESPACE, "namespace");
        r = find_device(p, &device);
        if (r < 0)
                return provision_fail(p, r, "cannot find the dax device");
        if (device.exists) {
                r = take_out(p, &device.dax);
                if (r < 0)
                        return r;
        }
        provision_at(p, JOB_STEP_NAMESPACE, "namespace");
        r = kmem_remove_dir(p->context->mnt_fd, p->config->name);
        if (r < 0)
                return provision_fail(p, r, "cannot remove the directory of its pools");
        if (device.ns)
                return provision_give_back(p, device.ns, "devdax");
        if (device.exists)
                provision_say(p, JOB_STEP_EXISTS, "%s was adopted: it stays, devdax", device.dax.name);
        else
                provision_say(p, JOB_STEP_EXISTS, "there is no namespace");
        return 0;
}
