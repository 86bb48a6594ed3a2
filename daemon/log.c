/* SPDX-License-Identifier: BSD-3-Clause */
/* Logging: see log.h. Never disturbs errno, so that a caller can log first and judge afterwards. */

#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "journal.h"

#define MESSAGE_MAX 4096
#define FIELDS_MAX  (JOURNAL_FIELDS_MAX - 3) /* what every record has */
#define ERROR_MAX   128                      /* room that is kept for ": strerror(error)" */

/* A message comes from anywhere in the process, so this one state belongs to the process. */
static struct {
        const char *who;
        int level;
        bool level_is_set; /* by log_set_level(), which counts more than the environment */
        bool journal;
} log_state = {.who = "pmbrokerd", .level = LOG_INFO};

/* $JOURNAL_STREAM says which file systemd connected to the journal; stderr may be another one by now. */
static bool stderr_is_journal(void)
{
        const char *s = getenv("JOURNAL_STREAM");
        uintmax_t device, inode;
        struct stat st;
        char end;

        if (!s || sscanf(s, "%ju:%ju%c", &device, &inode, &end) != 2)
                return false;
        return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

int log_level_from_string(const char *s, int *ret)
{
        static const char *const names[] = {
                [LOG_EMERG] = "emerg",
                [LOG_ALERT] = "alert",
                [LOG_CRIT] = "crit",
                [LOG_ERR] = "error",
                [LOG_WARNING] = "warning",
                [LOG_NOTICE] = "notice",
                [LOG_INFO] = "info",
                [LOG_DEBUG] = "debug",
        };

        for (int i = 0; i <= LOG_DEBUG; i++)
                if (strcmp(s, names[i]) == 0 || (s[0] == '0' + i && s[1] == '\0')) {
                        *ret = i;
                        return 0;
                }
        return -EINVAL;
}

void log_set_level(int level)
{
        log_state.level = level;
        log_state.level_is_set = true;
}

void log_open(const char *who)
{
        int saved = errno, level;
        const char *s = getenv("PMBROKER_LOG_LEVEL");

        log_state.who = who;
        log_state.journal = stderr_is_journal();
        if (s && log_level_from_string(s, &level) >= 0) {
                if (!log_state.level_is_set)
                        log_state.level = level;
        } else if (s)
                log_warning("PMBROKER_LOG_LEVEL=%s is not a level, ignoring", s);
        errno = saved;
}

/* In one call, so that lines of several processes do not mix. Where it cannot be written nobody can be told. The journal's
 * stream is a socket, and not waited for; others are files, or the terminal of somebody who looks. */
static void put_stream(const char *before, const char *line)
{
        struct iovec parts[] = {
                {(void *)(uintptr_t)before, strlen(before)},
                {(void *)(uintptr_t)log_state.who, strlen(log_state.who)},
                {(void *)(uintptr_t) ": ", 2},
                {(void *)(uintptr_t)line, strlen(line)},
                {(void *)(uintptr_t) "\n", 1},
        };

        const struct msghdr msg = {.msg_iov = parts, .msg_iovlen = ELEMENTSOF(parts)};

        if (log_state.journal &&
                (sendmsg(STDERR_FILENO, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != ENOTSOCK))
                return;
        while (writev(STDERR_FILENO, parts, ELEMENTSOF(parts)) < 0 && errno == EINTR)
                ;
}

/* A record with these fields; what cannot be one is a line. `message` is without control characters. */
static void put_record(int level, const char *message, const char *const *fields, size_t n)
{
        char text[MESSAGE_MAX + sizeof("MESSAGE=")], priority[16], who[64];
        struct iovec parts[FIELDS_MAX + 3];
        size_t k = 0;

        (void)snprintf(text, sizeof(text), "MESSAGE=%s", message);
        (void)snprintf(priority, sizeof(priority), "PRIORITY=%d", level & LOG_PRIMASK);
        (void)snprintf(who, sizeof(who), "SYSLOG_IDENTIFIER=%s", log_state.who);
        parts[k++] = (struct iovec){text, strlen(text)};
        parts[k++] = (struct iovec){priority, strlen(priority)};
        parts[k++] = (struct iovec){who, strlen(who)};
        for (size_t i = 0; i < n && i < FIELDS_MAX; i++)
                parts[k++] = (struct iovec){(void *)(uintptr_t)fields[i], strlen(fields[i])};
        if (journal_send(parts, k) >= 0)
                return;
        /* The stream may still take it, with the priority in front of it: see sd-daemon(3). */
        (void)snprintf(priority, sizeof(priority), "<%d>", level & LOG_PRIMASK);
        put_stream(priority, message);
}

/* One line, already free of control characters. */
static void put_line(int level, int error, const char *line)
{
        char number[32];
        const char *fields[] = {number};

        if (!log_state.journal) {
                put_stream("", line);
                return;
        }
        (void)snprintf(number, sizeof(number), "ERRNO=%d", error);
        put_record(level, line, fields, error != 0);
}

/* Several lines become several messages. Control characters may come from strangers: terminals obey some of
 * them. */
static void put_text(int level, int error, char *text)
{
        char *rest = text, *line;

        while ((line = strsep(&rest, "\n")) != NULL) {
                for (char *p = line; *p; p++)
                        if ((unsigned char)*p < ' ' || *p == 0x7f)
                                *p = '?';
                if (*line)
                        put_line(level, error, line);
        }
}

void log_full(int level, const char *format, ...)
{
        int saved = errno;
        char text[MESSAGE_MAX];
        va_list ap;

        if (level > log_state.level)
                return;
        va_start(ap, format);
        errno = saved; /* for %m */
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        put_text(level, 0, text);
        errno = saved;
}

int log_errno(int level, int error, const char *format, ...)
{
        int saved = errno;
        char text[MESSAGE_MAX];
        size_t n;
        va_list ap;

        error = abs(error);
        if (level > log_state.level)
                return -error;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text) - ERROR_MAX, format, ap);
        va_end(ap);
        n = strlen(text);
        errno = error;
        (void)snprintf(text + n, sizeof(text) - n, ": %m");
        put_text(level, error, text);
        errno = saved;
        return -error;
}

void log_fields(int level, const char *const *fields, size_t n, const char *message)
{
        int saved = errno;
        char text[MESSAGE_MAX];

        if (level > log_state.level)
                return;
        (void)snprintf(text, sizeof(text), "%s", message);
        for (char *p = text; *p; p++)
                if ((unsigned char)*p < ' ' || *p == 0x7f)
                        *p = '?';
        if (log_state.journal)
                put_record(level, text, fields, n);
        else
                put_stream("", text);
        errno = saved;
}

void log_lines(int level, const char *text)
{
        for (const char *p = text; p && *p;) {
                size_t n = strcspn(p, "\n");

                log_full(level, "%.*s", (int)n, p);
                p += n + (p[n] == '\n');
        }
}
