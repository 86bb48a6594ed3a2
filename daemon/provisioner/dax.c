/* SPDX-License-Identifier: BSD-3-Clause */
#include <daxctl/libdaxctl.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "log.h"
#include "provisioner/dax.h"
#include "provisioner/interrupt.h"
#include "provisioner/nd.h"
#include "provisioner/node.h"

/* A page that somebody has pinned cannot be moved, and the kernel tries for ever. */
#define OFFLINE_USEC       (4 * USEC_PER_SEC)
#define OFFLINE_BLOCK_USEC (USEC_PER_SEC / 4) /* more for each block */

/* Rules of udev may be at it at the same time. */
#define ONLINE_TRIES      20
#define ONLINE_PAUSE_NSEC 100000000

typedef struct Dax {
        struct daxctl_ctx *ctx;
        int lock_fd;
} Dax;

/* --------------------------------------------------------------------------------------------- operations */

__attribute__((format(printf, 6, 0))) static void on_log(struct daxctl_ctx *ctx, int priority,
        const char *file, int line, const char *function, const char *format, va_list ap)
{
        (void)ctx;
        (void)priority;
        (void)file;
        (void)line;
        nd_log("libdaxctl", function, format, ap);
}

static int dax_begin(int lock_dir, Dax *ret)
{
        _cleanup_close_ int fd = nd_lock(lock_dir);
        int r;

        if (fd < 0)
                return fd;
        r = daxctl_new(&ret->ctx);
        if (r < 0)
                return r;
        daxctl_set_log_fn(ret->ctx, on_log);
        ret->lock_fd = TAKE_FD(fd);
        return 0;
}

static void dax_end(Dax *dax)
{
        if (dax->ctx)
                daxctl_unref(dax->ctx);
        safe_close(dax->lock_fd);
        *dax = (Dax){.lock_fd = -EBADF};
}

static struct daxctl_dev *find_dev(const Dax *dax, const DaxDevice *device)
{
        struct daxctl_region *region;
        struct daxctl_dev *dev;

        daxctl_region_foreach (dax->ctx, region) {
                daxctl_dev_foreach (region, dev) {
                        /* Names are given anew: the place is what counts. */
                        if (strcmp(daxctl_dev_get_devname(dev), device->name) == 0 &&
                                daxctl_dev_get_resource(dev) == device->start)
                                return dev;
                }
        }
        return NULL;
}

/* An operation on one device. */
static int dax_begin_with(int lock_dir, const DaxDevice *device, Dax *ret, struct daxctl_dev **ret_dev)
{
        int r = dax_begin(lock_dir, ret);

        if (r < 0)
                return r;
        *ret_dev = find_dev(ret, device);
        return *ret_dev ? 0 : -ENODEV;
}

/* ----------------------------------------------------------------------------------------------- snapshot */

static unsigned count_or_zero(int n)
{
        return n < 0 ? 0 : (unsigned)n;
}

static void describe(struct daxctl_dev *dev, DaxDevice *ret)
{
        unsigned long long start = daxctl_dev_get_resource(dev);
        struct daxctl_memory *memory = NULL;

        *ret = (DaxDevice){
                .start = start == ULLONG_MAX ? 0 : start,
                .size = daxctl_dev_get_size(dev),
                .node = daxctl_dev_get_target_node(dev),
                .mode = daxctl_dev_is_enabled(dev) ? DAX_DEVICE : DAX_DISABLED,
        };
        (void)snprintf(ret->name, sizeof(ret->name), "%s", daxctl_dev_get_devname(dev));
        if (ret->mode == DAX_DEVICE)
                memory = daxctl_dev_get_memory(dev); /* NULL: it is not memory */
        if (!memory)
                return;
        ret->mode = DAX_MEMORY;
        ret->block_size = daxctl_memory_get_block_size(memory);
        ret->blocks = count_or_zero(daxctl_memory_num_sections(memory));
        ret->online = count_or_zero(daxctl_memory_is_online(memory));
        ret->movable = ret->online > 0 && daxctl_memory_is_movable(memory) == 1;
}

int dax_snapshot(int lock_dir, DaxSnapshot *ret)
{
        _cleanup_(dax_end) Dax dax = {.lock_fd = -EBADF};
        DaxSnapshot snapshot = {0};
        struct daxctl_region *region;
        struct daxctl_dev *dev;
        int r = dax_begin(lock_dir, &dax);

        if (r < 0)
                return r;
        daxctl_region_foreach (dax.ctx, region) {
                daxctl_dev_foreach (region, dev) {
                        if (daxctl_dev_get_size(dev) == 0) /* a seed */
                                continue;
                        DaxDevice *more = reallocarray(snapshot.devices, snapshot.n + 1, sizeof(*more));
                        if (!more) {
                                dax_snapshot_deinit(&snapshot);
                                return -ENOMEM;
                        }
                        snapshot.devices = more;
                        describe(dev, &more[snapshot.n++]);
                }
        }
        *ret = snapshot;
        return 0;
}

void dax_snapshot_deinit(DaxSnapshot *snapshot)
{
        free(snapshot->devices);
        *snapshot = (DaxSnapshot){0};
}

const char *dax_mode_to_string(DaxMode mode)
{
        static const char *const names[] = {
                [DAX_DISABLED] = "disabled",
                [DAX_DEVICE] = "devdax",
                [DAX_MEMORY] = "system-ram",
        };

        return names[mode];
}

