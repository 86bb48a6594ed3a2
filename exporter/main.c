/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmbroker-metrics: `pmbrokerctl metrics` over HTTP, for Prometheus. systemd listens (pmbroker-metrics.socket) and starts
 * this at the first connection; libmicrohttpd speaks HTTP. Each request asks the broker anew, over a session of its own,
 * as a user who may look and nothing else. There is no state, so that any signal may end it.
 */

#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/openmetrics.h"
#include "ctl/overview.h"

/* Prometheus needs one connection; what is beyond is somebody's mistake, or malice. */
#define CONNECTIONS_MAX        32
#define CONNECTIONS_PER_IP_MAX 16
#define CONNECTION_MEMORY_MAX  16384 /* bytes: headers */
#define TIMEOUT_SEC            10

#define TEXT_TYPE "text/plain; charset=utf-8"

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
        void *text, size_t size, bool owned)
{
        struct MHD_Response *response = MHD_create_response_from_buffer(
                size, text, owned ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
        enum MHD_Result r;

        if (!response) {
                if (owned)
                        free(text);
                return MHD_NO;
        }
        r = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
        if (r == MHD_YES && status == MHD_HTTP_METHOD_NOT_ALLOWED)
                r = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
        if (r == MHD_YES)
                r = MHD_queue_response(connection, status, response);
        MHD_destroy_response(response);
        return r;
}

static enum MHD_Result say(struct MHD_Connection *connection, unsigned status, const char *text)
{
        return answer(
                connection, status, TEXT_TYPE, (void *)(uintptr_t)text, strlen(text), /* owned= */ false);
}

/* As text, malloc'd; NULL when the broker does not answer (it was said on stderr) or memory runs out. */
static char *scrape(size_t *ret_size)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(overview_done) Overview overview = {0};
        Arguments arguments = {.quiet = true};
        char *text = NULL;
        FILE *f;

        if (ctl_connect(&arguments, &c) != EXIT_DONE ||
                overview_fetch(c, OVERVIEW_METRICS, &overview) != EXIT_DONE)
                return NULL;
        f = open_memstream(&text, ret_size);
        if (!f)
                return NULL;
        openmetrics_write(&overview, f);
        if (fclose(f) == 0)
                return text;
        free(text);
        return NULL;
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection, const char *url,
        const char *method, const char *version, const char *upload, size_t *upload_size, void **state)
{
        size_t size;
        char *text;

        (void)userdata;
        (void)version;
        (void)upload;
        (void)upload_size;
        (void)state;
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
                return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        if (strcmp(url, "/metrics") != 0)
                return say(connection, MHD_HTTP_NOT_FOUND, "only /metrics is here\n");
        text = scrape(&size);
        if (!text)
                return say(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                        "the broker does not answer, or shows nothing to this user\n");
        return answer(connection, MHD_HTTP_OK, OPENMETRICS_CONTENT_TYPE, text, size, /* owned= */ true);
}

int main(int argc, char *argv[])
{
        struct MHD_Daemon *daemon;

        if (argc == 2 && strcmp(argv[1], "--version") == 0) {
                (void)puts("pmbroker-metrics " PMBROKER_VERSION);
                return EXIT_SUCCESS;
        }
        if (argc > 1) {
                (void)fputs("Usage: pmbroker-metrics [--help | --version]\n"
                            "Serve /metrics on the socket that systemd passes: see pmbroker-metrics(8).\n",
                        strcmp(argv[1], "--help") == 0 ? stdout : stderr);
                return strcmp(argv[1], "--help") == 0 ? EXIT_SUCCESS : EXIT_USAGE;
        }
        if (sd_listen_fds(/* unset_environment= */ 1) != 1 ||
                sd_is_socket(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
                (void)fputs("pmbroker-metrics: no listening stream socket was passed: start "
                            "pmbroker-metrics.socket\n",
                        stderr);
                return EXIT_FAILURE;
        }
        (void)signal(SIGPIPE, SIG_IGN);
        daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL, MHD_OPTION_LISTEN_SOCKET,
                SD_LISTEN_FDS_START, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                MHD_OPTION_PER_IP_CONNECTION_LIMIT, CONNECTIONS_PER_IP_MAX,
                MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_MAX,
                MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_SEC, MHD_OPTION_END);
        if (!daemon) {
                (void)fputs("pmbroker-metrics: cannot serve the socket\n", stderr);
                return EXIT_FAILURE;
        }
        while (MHD_run_wait(daemon, -1) == MHD_YES)
                ;
        return EXIT_FAILURE;
}
