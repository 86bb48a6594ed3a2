/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/list.h"
#include "base/parse.h"
#include "log.h"
#include "provisioner/prepare.h"
#include "provisioner/provision.h"

#define ASKERS_MAX       8                     /* who wait for one task */
#define TASKS_MAX        (JOB_STORES_MAX + 16) /* at a time */
#define DRAIN_CHECK_USEC 50000
#define AGAIN_MIN_USEC   (2 * USEC_PER_SEC) /* then doubled */
#define AGAIN_MAX_USEC   (300 * USEC_PER_SEC)

typedef struct Asker {
        JobConnection *connection; /* NULL: gone, or never there */
        JobRequest request;
} Asker;

typedef struct Preparation {
        Preparer *preparer;
        StoreEntry *store; /* NULL: REGIONS, or the store has gone */
        PrepareTask task;
        StoreConfig config; /* what it was begun with */
        sd_event_source *report_source;
        sd_event_source *exit_source;
        sd_event_source *timer; /* until it begins, or begins again */
        int fd;
        int pidfd;
        bool ended; /* the child has said how it ended */
        int error;
        uint64_t again_usec;
        char logged[JOB_TEXT_MAX]; /* not said twice */
        uint64_t deadline;         /* of pools that have to go */
        bool apply_next;           /* SERVE: somebody asked for more meanwhile */
        Asker askers[ASKERS_MAX];
        unsigned n_askers;
        JobStep steps[JOB_STEPS_MAX];
        uint32_t n_steps;
        JobRegion *regions;
        size_t n_regions;
        List preparation_link;
} Preparation;

struct Preparer {
        sd_event *event;
        int lock_dir;
        int mnt_fd;
        PreparerHooks hooks;
        List preparations;
        unsigned n;
};

/* What the child reports. */
typedef enum ReportKind {
        REPORT_STEP,
        REPORT_PROGRESS,
        REPORT_REGION,
        REPORT_END,
} ReportKind;

typedef struct Report {
        uint32_t kind;
        int32_t error; /* END */
        union {
                JobStep step;
                JobRegion region;
                char text[JOB_REASON_MAX];
        };
} Report;

/* --------------------------------------------------------------------------------------------- the child */

typedef struct Child {
        int fd;
} Child;

