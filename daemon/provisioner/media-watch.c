/* SPDX-License-Identifier: BSD-3-Clause */

#include "provisioner/media-watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "base/parse.h"
#include "log.h"
#include "provisioner/media.h"
#include "provisioner/verbs.h"

#define PERIOD_USEC (5 * USEC_PER_SEC)

/* The list of one store's device. */
typedef struct Slot {
        MediaWatch *watch;
        uint32_t index;
        dev_t dev;
        int fd; /* -EBADF: there is none */
        sd_event_source *source;
        uint64_t bytes; /* bad, as told last */
} Slot;

struct MediaWatch {
        sd_event *event;
        sd_event_source *timer;
        TaskRunner *runner;
        StoreEntry *const *stores;
        MediaFoundFn found;
        void *userdata;
        Slot slots[JOB_STORES_MAX];
};

static void examine_pools(MediaWatch *watch, StoreEntry *store, const Media *media)
{
        for (size_t i = 0; i < store->pools.n; i++) {
                PoolFile *pool = store->pools.pools[i];

                /* One that has something to do is looked at the next time. */
                if (!pool_is_served(pool) || pool->running || pool->stuck)
                        continue;
                (void)task_begin(watch->runner, verb_examine, pool, NULL, &(JobRequest){.n = media->n},
                        media->ranges, media->n * sizeof(JobRange));
        }
}

static void look(Slot *slot)
{
        MediaWatch *watch = slot->watch;
        StoreEntry *store = watch->stores[slot->index];
        Media media;
        int r;

        r = media_read(slot->fd, &media);
        if (r < 0) {
                log_debug("Store %s: the list of bad blocks cannot be read: %s, ignoring it",
                        store->config.name, strerror(-r));
                return;
        }
        if (media.bytes == 0 && slot->bytes == 0)
                return;
        if (media.bytes > slot->bytes)
                log_error("Store %s: %llu bytes of its device cannot be read", store->config.name,
                        (unsigned long long)media.bytes);
        slot->bytes = media.bytes;
        watch->found(watch->userdata, store, media.bytes);
        examine_pools(watch, store, &media);
}

static void slot_close(Slot *slot)
{
        slot->source = sd_event_source_disable_unref(slot->source);
        slot->fd = safe_close(slot->fd);
        slot->bytes = 0;
}

static int on_change(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void)source;
        (void)fd;
        (void)revents;
        look(userdata); /* which also is how the kernel knows that we know */
        return 0;
}

/* Stores come and go, and are made anew on other devices. */
static void slot_follow(Slot *slot)
{
        const StoreEntry *store = slot->watch->stores[slot->index];
        struct stat st;

        if (!store || !store->backend->on_media || !store->available || fstat(store->dir_fd, &st) < 0) {
                slot_close(slot);
                return;
        }
        if (slot->fd >= 0 && slot->dev == st.st_dev)
                return;
        slot_close(slot);
        slot->fd = media_open(st.st_dev);
        slot->dev = st.st_dev;
        if (slot->fd < 0)
                return; /* a device without such a list */
        if (sd_event_add_io(slot->watch->event, &slot->source, slot->fd, EPOLLPRI, on_change, slot) < 0)
                slot->source = NULL; /* then by the clock alone */
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
        MediaWatch *watch = userdata;

        for (uint32_t i = 0; i < JOB_STORES_MAX; i++) {
                Slot *slot = &watch->slots[i];

                slot_follow(slot);
                if (slot->fd >= 0)
                        look(slot);
        }
        (void)sd_event_source_set_time(source, usec + PERIOD_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int media_watch_new(sd_event *event, TaskRunner *runner, StoreEntry *const *stores, MediaFoundFn found,
        void *userdata, MediaWatch **ret)
{
        _cleanup_(cleanup_media_watch_free) MediaWatch *watch = calloc(1, sizeof(*watch));
        int r;

        if (!watch)
                return -ENOMEM;
        watch->event = sd_event_ref(event);
        watch->runner = runner;
        watch->stores = stores;
        watch->found = found;
        watch->userdata = userdata;
        for (uint32_t i = 0; i < JOB_STORES_MAX; i++)
                watch->slots[i] = (Slot){.watch = watch, .index = i, .fd = -EBADF};
        r = sd_event_add_time_relative(
                event, &watch->timer, CLOCK_MONOTONIC, PERIOD_USEC, USEC_PER_SEC, on_tick, watch);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(watch);
        return 0;
}

MediaWatch *media_watch_free(MediaWatch *watch)
{
        if (!watch)
                return NULL;
        for (uint32_t i = 0; i < JOB_STORES_MAX; i++)
                slot_close(&watch->slots[i]);
        (void)sd_event_source_disable_unref(watch->timer);
        (void)sd_event_unref(watch->event);
        free(watch);
        return NULL;
}
