/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "provisioner/extents.h"
#include "provisioner/fsdax-change.h"
#include "provisioner/fsdax-pool.h"
#include "provisioner/interrupt.h"
#include "provisioner/quota.h"
#include "provisioner/scrub.h"
#include "provisioner/seal.h"

#define ATTEMPTS 3

/* How long pinned pages are waited for; less than an order may take, so that the worker is not given up for lost. */
#define PINNED_USEC (USEC_PER_SEC * 3 / 2)

/* 0 would be no limit at all. On ext4 with clusters of 2 MiB it is nothing, else one block. */
#define NEARLY_NOTHING 4096

/* A file under change: what is done with each. */
typedef struct Change {
        int fd; /* the order's: O_RDONLY */
        uint32_t project;
        bool seals; /* XFS has no seal */
        bool scrubs;
        void *guard;
} Change;

static void change_deinit(Change *change)
{
        change->guard = fsdax_guard_unmap(change->guard);
}

static int change_init(Change *change, int fd, const WorkOrder *order)
{
        int r;

        *change = (Change){.fd = fd, .seals = !quota_is_xfs(fd), .scrubs = (order->flags & WORK_SCRUB) != 0};
        r = quota_get_project(fd, &change->project);
        if (r < 0)
                return r;
        return change->project == 0 ? -EBADF : fsdax_guard_map(fd, &change->guard);
}

#define _cleanup_change_ _cleanup_(change_deinit)

static int change_seal(const Change *change, bool sealed)
{
        return change->seals ? seal_set(change->fd, sealed) : 0;
}

/* Returns an fd for writing, which cannot be had of a sealed file. */
static int change_unseal(const Change *change)
{
        int r = change_seal(change, false);

        return r < 0 ? r : fsdax_reopen(change->fd, O_RDWR);
}

/* ------------------------------------------------------------------------------------------------ resize */

static int punch(int fd, const UnitSet *units)
{
        for (size_t i = 0; i < units->n; i++)
                if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            (off_t)(units->ranges[i].first * JOB_UNIT),
                            (off_t)(units->ranges[i].count * JOB_UNIT)) < 0)
                        return -errno;
        return 0;
}

static int allocate(int fd, const UnitSet *units)
{
        for (size_t i = 0; i < units->n; i++)
                if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)(units->ranges[i].first * JOB_UNIT),
                            (off_t)(units->ranges[i].count * JOB_UNIT)) < 0)
                        return -errno;
        return 0;
}

static int set_length(int fd, uint64_t length, const UnitSet *extra)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        bool beyond = extra->n > 0 &&
                      (extra->ranges[extra->n - 1].first + (uint64_t)extra->ranges[extra->n - 1].count) *
                                      JOB_UNIT >
                              length;
        if ((uint64_t)st.st_size != length && ftruncate(fd, (off_t)length) < 0)
                return -errno;
        /* Units beyond the end are out of a punch's reach, but not of a truncate to the same length. */
        return beyond && ftruncate(fd, (off_t)length) < 0 ? -errno : 0;
}

/* Sealed, with the file open for writing all the same: what the client writes meanwhile is its own. */
static int scrub(const Change *change, int fd, const UnitSet *units)
{
        _cleanup_unitset_ UnitSet backed = {}, written = {}, dirty = {};
        struct stat st;
        int r;

        r = change_seal(change, true);
        if (r < 0)
                return r;
        r = extents_read(fd, &backed, &written);
        if (r < 0)
                return r;
        r = unitset_intersect(units ?: &backed, &written, &dirty);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        r = scrub_units(fd, &dirty, (uint64_t)st.st_size);
        return r < 0 ? r : change_seal(change, false);
}

/* The client's moment, if it wants one. */
static int act(const Change *change, const UnitSet *missing, const UnitSet *extra, uint64_t length)
{
        _cleanup_close_ int fd = change_unseal(change);
        int r;

        if (fd < 0)
                return fd;
        if (change->scrubs && extra->n > 0) {
                r = scrub(change, fd, extra);
                if (r < 0)
                        return r;
        }
        r = interrupt_after(PINNED_USEC);
        if (r >= 0)
                r = set_length(fd, length, extra);
        if (r >= 0)
                r = punch(fd, extra);
        interrupt_stop();
        return r < 0 ? r : allocate(fd, missing);
}

