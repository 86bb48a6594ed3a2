/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parent of provisioning children makes of a store; what the children do is tested where there are devices. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/prepare.h"

static char dir[32];
static int dir_fd;
static sd_event *event;
static Preparer *preparer;
static StoreEntry *store;
static StoreContext context;
static unsigned n_done;
static int last_error;

static const StoreConfig config = {.name = "pm", .kind = JOB_STORE_FSDAX, .region = "region0"};

static void on_progress(void *userdata, StoreEntry *of)
{
        (void)userdata;
        assert_ptr_equal(of, store);
        assert_false(store->available);
}

static void on_done(void *userdata, StoreEntry *of, PrepareTask task, int error)
{
        (void)userdata;
        assert_ptr_equal(of, store);
        assert_int_equal(task, PREPARE_DEPROVISION);
        last_error = error;
        n_done++;
}

static void wait_until_done(void)
{
        for (unsigned i = 0; i < 1000 && n_done == 0; i++)
                assert_true(sd_event_run(event, 10000) >= 0);
        assert_int_equal(n_done, 1);
}

static void add_pool(uint64_t id)
{
        PoolFile *pool;

        assert_int_equal(poolfile_new(store, id, NULL, 0, &pool), 0);
        assert_int_equal(pool_table_add(&store->pools, pool), 0);
}

/* A store that is served, as far as this process can tell. */
static int setup(void **state)
{
        (void)state;
        n_done = 0;
        log_set_level(LOG_EMERG);
        strcpy(dir, "/tmp/pmb-prepare-XXXXXX");
        assert_non_null(mkdtemp(dir));
        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(dir_fd >= 0);
        assert_int_equal(sd_event_new(&event), 0);
        assert_int_equal(preparer_new(event, dir_fd, dir_fd,
                                 &(PreparerHooks){.progress = on_progress, .done = on_done}, &preparer),
                0);
        assert_int_equal(store_entry_new(0, &config, &(StoreContext){.mnt_fd = dir_fd}, &store), 0);
        context = (StoreContext){.mnt_fd = dir_fd, .preparer = preparer};
        store->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
        store->available = true;
        return 0;
}

static int teardown(void **state)
{
        char path[64];

        (void)state;
        preparer = preparer_free(preparer);
        store = store_entry_free(store);
        event = sd_event_unref(event);
        (void)snprintf(path, sizeof(path), "%s/nd.lock", dir);
        (void)unlink(path);
        safe_close(dir_fd);
        return rmdir(dir);
}

/* It is on its way out, whatever the configuration says of it, until it is known what came of that. */
static void a_reload_does_not_bring_back_what_is_taken_down(void **state)
{
        (void)state;
        add_pool(1);
        assert_int_equal(preparer_start(preparer, store, PREPARE_DEPROVISION, NULL, NULL), 0);
        assert_false(store->available);
        assert_int_equal(store_entry_configure(store, &config, &context), 0);
        store_entry_reopen(store, &context);
        assert_false(store->available);
        assert_string_equal(store->reason, "deprovisioning");

        store_entry_forget(store->pools.pools[0]);
        wait_until_done();
        assert_int_equal(store->dir_fd, -EBADF);
        store->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3); /* it could not be unmounted */
        store_entry_reopen(store, &context);
        assert_true(store->available);
}

/* What cannot begin is told as what has failed is: there is somebody who serves the store again then. */
static void a_child_that_cannot_be_had_is_a_failure_like_others(void **state)
{
        struct rlimit before, none;
        sd_event_source *timer = NULL;

        (void)state;
        assert_int_equal(
                sd_event_add_time_relative(event, &timer, CLOCK_MONOTONIC, 60000000, 0, NULL, NULL), 0);
        assert_true(sd_event_run(event, 0) >= 0); /* it has all descriptors that it will need */
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        assert_int_equal(preparer_start(preparer, store, PREPARE_DEPROVISION, NULL, NULL), 0);
        wait_until_done();
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(last_error, -EMFILE);
        (void)sd_event_source_unref(timer);
}

/* What preparing cannot mend is not prepared: that would succeed, find the same, and begin again, for ever. */
static void what_cannot_be_looked_at_is_not_made_again(void **state)
{
        static const JobStoreKind kinds[] = {JOB_STORE_FSDAX, JOB_STORE_KMEM};

        (void)state;
        assert_int_equal(mknodat(dir_fd, "pm", S_IFREG | 0600, 0), 0); /* where it is mounted, if it is */
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                StoreConfig other = config;

                other.kind = kinds[i];
                store = store_entry_free(store);
                assert_int_equal(store_entry_new(0, &other, &context, &store), 0);
                assert_false(store->available);
                assert_string_equal(store->reason, "Not a directory");
        }
        assert_int_equal(unlinkat(dir_fd, "pm", 0), 0);
        store_entry_reopen(store, &context);
        assert_string_equal(store->reason, "preparing");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(
                        a_reload_does_not_bring_back_what_is_taken_down, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        a_child_that_cannot_be_had_is_a_failure_like_others, setup, teardown),
                cmocka_unit_test_setup_teardown(what_cannot_be_looked_at_is_not_made_again, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