static void report(const Child *child, const Report *r)
{
        while (send(child->fd, r, sizeof(*r), MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        _exit(1); /* nobody is interested any more */
}

static void on_step(void *userdata, const JobStep *step)
{
        Report r = {.kind = REPORT_STEP, .step = *step};

        report(userdata, &r);
}

static void on_progress(void *userdata, const char *text)
{
        Report r = {.kind = REPORT_PROGRESS};

        (void)snprintf(r.text, sizeof(r.text), "%s", text);
        report(userdata, &r);
}

static void on_region(void *userdata, const JobRegion *row)
{
        Report r = {.kind = REPORT_REGION, .region = *row};

        report(userdata, &r);
}

/* What it holds open of a store could keep that from being unmounted. */
static void close_all_but(const int *keep, size_t n)
{
        for (unsigned from = 3;;) {
                unsigned next = ~0U;
                for (size_t i = 0; i < n; i++)
                        if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
                                next = (unsigned)keep[i];
                if (next == ~0U) {
                        (void)close_range(from, ~0U, 0);
                        return;
                }
                if (next > from)
                        (void)close_range(from, next - 1, 0);
                from = next + 1;
        }
}

static _Noreturn void child_run(const Preparation *preparation, int fd, pid_t parent)
{
        const Preparer *preparer = preparation->preparer;
        const int keep[] = {fd, preparer->lock_dir, preparer->mnt_fd};
        struct sigaction standard = {.sa_handler = SIG_DFL}, ignore = {.sa_handler = SIG_IGN};
        Child child = {.fd = fd};
        ProvisionContext context = {
                .lock_dir = preparer->lock_dir,
                .mnt_fd = preparer->mnt_fd,
                .step = on_step,
                .progress = on_progress,
                .userdata = &child,
        };
        sigset_t none;
        Report end = {.kind = REPORT_END};

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        for (int i = 1; i < _NSIG; i++)
                (void)sigaction(i, &standard, NULL);
        (void)sigaction(SIGPIPE, &ignore, NULL);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)prctl(PR_SET_NAME, "pmb-prepare");
        close_all_but(keep, ELEMENTSOF(keep));

        switch (preparation->task) {
        case PREPARE_REGIONS:
                end.error = regions_list(context.lock_dir, on_region, &child);
                break;
        case PREPARE_PLAN:
                end.error = provision_run(&preparation->store->config, &context, PROVISION_PLAN);
                break;
        case PREPARE_SERVE:
                end.error = provision_run(&preparation->store->config, &context, PROVISION_SERVE);
                break;
        case PREPARE_APPLY:
                end.error = provision_run(&preparation->store->config, &context, PROVISION_APPLY);
                break;
        case PREPARE_DEPROVISION:
                end.error = deprovision_run(&preparation->store->config, &context);
                break;
        }
        report(&child, &end);
        _exit(0);
}

/* ------------------------------------------------------------------------------------------- the parent */

static bool changes(PrepareTask task)
{
        return task >= PREPARE_SERVE;
}

/* If there is one, and it has not ended by itself. */
static void end_child(Preparation *preparation)
{
        if (preparation->pidfd >= 0) {
                siginfo_t info;
                (void)pidfd_send_signal(preparation->pidfd, SIGKILL, NULL, 0);
                (void)waitid(P_PIDFD, (id_t)preparation->pidfd, &info, WEXITED | WNOHANG);
        }
        preparation->report_source = sd_event_source_disable_unref(preparation->report_source);
        preparation->exit_source = sd_event_source_disable_unref(preparation->exit_source);
        preparation->fd = safe_close(preparation->fd);
        preparation->pidfd = safe_close(preparation->pidfd);
}

static Preparation *preparation_free(Preparation *preparation)
{
        if (!preparation)
                return NULL;
        if (list_is_linked(&preparation->preparation_link)) {
                list_unlink(&preparation->preparation_link);
                preparation->preparer->n--;
        }
        end_child(preparation);
        (void)sd_event_source_disable_unref(preparation->timer);
        free(preparation->regions);
        free(preparation);
        return NULL;
}
DEFINE_CLEANUP(Preparation, preparation_free);

static void add_step(Preparation *preparation, const JobStep *step)
{
        if (preparation->n_steps < JOB_STEPS_MAX)
                preparation->steps[preparation->n_steps++] = *step;
}

static void answer(Preparation *preparation, const Asker *asker)
{
        JobReply reply = {
                .kind = asker->request.kind,
                .serial = asker->request.serial,
                .pool = asker->request.pool,
                .store = asker->request.store,
        };

        if (!asker->connection)
                return;
        if (preparation->task == PREPARE_REGIONS) {
                size_t from = asker->request.pool < preparation->n_regions ? (size_t)asker->request.pool
                                                                           : preparation->n_regions;
                size_t n = preparation->n_regions - from;
                reply.error = preparation->error;
                reply.n = reply.error < 0 ? 0 : n > JOB_REGIONS_MAX ? JOB_REGIONS_MAX : (uint32_t)n;
                job_reply(asker->connection, &reply,
                        preparation->regions ? preparation->regions + from : NULL,
                        reply.n * sizeof(JobRegion), -EBADF);
                return;
        }
        /* What was refused is an answer, too. */
        reply.n = preparation->n_steps;
        reply.error = preparation->n_steps > 0 ? 0 : preparation->error < 0 ? preparation->error : -EIO;
        job_reply(asker->connection, &reply, preparation->steps, reply.n * sizeof(JobStep), -EBADF);
}

static const char *last_words(const Preparation *preparation)
{
        for (uint32_t i = preparation->n_steps; i-- > 0;)
                if (preparation->steps[i].state == JOB_STEP_REFUSED ||
                        preparation->steps[i].state == JOB_STEP_FAILED)
                        return preparation->steps[i].text;
        return strerrordesc_np(-preparation->error);
}

static int begin(Preparation *preparation);

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static int begin_later(Preparation *preparation, uint64_t usec)
{
        preparation->timer = sd_event_source_disable_unref(preparation->timer);
        return sd_event_add_time_relative(preparation->preparer->event, &preparation->timer, CLOCK_MONOTONIC,
                usec, usec / 16, on_timer, preparation);
}

/* Drivers may come up after us, and administrators correct mistakes meanwhile. Returns true if it will be tried again. */
static bool try_again(Preparation *preparation)
{
        const StoreEntry *store = preparation->store;
        uint64_t usec = preparation->again_usec;

        if (preparation->error >= 0 || !store || preparation->n_askers > 0 ||
                (preparation->task != PREPARE_SERVE && preparation->task != PREPARE_APPLY))
                return false;
        /* If they differed in their padding alone, it would be tried once more at once: no harm.
         * NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c) */
        if (memcmp(&preparation->config, &store->config, sizeof(store->config)) != 0) {
                preparation->task = store->config.manual ? PREPARE_SERVE : PREPARE_APPLY;
                return begin_later(preparation, 0) >= 0;
        }
        if (preparation->error != -ENODEV)
                return false;
        if (begin_later(preparation, usec) < 0)
                return false;
        preparation->again_usec = usec * 2 > AGAIN_MAX_USEC ? AGAIN_MAX_USEC : usec * 2;
        return true;
}

static void finish(Preparation *preparation, int error)
{
        Preparer *preparer = preparation->preparer;
        StoreEntry *store = preparation->store;
        PrepareTask task = preparation->task;
        bool again;

        end_child(preparation);
        if (error < 0 && store && preparation->apply_next) {
                preparation->apply_next = false;
                preparation->task = task = PREPARE_APPLY;
                error = begin(preparation);
                if (error >= 0)
                        return;
        }
        preparation->error = error;
        if (store && changes(task) && error < 0) {
                if (!store->available)
                        (void)snprintf(store->reason, sizeof(store->reason), "%s", last_words(preparation));
                if (strcmp(preparation->logged, last_words(preparation)) != 0)
                        log_warning("Store %s: %s", store->config.name, last_words(preparation));
                (void)snprintf(
                        preparation->logged, sizeof(preparation->logged), "%s", last_words(preparation));
        }
        for (unsigned i = 0; i < preparation->n_askers; i++)
                answer(preparation, &preparation->askers[i]);
        again = try_again(preparation);
        if (!again)
                (void)preparation_free(preparation);
        if (store && task == PREPARE_DEPROVISION)
                store->deprovisioning = false;
        if (store && changes(task))
                preparer->hooks.done(preparer->hooks.userdata, store, task, error);
}

static void take_report(Preparation *preparation, const Report *r)
{
        StoreEntry *store = preparation->store;

        switch ((ReportKind)r->kind) {
        case REPORT_STEP:
                add_step(preparation, &r->step);
                if (store && changes(preparation->task) && r->step.state == JOB_STEP_DONE)
                        log_info("Store %s: %s", store->config.name, r->step.text);
                break;
        case REPORT_PROGRESS:
                if (store && changes(preparation->task) && !store->available) {
                        (void)snprintf(store->reason, sizeof(store->reason), "%s: %.100s",
                                preparation->task == PREPARE_DEPROVISION ? "deprovisioning" : "preparing",
                                r->text);
                        preparation->preparer->hooks.progress(preparation->preparer->hooks.userdata, store);
                }
                break;
        case REPORT_REGION: {
                JobRegion *more =
                        reallocarray(preparation->regions, preparation->n_regions + 1, sizeof(JobRegion));
                if (!more)
                        break;
                preparation->regions = more;
                more[preparation->n_regions++] = r->region;
                break;
        }
        case REPORT_END:
                preparation->ended = true;
                preparation->error = r->error;
                break;
        }
}

/* Returns 0 when there is no more for now. */
static int read_report(Preparation *preparation)
{
        Report r;
        ssize_t n = recv(preparation->fd, &r, sizeof(r), MSG_DONTWAIT);

        if (n != sizeof(r))
                return 0;
        take_report(preparation, &r);
        return 1;
}

static int on_report(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void)fd;
        if (!read_report(userdata) && revents & (EPOLLHUP | EPOLLERR))
                (void)sd_event_source_set_enabled(source, SD_EVENT_OFF); /* it is about to exit */
        return 0;
}