static int change_once(const Change *change, const UnitSet *want, uint64_t length)
{
        _cleanup_unitset_ UnitSet now = {}, missing = {}, extra = {};
        FsdaxFigures figures;
        int r, q;

        r = fsdax_figures(change->fd, change->project, &now, &figures);
        if (r >= 0)
                r = unitset_subtract(want, &now, &missing);
        if (r >= 0)
                r = unitset_subtract(&now, want, &extra);
        if (r < 0)
                return r;
        r = quota_set_limit(change->fd, change->project,
                figures.used + unitset_count(&missing) * JOB_UNIT +
                        extents_allowance(length > figures.length ? length : figures.length));
        if (r >= 0)
                r = act(change, &missing, &extra, length);
        /* Twice: what of the client's was waiting for the lock is done when the second one has it. Not what has passed
         * the seal and not come to the lock: but then the limit leaves it nothing to take. */
        q = fsdax_settle(change->fd, change->project, /* first= */ false, &figures);
        if (change_seal(change, true) < 0 && q >= 0)
                q = -EIO;
        if (q >= 0)
                q = fsdax_settle(change->fd, change->project, /* first= */ false, &figures);
        if (q >= 0)
                q = change_seal(change, true);
        return r < 0 ? r : q;
}

/* -EUCLEAN: the client was there each time. */
static int reach(const Change *change, const UnitSet *want, uint64_t length)
{
        for (int i = 0; i < ATTEMPTS; i++) {
                _cleanup_unitset_ UnitSet now = {};
                FsdaxFigures figures;
                int r = change_once(change, want, length);
                /* There was room for all, had nobody else taken of it. */
                if (r < 0 && r != -EDQUOT)
                        return r;
                r = fsdax_figures(change->fd, change->project, &now, &figures);
                if (r < 0)
                        return r;
                if (unitset_equal(&now, want) && figures.length == length)
                        return 0;
        }
        return -EUCLEAN;
}

static int plan(const WorkOrder *order, const UnitSet *now, uint64_t length, UnitSet *ret_want)
{
        _cleanup_unitset_ UnitSet dropped = {};
        int r;

        if (order->n == 0) {
                r = unitset_fill(now, order->bytes / JOB_UNIT, length / JOB_UNIT, ret_want);
                return r == -ERANGE ? -EBUSY : r;
        }
        for (uint32_t i = 0; i < order->n; i++) {
                r = unitset_append(&dropped, order->ranges[i].first, order->ranges[i].count);
                if (r < 0)
                        return r;
        }
        r = unitset_subtract(now, &dropped, ret_want);
        if (r < 0)
                return r;
        /* Also when they are gone already: then somebody asks for the second time. */
        return unitset_count(ret_want) * JOB_UNIT == order->bytes ? 0 : -EBUSY;
}

int fsdax_resize(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        _cleanup_unitset_ UnitSet now = {}, want = {};
        _cleanup_change_ Change change = {};
        FsdaxFigures figures;
        int r;

        r = change_init(&change, fds[WORK_FD_FILE], order);
        if (r < 0)
                return r;
        r = fsdax_figures(change.fd, change.project, &now, &figures);
        if (r < 0)
                return r;
        result->bytes = figures.size;
        result->length = figures.length;
        uint64_t length = order->length > figures.length ? order->length : figures.length;
        r = plan(order, &now, length, &want);
        if (r < 0 || (unitset_equal(&now, &want) && length == figures.length))
                return r;
        r = reach(&change, &want, length);
        if (r < 0 && r != -EUCLEAN) {
                int q = reach(&change, &now, figures.length);
                if (q < 0)
                        r = q;
        }
        if (fsdax_figures(change.fd, change.project, NULL, &figures) >= 0) {
                result->bytes = figures.size;
                result->length = figures.length;
        }
        switch (-r) {
        case EUCLEAN:
                result->flags |= WORK_RACED;
                return -EBUSY;
        case EINTR:
                return -EBUSY;
        case EDQUOT:
                return -ENOSPC;
        }
        return r;
}

/* ----------------------------------------------------------------------------------------------- release */

