/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/account.h"
#include "provisioner/crew.h"
#include "provisioner/worker.h"

typedef struct Order {
        Crew *crew;
        Account *account;
        Worker *worker; /* NULL: waits */
        bool late;
        uint64_t usec;     /* it may wait and run for */
        uint64_t deadline; /* of the waiting or the running */
        CrewDoneFn on_done;
        CrewLateFn on_late;
        void *userdata;
        int fds[WORK_FDS_MAX];
        List account_link;
        List deadline_link;
        WorkOrder work; /* only its first work_order_size() bytes exist: last */
} Order;

struct Crew {
        sd_event *event;
        sd_event_source *timer;
        uint64_t timer_usec; /* when it is set to; UINT64_MAX: off */
        WorkFn work;
        List accounts;  /* see account.h */
        List deadlines; /* Order.deadline_link, ascending; without those that hang */
        List idle;      /* Worker.worker_link */
        List others;    /* Worker.worker_link: busy or exiting */
        uint32_t n_idle;
        uint32_t n_running; /* without those that hang */
        uint32_t n_hung;
};

static void crew_start_waiting(Crew *crew);

/* ---------------------------------------------------------------------------------------------- orders */

static Order *order_free(Order *order)
{
        if (!order)
                return NULL;
        list_unlink(&order->account_link);
        list_unlink(&order->deadline_link);
        free(order);
        return NULL;
}
DEFINE_CLEANUP(Order, order_free);

static void order_set_deadline(Order *order)
{
        Crew *crew = order->crew;
        List *at = &crew->deadlines;
        uint64_t now;

        list_unlink(&order->deadline_link);
        (void)sd_event_now(crew->event, CLOCK_MONOTONIC, &now);
        order->deadline = now + order->usec;
        /* Nearly all have the same time, so that the place is nearly always at the end. */
        while (at->prev != &crew->deadlines &&
                list_entry(at->prev, Order, deadline_link)->deadline > order->deadline)
                at = at->prev;
        list_append(at, &order->deadline_link);
        if (order->deadline < crew->timer_usec) {
                crew->timer_usec = order->deadline;
                (void)sd_event_source_set_time(crew->timer, crew->timer_usec);
                (void)sd_event_source_set_enabled(crew->timer, SD_EVENT_ONESHOT);
        }
}

/* The order leaves the account's books; the caller calls done(). */
static void order_end(Order *order)
{
        Crew *crew = order->crew;

        if (order->worker) {
                order->account->running--;
                if (order->late)
                        crew->n_hung--;
                else
                        crew->n_running--;
        }
        Account *account = order->account;
        (void)order_free(order);
        account_put(account);
}

/* --------------------------------------------------------------------------------------------- workers */

static void worker_to_idle(Crew *crew, Worker *worker)
{
        list_unlink(&worker->worker_link);
        if (worker->dead) {
                (void)worker_free(worker);
        } else if (crew->n_idle >= CREW_IDLE_MAX) {
                list_append(&crew->others, &worker->worker_link);
                worker_retire(worker);
        } else {
                list_append(&crew->idle, &worker->worker_link);
                crew->n_idle++;
        }
}

static void on_worker_done(Worker *worker, const WorkResult *result, void *userdata)
{
        Crew *crew = userdata;
        Order *order = worker->job;

        if (!order) { /* it exited while idle or when told to */
                if (!list_is_empty(&crew->idle))
                        list_for_each (it, &crew->idle)
                                if (it == &worker->worker_link) {
                                        crew->n_idle--;
                                        break;
                                }
                (void)worker_free(worker);
                return;
        }

        CrewDoneFn done = order->on_done;
        void *order_userdata = order->userdata;
        worker->job = NULL;
        order_end(order);
        worker_to_idle(crew, worker);
        /* Before the answer: while it is written the next order is under way. */
        crew_start_waiting(crew);
        done(order_userdata, result);
}

static int crew_take_worker(Crew *crew, Worker **ret)
{
        Worker *worker = NULL;
        int r;

        /* The last to become idle first: its memory is warm. */
        if (!list_is_empty(&crew->idle)) {
                worker = list_entry(crew->idle.prev, Worker, worker_link);
                crew->n_idle--;
        } else {
                r = worker_new(crew->event, crew->work, on_worker_done, crew, &worker);
                if (r < 0)
                        return r;
        }
        list_unlink(&worker->worker_link);
        list_append(&crew->others, &worker->worker_link);
        *ret = worker;
        return 0;
}

static int order_start(Order *order)
{
        Worker *worker;
        Crew *crew;
        int r;

        assert(order);
        crew = order->crew;
        /* An idle worker may have died without our having been told: it refuses,
         * and the next one is asked. */
        do {
                r = crew_take_worker(crew, &worker);
                if (r < 0)
                        return r;
                r = worker_give(worker, &order->work, order->fds);
                if (r == -EPIPE || r == -ECONNRESET)
                        worker->dead = true;
                else if (r < 0)
                        worker_to_idle(crew, worker);
        } while (r == -EPIPE || r == -ECONNRESET);
        if (r < 0)
                return r;

        worker->job = order;
        order->worker = worker;
        list_unlink(&order->account_link);
        order->account->running++;
        crew->n_running++;
        order_set_deadline(order);
        return 0;
}