static int on_exit_of_child(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Preparation *preparation = userdata;
        siginfo_t info = {};

        (void)source;
        (void)revents;
        while (read_report(preparation))
                ;
        (void)waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
        if (!preparation->ended) {
                JobStep step = {.kind = JOB_STEP_TEST, .state = JOB_STEP_FAILED};
                (void)snprintf(step.text, sizeof(step.text), "the process that did it ended with %s %d",
                        info.si_code == CLD_EXITED ? "status" : "signal", info.si_status);
                add_step(preparation, &step);
                preparation->error = -EIO;
        }
        finish(preparation, preparation->error);
        return 0;
}

static int start_child(Preparation *preparation)
{
        Preparer *preparer = preparation->preparer;
        _cleanup_close_ int theirs = -EBADF;
        pid_t parent = getpid(), pid;
        int pair[2], r;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        preparation->fd = pair[0];
        theirs = pair[1];
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                child_run(preparation, theirs, parent);
        preparation->pidfd = pidfd_open(pid, 0); /* our child, not yet waited for: the pid is its */
        if (preparation->pidfd < 0)
                return -errno;
        r = sd_event_add_io(preparer->event, &preparation->report_source, preparation->fd, EPOLLIN,
                on_report, preparation);
        if (r >= 0)
                r = sd_event_add_io(preparer->event, &preparation->exit_source, preparation->pidfd, EPOLLIN,
                        on_exit_of_child, preparation);
        return r;
}

