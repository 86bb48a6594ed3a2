/* SPDX-License-Identifier: BSD-3-Clause */
/* One binary, two units, and a stand-alone mode that starts both: see usage(). */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "config.h"
#include "log.h"
#include "manager.h"
#include "provisioner/provisioner.h"
#include "reload.h"
#include "sandbox.h"
#include "supervisor.h"

#define DEFAULT_USER "pmbroker"
#define DEFAULT_JOBS "/run/pmbroker-provisioner/jobs.sock"

typedef enum Mode {
        MODE_NONE,
        MODE_BROKER,
        MODE_PROVISIONER,
        MODE_STANDALONE,
        MODE_CHECK_CONFIG,
} Mode;

static Mode arg_mode = MODE_NONE;
static const char *arg_socket;
static const char *arg_config;
static const char *arg_state_dir;
static const char *arg_runtime_dir;
static const char *arg_jobs = DEFAULT_JOBS;
static const char *arg_user = DEFAULT_USER;
static const char *arg_log_level;
static uint32_t arg_admin_uid = (uint32_t)-1;

static void usage(FILE *f)
{
        (void)fputs(
                "Usage: pmbrokerd MODE [OPTION...]\n"
                "Hand out volatile memory pools on DAX-capable memory.\n"
                "\n"
                "Modes:\n"
                "  --broker            serve clients on the socket passed by systemd (pmbrokerd.service)\n"
                "  --provisioner       serve the broker on the socket passed by systemd\n"
                "                      (pmbroker-provisioner.service)\n"
                "  --socket PATH       stand-alone: start both for one socket, without systemd\n"
                "  --check-config      read the configuration, print what is in effect, say what is wrong\n"
                "  -h, --help          this text\n"
                "  -V, --version       the version\n"
                "\n"
                "Options:\n"
                "  --config FILE       instead of " CONFIG_DEFAULT_PATH "\n"
                "  --state-dir DIR     where stores are mounted; default: $STATE_DIRECTORY, or PATH.d\n"
                "  --runtime-dir DIR   where pools are recorded; default: $RUNTIME_DIRECTORY, or the state "
                "directory\n"
                "  --jobs PATH         the provisioner's socket; default: " DEFAULT_JOBS "\n"
                "  --user NAME         whom the broker runs as, and the provisioner serves; "
                "default: " DEFAULT_USER "\n"
                "  --admin-uid UID     a user who may administrate besides root and the group AdminGroup=\n"
                "  --log-level LEVEL   debug, info, notice, warning or error; default: info\n"
                "\n"
                "See pmbrokerd(8), pmbrokerd.conf(5).\n",
                f);
}

/* A mistake on the command line: EX_USAGE. */
static int usage_error(const char *what, const char *value)
{
        (void)fprintf(
                stderr, "pmbrokerd: %s%s%s; see pmbrokerd --help\n", what, value ? ": " : "", value ?: "");
        return 64;
}

