/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provisioner/worker.h"

/* ------------------------------------------------------------------------------------------- the child */

/*
 * Descriptors are told apart by a bit mask, since a missing one leaves no gap. Returns the bytes of the
 * order, 0 when the provisioner is gone.
 */
static ssize_t receive_order(int fd, WorkOrder *order, int fds[static WORK_FDS_MAX])
{
        uint32_t present;
        struct iovec iov[] = {{&present, sizeof(present)}, {order, sizeof(*order)}};
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * WORK_FDS_MAX)];
        } control;
        struct msghdr msg = {
                .msg_iov = iov,
                .msg_iovlen = ELEMENTSOF(iov),
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        ssize_t n;

        do {
                n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
        } while (n < 0 && errno == EINTR);
        if (n < (ssize_t)(sizeof(present) + offsetof(WorkOrder, ranges)))
                return 0;

        const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        const unsigned char *next = cmsg ? CMSG_DATA(cmsg) : NULL;
        for (int i = 0; i < WORK_FDS_MAX; i++) {
                fds[i] = -EBADF;
                if (present & 1U << i && next) {
                        memcpy(&fds[i], next, sizeof(int));
                        next += sizeof(int);
                }
        }
        return n;
}

static _Noreturn void worker_run(int fd, WorkFn work)
{
        struct sigaction standard = {.sa_handler = SIG_DFL}, ignore = {.sa_handler = SIG_IGN};
        sigset_t none;

        for (int i = 1; i < _NSIG; i++)
                (void)sigaction(i, &standard, NULL);
        (void)sigaction(SIGPIPE, &ignore, NULL);
        (void)sigaction(SIGIO, &ignore, NULL); /* a lease that is broken while it is tried out */
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)setsid(); /* what interrupts the provisioner at a terminal is not meant for us */
        (void)prctl(PR_SET_NAME, "pmb-worker");

        /* Held by a worker that hangs, a listening socket, a lock or a pipe would outlive its owner. */
        if (fd < 3)
                fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 3)
                _exit(1);
        if (fd > 3)
                (void)close_range(3, (unsigned)fd - 1, 0);
        (void)close_range((unsigned)fd + 1, ~0U, 0);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int i = 0; i < 3; i++)
                if (null < 0)
                        (void)close(i);
                else if (null != i)
                        (void)dup2(null, i);
        if (null > 2)
                (void)close(null);

        for (;;) {
                WorkOrder order;
                WorkResult result = {};
                int fds[WORK_FDS_MAX];

                if (receive_order(fd, &order, fds) == 0)
                        _exit(0);
                work(&order, fds, &result);
                for (int i = 0; i < WORK_FDS_MAX; i++)
                        safe_close(fds[i]);
                if (send(fd, &result, sizeof(result), MSG_NOSIGNAL) < 0)
                        _exit(0);
        }
}

/* ------------------------------------------------------------------------------------------ the parent */

static void worker_done(Worker *worker, const WorkResult *result)
{
        worker->busy = false;
        worker->done(worker, result, worker->userdata);
}

static int on_answer(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Worker *worker = userdata;
        WorkResult result;
        ssize_t n = recv(fd, &result, sizeof(result), MSG_DONTWAIT);

        (void)revents;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n != sizeof(result)) {
                (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
                /* It is about to exit; or it has an answer that we cannot have, and would be waited for for ever. */
                if (n != 0)
                        (void)pidfd_send_signal(worker->pidfd, SIGKILL, NULL, 0);
                return 0;
        }
        worker_done(worker, &result);
        return 0;
}

static int on_exit_of_worker(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Worker *worker = userdata;
        WorkResult result = {.error = -EIO};
        siginfo_t info = {};

        (void)revents;
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        (void)sd_event_source_set_enabled(worker->answer_source, SD_EVENT_OFF);
        if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) == 0 && info.si_code == CLD_KILLED &&
                info.si_status == SIGKILL)
                result.error = -ENOMEM;
        worker->dead = true;
        if (!worker->busy) {
                worker->done(worker, NULL, worker->userdata);
                return 0;
        }
        /* It may have answered with its last breath. */
        WorkResult last;
        if (recv(worker->fd, &last, sizeof(last), MSG_DONTWAIT) == sizeof(last))
                result = last;
        worker_done(worker, &result);
        return 0;
}

int worker_new(sd_event *event, WorkFn work, WorkerDoneFn done, void *userdata, Worker **ret)
{
        _cleanup_(cleanup_worker_free) Worker *worker = NULL;
        _cleanup_close_ int theirs = -EBADF;
        int pair[2], r;

        worker = calloc(1, sizeof(*worker));
        if (!worker)
                return -ENOMEM;
        worker->fd = worker->pidfd = -EBADF;
        worker->done = done;
        worker->userdata = userdata;
        list_init(&worker->worker_link);

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        worker->fd = pair[0];
        theirs = pair[1];

        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                worker_run(theirs, work);

        worker->pidfd = pidfd_open(pid, 0); /* our child, not yet waited for: the pid is its */
        if (worker->pidfd < 0)
                return -errno;
        r = sd_event_add_io(event, &worker->answer_source, worker->fd, EPOLLIN, on_answer, worker);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &worker->exit_source, worker->pidfd, EPOLLIN, on_exit_of_worker, worker);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(worker);
        return 0;
}

Worker *worker_free(Worker *worker)
{
        if (!worker)
                return NULL;
        list_unlink(&worker->worker_link);
        (void)sd_event_source_disable_unref(worker->exit_source);
        (void)sd_event_source_disable_unref(worker->answer_source);
        safe_close(worker->fd);
        safe_close(worker->pidfd);
        free(worker);
        return NULL;
}

void worker_retire(Worker *worker)
{
        assert(!worker->busy);
        worker->dead = true;
        (void)shutdown(worker->fd, SHUT_RDWR);
}

int worker_give(Worker *worker, const WorkOrder *order, const int fds[static WORK_FDS_MAX])
{
        uint32_t present = 0;
        struct iovec iov[] = {{&present, sizeof(present)}, {(void *)order, work_order_size(order)}};
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * WORK_FDS_MAX)];
        } control = {};
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = ELEMENTSOF(iov)};
        int passed[WORK_FDS_MAX];
        size_t n = 0;

        assert(!worker->busy && !worker->dead);
        assert(order->n <= JOB_RANGES_MAX);
        for (int i = 0; i < WORK_FDS_MAX; i++)
                if (fds[i] >= 0) {
                        present |= 1U << i;
                        passed[n++] = fds[i];
                }
        if (n > 0) {
                msg.msg_control = &control;
                msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
                struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
                assert(cmsg);
                cmsg->cmsg_level = SOL_SOCKET;
                cmsg->cmsg_type = SCM_RIGHTS;
                cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n);
                memcpy(CMSG_DATA(cmsg), passed, sizeof(int) * n);
        }
        if (sendmsg(worker->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                return -errno;
        worker->busy = true;
        return 0;
}