static int begin(Preparation *preparation)
{
        int r;

        preparation->n_steps = 0;
        preparation->ended = false;
        if (preparation->store)
                memcpy(&preparation->config, &preparation->store->config, sizeof(preparation->config));
        if (preparation->task == PREPARE_DEPROVISION) /* ours would keep it mounted */
                preparation->store->dir_fd = safe_close(preparation->store->dir_fd);
        r = start_child(preparation);
        if (r < 0)
                end_child(preparation);
        return r;
}

static uint64_t now_usec(const Preparer *preparer)
{
        uint64_t now = 0;

        (void)sd_event_now(preparer->event, CLOCK_MONOTONIC, &now);
        return now;
}

static void give_up_draining(Preparation *preparation)
{
        JobStep step = {.kind = JOB_STEP_MOUNT, .state = JOB_STEP_REFUSED};

        (void)snprintf(step.text, sizeof(step.text),
                "%zu pools have not gone yet: their processes hold their memory; try again later",
                preparation->store->pools.n);
        add_step(preparation, &step);
        finish(preparation, -EBUSY);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        Preparation *preparation = userdata;
        int r = 0;

        (void)source;
        (void)usec;
        if (preparation->task == PREPARE_DEPROVISION && preparation->store->pools.n > 0) {
                if (now_usec(preparation->preparer) >= preparation->deadline) {
                        give_up_draining(preparation);
                        return 0;
                }
                r = begin_later(preparation, DRAIN_CHECK_USEC);
        } else {
                preparation->timer = sd_event_source_disable_unref(preparation->timer);
                r = begin(preparation);
        }
        if (r < 0)
                finish(preparation, r);
        return 0;
}

/* --------------------------------------------------------------------------------------------- preparer */

static Preparation *find_change(Preparer *preparer, const StoreEntry *store)
{
        list_for_each (it, &preparer->preparations) {
                Preparation *preparation = list_entry(it, Preparation, preparation_link);
                if (preparation->store == store && changes(preparation->task))
                        return preparation;
        }
        return NULL;
}

static int add_asker(Preparation *preparation, JobConnection *connection, const JobRequest *request)
{
        if (!connection)
                return 0;
        if (preparation->n_askers >= ASKERS_MAX)
                return -EBUSY;
        preparation->askers[preparation->n_askers++] =
                (Asker){.connection = connection, .request = *request};
        return 0;
}

int preparer_new(sd_event *event, int lock_dir, int mnt_fd, const PreparerHooks *hooks, Preparer **ret)
{
        Preparer *preparer = calloc(1, sizeof(*preparer));

        if (!preparer)
                return -ENOMEM;
        preparer->event = sd_event_ref(event);
        preparer->lock_dir = lock_dir;
        preparer->mnt_fd = mnt_fd;
        preparer->hooks = *hooks;
        list_init(&preparer->preparations);
        *ret = preparer;
        return 0;
}