/* 0: go on; above: exit with that status - 1. */
static int parse_argv(int argc, char **argv)
{
        enum {
                OPT_BROKER = 256,
                OPT_PROVISIONER,
                OPT_SOCKET,
                OPT_CHECK_CONFIG,
                OPT_CONFIG,
                OPT_STATE_DIR,
                OPT_RUNTIME_DIR,
                OPT_JOBS,
                OPT_USER,
                OPT_ADMIN_UID,
                OPT_LOG_LEVEL,
        };
        static const struct option options[] = {
                {"broker", no_argument, NULL, OPT_BROKER},
                {"provisioner", no_argument, NULL, OPT_PROVISIONER},
                {"socket", required_argument, NULL, OPT_SOCKET},
                {"check-config", no_argument, NULL, OPT_CHECK_CONFIG},
                {"config", required_argument, NULL, OPT_CONFIG},
                {"state-dir", required_argument, NULL, OPT_STATE_DIR},
                {"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR},
                {"jobs", required_argument, NULL, OPT_JOBS},
                {"user", required_argument, NULL, OPT_USER},
                {"admin-uid", required_argument, NULL, OPT_ADMIN_UID},
                {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, 'V'},
                {0},
        };
        Mode mode = MODE_NONE;
        int level;
        int c;

        while ((c = getopt_long(argc, argv, "hV", options, NULL)) >= 0) {
                mode = MODE_NONE;
                switch (c) {
                case OPT_BROKER:
                        mode = MODE_BROKER;
                        break;
                case OPT_PROVISIONER:
                        mode = MODE_PROVISIONER;
                        break;
                case OPT_SOCKET:
                        mode = MODE_STANDALONE;
                        arg_socket = optarg;
                        break;
                case OPT_CHECK_CONFIG:
                        mode = MODE_CHECK_CONFIG;
                        break;
                case OPT_CONFIG:
                        arg_config = optarg;
                        break;
                case OPT_STATE_DIR:
                        arg_state_dir = optarg;
                        break;
                case OPT_RUNTIME_DIR:
                        arg_runtime_dir = optarg;
                        break;
                case OPT_JOBS:
                        arg_jobs = optarg;
                        break;
                case OPT_USER:
                        arg_user = optarg;
                        break;
                case OPT_ADMIN_UID:
                        if (parse_u32(optarg, &arg_admin_uid) < 0)
                                return usage_error("--admin-uid takes a number", optarg) + 1;
                        break;
                case OPT_LOG_LEVEL:
                        if (log_level_from_string(optarg, &level) < 0)
                                return usage_error("no such log level", optarg) + 1;
                        log_set_level(level);
                        arg_log_level = optarg;
                        break;
                case 'h':
                        usage(stdout);
                        return 1;
                case 'V':
                        puts("pmbrokerd " PMBROKER_VERSION);
                        return 1;
                default:
                        return 64 + 1; /* getopt has said what is wrong */
                }
                if (mode == MODE_NONE)
                        continue;
                if (arg_mode != MODE_NONE)
                        return usage_error("one mode at a time", NULL) + 1;
                arg_mode = mode;
        }
        if (optind < argc)
                return usage_error("unexpected argument", argv[optind]) + 1;
        if (arg_mode == MODE_NONE)
                return usage_error("no mode given", NULL) + 1;
        return 0;
}

/* ---------------------------------------------------------------------------------------- what is shared */

static int load_config(Config **ret)
{
        _cleanup_free_ char *message = NULL;
        int r = config_load(arg_config ?: CONFIG_DEFAULT_PATH, arg_config != NULL, ret, &message);

        if (r < 0) {
                log_lines(LOG_ERR, message);
                return log_errno(LOG_ERR, r, "the configuration is not valid");
        }
        return 0;
}

/* The passed descriptor of that name, or -EBADF. */
static int take_passed_fd(int n, char **names, const char *name)
{
        for (int i = 0; i < n; i++)
                if (names[i] && strcmp(names[i], name) == 0) {
                        int fd = SD_LISTEN_FDS_START + i;

                        names[i][0] = '\0';
                        return fd;
                }
        return -EBADF;
}

static void raise_nofile(void)
{
        struct rlimit limit;

        /* Thousands of sessions and pools are thousands of descriptors; ours are all polled by epoll, not
         * select. */
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
                return;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                (void)log_errno(LOG_WARNING, errno, "cannot raise the limit of open files, ignoring");
}

static int block_signals(void)
{
        sigset_t mask;

        (void)sigemptyset(&mask);
        (void)sigaddset(&mask, SIGTERM);
        (void)sigaddset(&mask, SIGINT);
        (void)sigaddset(&mask, SIGHUP);
        (void)sigaddset(&mask, SIGCHLD);
        return sigprocmask(SIG_BLOCK, &mask, NULL) < 0 ? -errno : 0;
}

static void free_names(char ***names)
{
        if (!*names)
                return;
        for (char **n = *names; *n; n++)
                free(*n);
        free(*names);
}

/* ------------------------------------------------------------------------------------------------ broker */

static int run_broker(void)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(free_names) char **names = NULL;
        Config *config = NULL;
        Manager *manager = NULL;
        int n, fd, r;

        log_open("pmbrokerd");
        n = sd_listen_fds_with_names(/* unset_environment= */ true, &names);
        fd = n > 0 ? take_passed_fd(n, names, "clients") : -EBADF;
        if (fd < 0 || sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) <= 0) {
                log_error("no listening socket named \"clients\" was passed: start pmbrokerd.socket, or use "
                          "--socket PATH");
                return -EINVAL;
        }
        if (geteuid() == 0) {
                log_error("the broker must not run as root");
                return -EPERM;
        }
        /* It starts no program, and whoever takes it over shall not either. */
        r = sandbox_forbid_exec();
        if (r < 0)
                log_warning("cannot forbid execve(2): %s, ignoring", strerrordesc_np(-r));
        r = load_config(&config);
        if (r < 0)
                return r;
        raise_nofile();
        r = block_signals();
        if (r >= 0)
                r = sd_event_new(&event);
        if (r < 0) {
                config_free(config);
                return log_errno(LOG_ERR, r, "cannot start");
        }
        r = manager_new(
                &(ManagerOptions){
                        .event = event,
                        .listen_fd = fd,
                        .jobs_path = arg_jobs,
                        .config_path = arg_config ?: CONFIG_DEFAULT_PATH,
                        .config_must_exist = arg_config != NULL,
                        .admin_uid = arg_admin_uid,
                },
                config, &manager);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot start the broker");
        r = manager_run(manager);
        manager_free(manager);
        return r;
}

