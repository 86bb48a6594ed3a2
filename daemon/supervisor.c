/* SPDX-License-Identifier: BSD-3-Clause */

#include "supervisor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "config.h"
#include "log.h"
#include "statedir.h"

#define RESTART_MIN_USEC (100 * UINT64_C(1000))
#define RESTART_MAX_USEC (5 * USEC_PER_SEC)
#define RAN_WELL_USEC    USEC_PER_SEC /* who ran that long is started again at once */
#define STOP_USEC        (5 * USEC_PER_SEC)

typedef struct Supervisor Supervisor;

typedef struct Child {
        Supervisor *supervisor;
        const char *role; /* "--provisioner", "--broker" */
        const char *fd_name;
        int listen_fd;
        pid_t pid; /* 0: not running */
        uint64_t started_usec;
        uint64_t restart_usec;
        sd_event_source *exit;
        sd_event_source *restart;
} Child;

struct Supervisor {
        const SupervisorOptions *options;
        sd_event *event;
        char *state_dir;
        char *jobs_path;
        int lock_fd;
        uid_t uid; /* of the broker */
        gid_t gid;
        bool stopping;
        int status; /* to exit with */
        Child provisioner;
        Child broker;
        sd_event_source *deadline;
};

static int start_child(Child *child);

/* ---------------------------------------------------------------------------------------------- starting */