/* ----------------------------------------------------------------------------------------------- turns */

static bool crew_is_full(const Crew *crew)
{
        return crew->n_running >= CREW_BUSY_MAX || crew->n_hung >= CREW_HUNG_MAX;
}

static void crew_start_waiting(Crew *crew)
{
        Account *account;

        while (!crew_is_full(crew) && (account = account_next(&crew->accounts))) {
                Order *order = list_first(&account->waiting, Order, account_link);
                int r = order_start(order);
                if (r < 0) {
                        CrewDoneFn done = order->on_done;
                        void *userdata = order->userdata;
                        order_end(order);
                        done(userdata, &(WorkResult){.error = r});
                }
        }
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
        Crew *crew = userdata;
        Order *order;

        (void)usec;
        for (;;) {
                uint64_t now;
                (void)sd_event_now(crew->event, CLOCK_MONOTONIC, &now);
                order = list_first(&crew->deadlines, Order, deadline_link);
                if (!order || order->deadline > now)
                        break;
                list_unlink(&order->deadline_link);
                if (order->worker) {
                        order->late = true;
                        crew->n_running--;
                        crew->n_hung++;
                        order->on_late(order->userdata);
                } else {
                        CrewDoneFn done = order->on_done;
                        void *order_userdata = order->userdata;
                        order_end(order);
                        done(order_userdata, &(WorkResult){.error = -ETIMEDOUT});
                }
        }
        /* Those that hang make room for others. */
        crew_start_waiting(crew);

        crew->timer_usec = UINT64_MAX;
        order = list_first(&crew->deadlines, Order, deadline_link);
        if (order) {
                crew->timer_usec = order->deadline;
                (void)sd_event_source_set_time(source, crew->timer_usec);
                (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        return 0;
}

/* ------------------------------------------------------------------------------------------------ life */

int crew_new(sd_event *event, WorkFn work, Crew **ret)
{
        _cleanup_(cleanup_crew_free) Crew *crew = calloc(1, sizeof(*crew));
        int r;

        if (!crew)
                return -ENOMEM;
        crew->event = sd_event_ref(event);
        crew->work = work;
        crew->timer_usec = UINT64_MAX;
        list_init(&crew->accounts);
        list_init(&crew->deadlines);
        list_init(&crew->idle);
        list_init(&crew->others);
        r = sd_event_add_time(event, &crew->timer, CLOCK_MONOTONIC, 0, 0, on_deadline, crew);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(crew->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        for (int i = 0; i < ACCOUNT_RUNNING_MAX; i++) {
                Worker *worker;
                r = worker_new(event, work, on_worker_done, crew, &worker);
                if (r < 0)
                        return r;
                list_append(&crew->idle, &worker->worker_link);
                crew->n_idle++;
        }
        *ret = TAKE_PTR(crew);
        return 0;
}

static void workers_free(List *workers)
{
        list_for_each_safe (it, workers) {
                Worker *worker = list_entry(it, Worker, worker_link);
                Order *order = worker->job;
                if (order) {
                        worker->job = NULL;
                        order_end(order);
                }
                (void)worker_free(worker);
        }
}

Crew *crew_free(Crew *crew)
{
        if (!crew)
                return NULL;
        list_for_each_safe (it, &crew->deadlines) {
                Order *order = list_entry(it, Order, deadline_link);
                if (!order->worker)
                        order_end(order);
        }
        workers_free(&crew->others);
        workers_free(&crew->idle);
        assert(list_is_empty(&crew->accounts));
        (void)sd_event_source_disable_unref(crew->timer);
        (void)sd_event_unref(crew->event);
        free(crew);
        return NULL;
}

int crew_submit(Crew *crew, uint64_t account_id, const WorkOrder *work, const int fds[static WORK_FDS_MAX],
        uint64_t usec, CrewDoneFn done, CrewLateFn late, void *userdata)
{
        _cleanup_(cleanup_order_free) Order *order = NULL;
        Account *account;
        int r;

        assert(work->n <= JOB_RANGES_MAX);
        order = calloc(1, offsetof(Order, work) + work_order_size(work));
        if (!order)
                return -ENOMEM;
        list_init(&order->account_link);
        list_init(&order->deadline_link);
        memcpy(&order->work, work, work_order_size(work));
        memcpy(order->fds, fds, sizeof(order->fds));
        order->crew = crew;
        order->usec = usec;
        order->on_done = done;
        order->on_late = late;
        order->userdata = userdata;
        r = account_get(&crew->accounts, account_id, &account);
        if (r < 0)
                return r;
        order->account = account;

        if (account->running < ACCOUNT_RUNNING_MAX && list_is_empty(&account->waiting) &&
                !crew_is_full(crew)) {
                r = order_start(order);
                if (r < 0) {
                        account_put(account);
                        return r;
                }
        } else {
                list_append(&account->waiting, &order->account_link);
                order_set_deadline(order);
        }
        (void)TAKE_PTR(order);
        return 0;
}

uint32_t crew_hung(const Crew *crew)
{
        return crew->n_hung;
}