/* ------------------------------------------------------------------------------------------- provisioner */

typedef struct ProvisionerProcess {
        Provisioner *provisioner;
        Config *config;
} ProvisionerProcess;

static int reload_provisioner(char *reason, size_t size, void *userdata)
{
        ProvisionerProcess *p = userdata;
        const char *store = NULL;
        Config *config;
        int r;

        r = reload_begin(
                arg_config ?: CONFIG_DEFAULT_PATH, arg_config != NULL, &config, /* ret_message= */ NULL);
        if (r < 0)
                (void)snprintf(reason, size,
                        "the provisioner cannot read the configuration; its journal says more");
        else {
                r = provisioner_reload(p->provisioner, config->stores, (uint32_t)config->n_stores, &store);
                if (r < 0) {
                        (void)snprintf(reason, size, "%s%s: %s", store ? "store " : "the provisioner",
                                store ?: "",
                                r == -EBUSY ? "it holds pools, and cannot go or be changed so"
                                            : strerror(-r));
                        (void)log_errno(LOG_ERR, r,
                                "cannot use the new configuration%s%s, the old one stays",
                                store ? " of store " : "", store ?: "");
                        config_free(config);
                } else {
                        config_free(p->config);
                        p->config = config;
                        log_info("configuration read again");
                }
        }
        reload_end();
        return r;
}

static int on_provisioner_sighup(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
        char reason[256];

        (void)source;
        (void)si;
        (void)reload_provisioner(reason, sizeof(reason), userdata);
        return 0;
}

static int find_uid(const char *user, uint32_t *ret)
{
        const struct passwd *pw;

        if (parse_u32(user, ret) >= 0)
                return 0;
        pw = getpwnam(user);
        if (!pw) {
                log_error("there is no user %s: run systemd-sysusers, or name another by --user", user);
                return -EINVAL;
        }
        *ret = pw->pw_uid;
        return 0;
}

/* What systemd sets may be a list; the first is ours. */
static const char *directory(const char *arg, const char *variable)
{
        const char *s = arg ?: getenv(variable);

        return s && s[0] == '/' && !strchr(s, ':') ? s : NULL;
}