/* Nothing may be left when it is sealed again; a client that gets in between has nothing to fill it with. */
static int empty_once(const Change *change)
{
        _cleanup_close_ int fd = change_unseal(change);
        int r;

        if (fd < 0)
                return fd;
        if (change->scrubs) {
                r = scrub(change, fd, NULL);
                if (r < 0)
                        return r;
        }
        r = quota_set_limit(change->fd, change->project, NEARLY_NOTHING);
        if (r < 0)
                return r;
        r = interrupt_after(PINNED_USEC);
        if (r >= 0 && ftruncate(fd, 0) < 0)
                r = errno == EINTR ? -ETIMEDOUT : -errno;
        interrupt_stop();
        return r;
}

static int count_left(const Change *change, uint64_t *ret)
{
        Quota quota = {};
        int r;

        /* XFS counts what it has freed some time later. */
        for (int i = 0; i < (change->seals ? 1 : 20); i++) {
                if (i > 0)
                        (void)usleep(10000);
                r = quota_get(change->fd, change->project, &quota);
                if (r < 0)
                        return r;
                if (quota.used == 0)
                        break;
        }
        *ret = quota.used;
        return 0;
}

static int make_empty(const Change *change, uint64_t *ret_left)
{
        for (int i = 0; i < ATTEMPTS; i++) {
                struct stat st;
                int r = empty_once(change), q = change_seal(change, true);
                if (r < 0 || q < 0)
                        return r < 0 ? r : q;
                r = count_left(change, ret_left);
                if (r < 0)
                        return r;
                if (fstat(change->fd, &st) < 0)
                        return -errno;
                if (*ret_left == 0 && st.st_size == 0)
                        return 0;
        }
        return -ETIMEDOUT;
}

int fsdax_release(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        _cleanup_change_ Change change = {};
        char name[POOL_FILE_NAME_MAX];
        int fd = fds[WORK_FD_FILE], r;

        if (fd < 0)
                return 0;
        r = change_init(&change, fd, order);
        if (r < 0 && r != -EBADF) /* in no project: its create had not come that far */
                return r;
        if (r >= 0) {
                r = make_empty(&change, &result->left);
                if (r < 0)
                        return r;
        }
        /*
         * Unlinking takes the locks of the file and of the directory, in which all pools are: nobody may have the
         * file who could hold the one, and with it the other.
         */
        if (fsdax_is_held(fd)) {
                result->flags |= WORK_HELD;
                return 0;
        }
        r = change_seal(&change, false);
        if (r < 0)
                return r;
        if (unlinkat(fds[WORK_FD_STORE], pool_file_name(name, order->pool), 0) < 0 && errno != ENOENT) {
                r = -errno;
                (void)change_seal(&change, true);
                return r;
        }
        return 0;
}

/* ------------------------------------------------------------------------------------------------ reseal */

/* Longer than a worker of ours leaves a file unsealed. */
#define UNSEALED_USEC (PINNED_USEC + USEC_PER_SEC)
#define PAUSE_USEC    50000

/* A worker that was left behind seals the file when it is done: only what nobody seals was left open. */
static int wait_for_seal(int fd, bool *ret_sealed)
{
        for (uint64_t waited = 0;; waited += PAUSE_USEC) {
                (void)lseek(fd, 0, SEEK_HOLE); /* waits for the lock, and changes nothing */
                int r = seal_get(fd, ret_sealed);
                if (r < 0 || *ret_sealed || waited >= UNSEALED_USEC)
                        return r;
                (void)usleep(PAUSE_USEC);
        }
}

int fsdax_reseal(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        _cleanup_change_ Change change = {};
        FsdaxFigures figures;
        bool sealed = true;
        int r;

        r = change_init(&change, fds[WORK_FD_FILE], order);
        if (r < 0)
                return r;
        if (change.seals)
                r = wait_for_seal(change.fd, &sealed);
        if (r >= 0)
                r = change_seal(&change, true);
        /* One that is being released has its limit already. */
        if (r >= 0 && !(order->flags & WORK_RELEASING))
                r = fsdax_settle(change.fd, change.project, /* first= */ false, &figures);
        if (r >= 0)
                r = change_seal(&change, true);
        if (r >= 0)
                r = fsdax_figures(change.fd, change.project, NULL, &figures);
        if (r < 0)
                return r;
        if (!sealed)
                result->flags |= WORK_UNSEALED;
        result->bytes = figures.size;
        result->length = figures.length;
        return 0;
}