/* Between fork and exec: no log, no allocation that matters. */
static _Noreturn void exec_child(const Child *child)
{
        const Supervisor *s = child->supervisor;
        const char *argv[20];
        char pid[16], admin[24];
        size_t n = 0;
        sigset_t none;

        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                _exit(EXIT_FAILURE);

        argv[n++] = "pmbrokerd";
        argv[n++] = child->role;
        if (s->options->config_must_exist) {
                argv[n++] = "--config";
                argv[n++] = s->options->config_path;
        }
        argv[n++] = "--state-dir";
        argv[n++] = s->state_dir;
        argv[n++] = "--runtime-dir";
        argv[n++] = s->state_dir;
        if (s->options->log_level) {
                argv[n++] = "--log-level";
                argv[n++] = s->options->log_level;
        }
        if (child == &s->broker) {
                argv[n++] = "--jobs";
                argv[n++] = s->jobs_path;
                if (geteuid() != 0) {
                        (void)snprintf(admin, sizeof(admin), "%u", (unsigned)geteuid());
                        argv[n++] = "--admin-uid";
                        argv[n++] = admin;
                } else if (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
                           setresuid(s->uid, s->uid, s->uid) < 0)
                        _exit(EXIT_FAILURE);
        } else {
                argv[n++] = "--user";
                (void)snprintf(admin, sizeof(admin), "%u", (unsigned)s->uid);
                argv[n++] = admin;
        }
        argv[n] = NULL;

        (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
        /* dup2() clears close-on-exec, but not when the descriptor is there already. */
        if (child->listen_fd == SD_LISTEN_FDS_START ? fcntl(child->listen_fd, F_SETFD, 0) < 0
                                                    : dup2(child->listen_fd, SD_LISTEN_FDS_START) < 0)
                _exit(EXIT_FAILURE);
        if (setenv("LISTEN_PID", pid, 1) < 0 || setenv("LISTEN_FDS", "1", 1) < 0 ||
                setenv("LISTEN_FDNAMES", child->fd_name, 1) < 0 || unsetenv("NOTIFY_SOCKET") < 0 ||
                unsetenv("WATCHDOG_USEC") < 0)
                _exit(EXIT_FAILURE);
        /* A new identity loses the signal of the parent's death. */
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
                _exit(EXIT_FAILURE);
        (void)execv("/proc/self/exe", (char **)(uintptr_t)argv);
        _exit(EXIT_FAILURE);
}

static uint64_t now_usec(sd_event *event)
{
        uint64_t now = 0;

        (void)sd_event_now(event, CLOCK_MONOTONIC, &now);
        return now;
}

static int on_restart(sd_event_source *source, uint64_t usec, void *userdata)
{
        Child *child = userdata;
        int r;

        (void)usec;
        if (child->supervisor->stopping || child->pid > 0)
                return 0;
        r = start_child(child);
        if (r >= 0)
                return 0;
        (void)log_errno(LOG_ERR, r, "cannot start the %s, trying again", child->role + 2);
        (void)sd_event_source_set_time_relative(source, RESTART_MAX_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int restart_later(Child *child)
{
        sd_event *event = child->supervisor->event;

        if (child->restart_usec == 0 || now_usec(event) - child->started_usec >= RAN_WELL_USEC)
                child->restart_usec = RESTART_MIN_USEC;
        else if (child->restart_usec < RESTART_MAX_USEC)
                child->restart_usec *= 2;
        child->restart = sd_event_source_disable_unref(child->restart);
        return sd_event_add_time_relative(
                event, &child->restart, CLOCK_MONOTONIC, child->restart_usec, 0, on_restart, child);
}

static int stop_next(Supervisor *s)
{
        /* The broker first: it tells its clients. */
        if (s->broker.pid > 0)
                return kill(s->broker.pid, SIGTERM) < 0 ? -errno : 0;
        if (s->provisioner.pid > 0)
                return kill(s->provisioner.pid, SIGTERM) < 0 ? -errno : 0;
        return sd_event_exit(s->event, s->status);
}

/* One that has not come to its handlers yet dies of the signal. */
static bool stopped_in_order(const siginfo_t *si)
{
        if (si->si_code == CLD_EXITED)
                return si->si_status == EXIT_SUCCESS;
        return si->si_status == SIGTERM || si->si_status == SIGINT;
}

static int on_child_exit(sd_event_source *source, const siginfo_t *si, void *userdata)
{
        Child *child = userdata;
        Supervisor *s = child->supervisor;

        (void)source;
        child->pid = 0;
        child->exit = sd_event_source_disable_unref(child->exit);
        if (s->stopping) {
                if (!stopped_in_order(si)) {
                        log_error("%s did not stop as it should", child->role + 2);
                        s->status = EXIT_FAILURE;
                }
                return stop_next(s);
        }
        if (si->si_code == CLD_EXITED)
                log_error("%s exited with status %d, starting it again", child->role + 2, si->si_status);
        else
                log_error("%s was killed by signal %d, starting it again", child->role + 2, si->si_status);
        return restart_later(child);
}

static int start_child(Child *child)
{
        Supervisor *s = child->supervisor;
        pid_t pid = fork();

        if (pid < 0)
                return -errno;
        if (pid == 0)
                exec_child(child);
        child->pid = pid;
        child->started_usec = now_usec(s->event);
        return sd_event_add_child(s->event, &child->exit, pid, WEXITED, on_child_exit, child);
}

/* ----------------------------------------------------------------------------------------------- signals */

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
        Supervisor *s = userdata;

        (void)source;
        (void)usec;
        log_error("the processes do not stop, killing them");
        if (s->broker.pid > 0)
                (void)kill(s->broker.pid, SIGKILL);
        if (s->provisioner.pid > 0)
                (void)kill(s->provisioner.pid, SIGKILL);
        return 0;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
        Supervisor *s = userdata;
        int r;

        (void)source;
        (void)si;
        if (s->stopping)
                return 0;
        s->stopping = true;
        (void)sd_notify(0, "STOPPING=1");
        r = sd_event_add_time_relative(
                s->event, &s->deadline, CLOCK_MONOTONIC, STOP_USEC, 0, on_deadline, s);
        if (r < 0)
                return r;
        return stop_next(s);
}

static int on_sighup(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
        Supervisor *s = userdata;

        (void)source;
        (void)si;
        /* It has the provisioner do so, too; and one that is started reads it anyway. */
        if (s->broker.pid > 0)
                (void)kill(s->broker.pid, SIGHUP);
        else if (s->provisioner.pid > 0)
                (void)kill(s->provisioner.pid, SIGHUP);
        return 0;
}

/* ------------------------------------------------------------------------------------------------- setup */

static int find_user(Supervisor *s)
{
        const char *name = s->options->user;
        const struct passwd *pw;

        if (geteuid() != 0) {
                s->uid = geteuid();
                s->gid = getegid();
                return 0;
        }
        errno = 0;
        pw = getpwnam(name);
        if (!pw) {
                log_error("there is no user %s for the broker to run as: make it (systemd-sysusers, or "
                          "adduser --system "
                          "%s), or name another by --user",
                        name, name);
                return -EINVAL;
        }
        if (pw->pw_uid == 0) {
                log_error("the broker must not run as root: name another user by --user");
                return -EINVAL;
        }
        s->uid = pw->pw_uid;
        s->gid = pw->pw_gid;
        return 0;
}

/* The processes want absolute paths. */
static char *absolute(const char *path, const char *suffix)
{
        _cleanup_free_ char *cwd = NULL;
        char *result;

        if (path[0] != '/') {
                cwd = getcwd(NULL, 0);
                if (!cwd)
                        return NULL;
        }
        if (asprintf(&result, "%s%s%s%s", cwd ?: "", cwd ? "/" : "", path, suffix) < 0)
                return NULL;
        return result;
}

static int set_up_files(Supervisor *s)
{
        const SupervisorOptions *o = s->options;
        int r;

        s->state_dir = o->state_dir ? absolute(o->state_dir, "") : absolute(o->socket_path, ".d");
        if (!s->state_dir || asprintf(&s->jobs_path, "%s/jobs.sock", s->state_dir) < 0)
                return log_errno(LOG_ERR, -ENOMEM, "cannot start");
        r = statedir_lock(s->state_dir, &s->lock_fd);
        if (r == -EBUSY)
                return log_errno(LOG_ERR, r, "another pmbrokerd serves %s", o->socket_path);
        if (r < 0)
                return r;
        r = statedir_listen(s->jobs_path, 0600, s->uid, s->gid, &s->provisioner.listen_fd);
        if (r < 0)
                return r;
        return statedir_listen(o->socket_path, 0666, (uid_t)-1, (gid_t)-1, &s->broker.listen_fd);
}

/* The children would only say so again and again. */
static int check_config(const Supervisor *s)
{
        _cleanup_(cleanup_config_free) Config *config = NULL;
        _cleanup_free_ char *message = NULL;
        int r = config_load(s->options->config_path, s->options->config_must_exist, &config, &message);

        if (r < 0) {
                log_lines(LOG_ERR, message);
                return log_errno(LOG_ERR, r, "the configuration is not valid");
        }
        return 0;
}

static void release(Supervisor *s)
{
        sd_event_source_disable_unref(s->deadline);
        sd_event_source_disable_unref(s->broker.exit);
        sd_event_source_disable_unref(s->broker.restart);
        sd_event_source_disable_unref(s->provisioner.exit);
        sd_event_source_disable_unref(s->provisioner.restart);
        safe_close(s->broker.listen_fd);
        safe_close(s->provisioner.listen_fd);
        safe_close(s->lock_fd);
        sd_event_unref(s->event);
        free(s->state_dir);
        free(s->jobs_path);
}

static int set_up(Supervisor *s)
{
        sigset_t mask;
        int r;

        r = find_user(s);
        if (r < 0)
                return r;
        r = check_config(s);
        if (r < 0)
                return r;
        r = set_up_files(s);
        if (r < 0)
                return r;

        (void)sigemptyset(&mask);
        (void)sigaddset(&mask, SIGTERM);
        (void)sigaddset(&mask, SIGINT);
        (void)sigaddset(&mask, SIGHUP);
        (void)sigaddset(&mask, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return log_errno(LOG_ERR, errno, "cannot block signals");
        r = sd_event_new(&s->event);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGTERM, on_stop, s);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGINT, on_stop, s);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGHUP, on_sighup, s);
        if (r >= 0)
                r = sd_event_set_watchdog(s->event, true);
        if (r >= 0)
                r = start_child(&s->provisioner);
        if (r >= 0)
                r = start_child(&s->broker);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot start");
        return 0;
}

int supervisor_run(const SupervisorOptions *options)
{
        Supervisor s = {.options = options, .lock_fd = -EBADF};
        int r;

        s.provisioner =
                (Child){.supervisor = &s, .role = "--provisioner", .fd_name = "jobs", .listen_fd = -EBADF};
        s.broker = (Child){.supervisor = &s, .role = "--broker", .fd_name = "clients", .listen_fd = -EBADF};
        r = set_up(&s);
        if (r >= 0) {
                assert(s.jobs_path);
                log_info("serving %s", options->socket_path);
                (void)sd_notify(0, "READY=1");
                r = sd_event_loop(s.event);
                (void)unlink(options->socket_path);
                (void)unlink(s.jobs_path);
        }
        release(&s);
        return r;
}