const DaxDevice *dax_find(const DaxSnapshot *snapshot, const char *name)
{
        for (size_t i = 0; i < snapshot->n; i++)
                if (strcmp(snapshot->devices[i].name, name) == 0)
                        return &snapshot->devices[i];
        return NULL;
}

const DaxDevice *dax_find_start(const DaxSnapshot *snapshot, const char *start)
{
        uint64_t at;

        if (strncmp(start, "0x", 2) != 0 || parse_hex64(start + 2, &at) < 0)
                return NULL;
        for (size_t i = 0; i < snapshot->n; i++)
                if (snapshot->devices[i].start == at)
                        return &snapshot->devices[i];
        return NULL;
}

/* ------------------------------------------------------------------------------------------------- change */

static bool is_all_online(struct daxctl_memory *memory)
{
        int all = daxctl_memory_num_sections(memory);

        return all > 0 && daxctl_memory_is_online(memory) == all;
}

static int put_offline(struct daxctl_memory *memory)
{
        unsigned blocks = count_or_zero(daxctl_memory_num_sections(memory));
        int r = interrupt_after(OFFLINE_USEC + blocks * OFFLINE_BLOCK_USEC);

        if (r < 0)
                return r;
        r = daxctl_memory_offline(memory);
        interrupt_stop();
        if (r < 0)
                return log_errno(LOG_DEBUG, r, "put memory offline");
        return daxctl_memory_is_online(memory) == 0 ? 0 : -EBUSY;
}

/*
 * The kernel may put it online by itself (auto_online_blocks), in what zone it likes: while it is new, and nothing is on
 * it, it goes out and in again.
 */
static int put_online(struct daxctl_memory *memory, bool is_new)
{
        const struct timespec pause = {.tv_nsec = ONLINE_PAUSE_NSEC};
        int r = 0;

        for (int i = 0; i < ONLINE_TRIES; i++) {
                if (i > 0)
                        (void)nanosleep(&pause, NULL);
                r = daxctl_memory_online(memory);
                if (r < 0)
                        (void)log_errno(LOG_DEBUG, r, "put memory online");
                if (!is_all_online(memory))
                        continue;
                if (daxctl_memory_is_movable(memory) == 1)
                        return 0;
                if (!is_new)
                        return -EBUSY;
                r = put_offline(memory);
                if (r < 0) {
                        (void)daxctl_memory_online(memory);
                        return -EBUSY;
                }
        }
        return daxctl_memory_is_online(memory) > 0 ? -EBUSY : r < 0 ? r : -EIO;
}

static int enable(struct daxctl_dev *dev)
{
        int r;

        if (daxctl_dev_is_enabled(dev)) {
                r = daxctl_dev_disable(dev);
                if (r < 0)
                        return log_errno(LOG_DEBUG, r, "disable");
        }
        r = daxctl_dev_enable_ram(dev);
        if (r >= 0)
                return 0;
        (void)log_errno(LOG_DEBUG, r, "enable as memory");
        (void)daxctl_dev_enable_devdax(dev);
        return r;
}

/* Under the lock: another store may be about to get the same node. */
static int check_node(const DaxDevice *device)
{
        uint64_t inside = 0, outside = 0;
        int r = node_get_memory(device->node, device->start, device->size, &inside, &outside);

        return r < 0 ? r : outside > 0 ? -EEXIST : 0;
}

int dax_make_memory(int lock_dir, const DaxDevice *device)
{
        _cleanup_(dax_end) Dax dax = {.lock_fd = -EBADF};
        struct daxctl_memory *memory;
        struct daxctl_dev *dev = NULL;
        int r;

        r = dax_begin_with(lock_dir, device, &dax, &dev);
        if (r < 0)
                return r;
        r = check_node(device);
        if (r < 0)
                return r;
        memory = daxctl_dev_is_enabled(dev) ? daxctl_dev_get_memory(dev) : NULL;
        if (!memory) {
                r = enable(dev);
                if (r < 0)
                        return r;
                memory = daxctl_dev_get_memory(dev);
        }
        return memory ? put_online(memory, /* is_new= */ true) : -ENODEV;
}

static int take_out(struct daxctl_memory *memory)
{
        int r = put_offline(memory);

        if (r >= 0)
                return 0;
        r = put_online(memory, /* is_new= */ false);
        if (r < 0)
                (void)log_errno(
                        LOG_WARNING, r, "Cannot put memory back that could not be taken out, ignoring");
        return -EBUSY;
}

int dax_make_device(int lock_dir, const DaxDevice *device)
{
        _cleanup_(dax_end) Dax dax = {.lock_fd = -EBADF};
        struct daxctl_memory *memory;
        struct daxctl_dev *dev = NULL;
        int r;

        r = dax_begin_with(lock_dir, device, &dax, &dev);
        if (r < 0)
                return r;
        if (daxctl_dev_is_enabled(dev)) {
                memory = daxctl_dev_get_memory(dev);
                if (!memory)
                        return 0;
                r = take_out(memory);
                if (r >= 0)
                        r = daxctl_dev_disable(dev);
                if (r < 0)
                        return r;
        }
        return daxctl_dev_enable_devdax(dev);
}