Preparer *preparer_free(Preparer *preparer)
{
        if (!preparer)
                return NULL;
        list_for_each_safe (it, &preparer->preparations)
                (void)preparation_free(list_entry(it, Preparation, preparation_link));
        (void)sd_event_unref(preparer->event);
        free(preparer);
        return NULL;
}

int preparer_start(Preparer *preparer, StoreEntry *store, PrepareTask task, JobConnection *connection,
        const JobRequest *request)
{
        _cleanup_(cleanup_preparation_free) Preparation *preparation = NULL;
        Preparation *running = changes(task) ? find_change(preparer, store) : NULL;
        int r;

        if (running && running->pidfd < 0 && running->task != PREPARE_DEPROVISION) {
                /* It waits for its device, or would never know that somebody wants to know: now is the time. */
                (void)preparation_free(running);
                running = NULL;
        }
        if (running) {
                if (task == PREPARE_DEPROVISION || running->task == PREPARE_DEPROVISION)
                        return -EALREADY;
                r = add_asker(running, connection, request);
                if (r >= 0 && task == PREPARE_APPLY) {
                        running->apply_next = running->task == PREPARE_SERVE;
                        store->deprovisioned = false;
                }
                return r;
        }
        if (preparer->n >= TASKS_MAX)
                return -EBUSY;
        preparation = calloc(1, sizeof(*preparation));
        if (!preparation)
                return -ENOMEM;
        preparation->preparer = preparer;
        preparation->store = store;
        preparation->task = task;
        preparation->fd = preparation->pidfd = -EBADF;
        preparation->again_usec = AGAIN_MIN_USEC;
        list_init(&preparation->preparation_link);
        (void)add_asker(preparation, connection, request);
        if (task == PREPARE_DEPROVISION) {
                /* Never at once: if it cannot begin, the store is to be opened again, as after any failure. */
                preparation->deadline = now_usec(preparer) + PREPARE_DRAIN_USEC;
                r = begin_later(preparation, store->pools.n > 0 ? DRAIN_CHECK_USEC : 0);
        } else
                r = begin(preparation);
        if (r < 0)
                return r;
        list_append(&preparer->preparations, &preparation->preparation_link);
        preparer->n++;
        (void)TAKE_PTR(preparation);
        if (task == PREPARE_DEPROVISION) {
                /* It takes no new pools. */
                store->available = false;
                store->deprovisioning = true;
                (void)store_entry_refuse(store, ENOENT, "deprovisioning");
                preparer->hooks.progress(preparer->hooks.userdata, store);
        } else if (task == PREPARE_APPLY)
                store->deprovisioned = false;
        return 0;
}

int preparer_open(Preparer *preparer, StoreEntry *store, int error)
{
        int r;

        if (store->deprovisioned)
                return store_entry_refuse(store, ENOENT, "%s", STORE_DEPROVISIONED);
        if (error != -ENOENT && error != -ENODATA && error != -ENODEV)
                return error;
        r = preparer_start(
                preparer, store, store->config.manual ? PREPARE_SERVE : PREPARE_APPLY, NULL, NULL);
        return r < 0 ? r : store_entry_refuse(store, EINPROGRESS, "preparing");
}

void preparer_stop(Preparer *preparer, StoreEntry *store)
{
        list_for_each_safe (it, &preparer->preparations) {
                Preparation *preparation = list_entry(it, Preparation, preparation_link);
                if (preparation->store != store)
                        continue;
                preparation->error = -ECANCELED;
                preparation->n_steps = 0;
                for (unsigned i = 0; i < preparation->n_askers; i++)
                        answer(preparation, &preparation->askers[i]);
                (void)preparation_free(preparation);
        }
}

void preparer_connection_closed(Preparer *preparer, JobConnection *connection)
{
        list_for_each (it, &preparer->preparations) {
                Preparation *preparation = list_entry(it, Preparation, preparation_link);
                for (unsigned i = 0; i < preparation->n_askers; i++)
                        if (preparation->askers[i].connection == connection)
                                preparation->askers[i].connection = NULL;
        }
}