static int run_provisioner(void)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(free_names) char **names = NULL;
        ProvisionerProcess process = {0};
        const char *state_dir, *runtime_dir;
        int n, fd, ns_fd, keep, r;
        uint32_t uid;

        log_open("pmbroker-provisioner");
        n = sd_listen_fds_with_names(/* unset_environment= */ true, &names);
        fd = n > 0 ? take_passed_fd(n, names, "jobs") : -EBADF;
        ns_fd = n > 0 ? take_passed_fd(n, names, "mntns") : -EBADF;
        if (fd < 0 || sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) <= 0) {
                log_error(
                        "no listening socket named \"jobs\" was passed: start pmbroker-provisioner.socket");
                return -EINVAL;
        }
        state_dir = directory(arg_state_dir, "STATE_DIRECTORY");
        runtime_dir = directory(arg_runtime_dir, "RUNTIME_DIRECTORY");
        if (!state_dir || !runtime_dir) {
                log_error("--state-dir and --runtime-dir have to be absolute paths");
                return -EINVAL;
        }
        r = find_uid(arg_user, &uid);
        if (r < 0)
                return r;
        r = load_config(&process.config);
        if (r < 0)
                return r;
        raise_nofile();
        r = block_signals();
        if (r >= 0)
                r = sd_event_new(&event);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGHUP, on_provisioner_sighup, &process);
        if (r >= 0)
                r = sd_event_set_watchdog(event, true);
        if (r >= 0)
                r = provisioner_new(
                        &(ProvisionerOptions){
                                .event = event,
                                .listen_fd = fd,
                                .broker_uid = uid,
                                .state_dir = state_dir,
                                .runtime_dir = runtime_dir,
                                .mount_ns_fd = ns_fd,
                                .has_fd_keeper = getenv("NOTIFY_SOCKET") != NULL,
                                .stores = process.config->stores,
                                .n_stores = (uint32_t)process.config->n_stores,
                                .reload = reload_provisioner,
                                .userdata = &process,
                        },
                        &process.provisioner);
        if (r < 0) {
                config_free(process.config);
                return log_errno(LOG_ERR, r, "cannot start the provisioner");
        }
        keep = provisioner_mount_ns_fd(process.provisioner);
        if (keep >= 0 && ns_fd < 0)
                (void)sd_pid_notify_with_fds(
                        0, /* unset_environment= */ false, "FDSTORE=1\nFDNAME=mntns", &keep, 1);
        (void)sd_notify(0, "READY=1");
        r = sd_event_loop(event);
        provisioner_free(process.provisioner);
        config_free(process.config);
        return r;
}

/* -------------------------------------------------------------------------------------------------- main */

static int run_check_config(void)
{
        _cleanup_free_ char *message = NULL;
        _cleanup_(cleanup_config_free) Config *config = NULL;
        int r = config_load(arg_config ?: CONFIG_DEFAULT_PATH, arg_config != NULL, &config, &message);

        if (r < 0) {
                (void)fprintf(stderr, "%s\n", message ?: strerror(-r));
                if (r == -ENOENT)
                        (void)fputs("Without --config the defaults hold when there is no file.\n", stderr);
                return r;
        }
        if (!arg_config && access(CONFIG_DEFAULT_PATH, F_OK) < 0)
                (void)fputs("There is no " CONFIG_DEFAULT_PATH
                            ": these are the defaults, and what drop-ins say.\n",
                        stderr);
        config_dump(config, stdout);
        return 0;
}

int main(int argc, char **argv)
{
        int r = parse_argv(argc, argv);

        if (r > 0)
                return r - 1;

        switch (arg_mode) {
        case MODE_BROKER:
                r = run_broker();
                break;
        case MODE_PROVISIONER:
                r = run_provisioner();
                break;
        case MODE_STANDALONE:
                log_open("pmbrokerd");
                r = supervisor_run(&(SupervisorOptions){
                        .socket_path = arg_socket,
                        .config_path = arg_config ?: CONFIG_DEFAULT_PATH,
                        .config_must_exist = arg_config != NULL,
                        .state_dir = arg_state_dir,
                        .user = arg_user,
                        .log_level = arg_log_level,
                });
                break;
        case MODE_CHECK_CONFIG:
                r = run_check_config();
                break;
        case MODE_NONE:
                break;
        }
        return r < 0 ? EXIT_FAILURE : r;
}
