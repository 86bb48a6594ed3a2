/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/chronicle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "log.h"

#define TEXT_MAX   512
#define FIELD_MAX  96
#define FIELDS_MAX 16

/* Each is in systemd/pmbroker.catalog. The ids are for ever: a record that says something else gets another one. */
static const struct {
        const char *message_id;
        int level;
} kinds[] = {
        [PMBROKER__V1__HAPPENED_KIND__POOL_CREATED] = {"ef9107cb325d4f70ac6d4bda9b7f3c97", LOG_INFO},
        [PMBROKER__V1__HAPPENED_KIND__POOL_RESIZED] = {"0eb0f6514f54416c9a2680da2468ff8a", LOG_INFO},
        [PMBROKER__V1__HAPPENED_KIND__POOL_REVOKED] = {"2ebcfa15e41c4012b8e816fc499c76d2", LOG_NOTICE},
        [PMBROKER__V1__HAPPENED_KIND__POOL_REVOKING] = {"93e83fcae76741bb885bf0be34973d73", LOG_NOTICE},
        [PMBROKER__V1__HAPPENED_KIND__POOL_RELEASED] = {"6d3e95bc5d594887ad644559ca2458c2", LOG_INFO},
        [PMBROKER__V1__HAPPENED_KIND__REQUEST_REFUSED] = {"f363e11f5e9c477d90212166154c14a3", LOG_INFO},
        [PMBROKER__V1__HAPPENED_KIND__STORE_DRAIN] = {"74aa4701b1e74f99a892baa6a8dece1a", LOG_NOTICE},
        [PMBROKER__V1__HAPPENED_KIND__STORE_UNDRAIN] = {"9f6d14e7005d491fa16a648960f59592", LOG_NOTICE},
        [PMBROKER__V1__HAPPENED_KIND__LIMIT_SET] = {"c01597de58c04d41a07e14123ad10aa5", LOG_NOTICE},
        [PMBROKER__V1__HAPPENED_KIND__CONFIG_RELOADED] = {"074c8f7923754ce0bb3b5ccecbfe59f6", LOG_NOTICE},
        [PMBROKER__V1__HAPPENED_KIND__STORE_PROVISIONED] = {"80bf4424fb894403b8454840193cc98b", LOG_NOTICE},
        [PMBROKER__V1__HAPPENED_KIND__POOL_DAMAGED] = {"62b2592b93db4211be745f67c7d38cc0", LOG_ERR},
        [PMBROKER__V1__HAPPENED_KIND__STORE_DAMAGED] = {"439e0ca6b90d463b8acb2068441be743", LOG_ERR},
        [PMBROKER__V1__HAPPENED_KIND__STORE_DEPROVISIONED] = {"0d665d3010bc4036b6afe4d838233a00",
                LOG_NOTICE},
        [PMBROKER__V1__HAPPENED_KIND__STORE_IS_AVAILABLE] = {"4abb386da7dc423db4a11882506f5a0e", LOG_NOTICE},
        [PMBROKER__V1__HAPPENED_KIND__STORE_NOT_AVAILABLE] = {"9a9a067de91540c6aacce009b7c36346",
                LOG_NOTICE},
};

/* What is known of a happening, in one place for record and event. */
typedef struct Story {
        const char *tenant;
        const char *store;
        const char *command;
        uint32_t uid, pid;
        bool has_subject;
        char text[TEXT_MAX];
} Story;

/* --------------------------------------------------------------------------------------------------- text */

static void append(Story *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(Story *s, const char *format, ...)
{
        size_t n = strlen(s->text);
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(s->text + n, sizeof(s->text) - n, format, ap);
        va_end(ap);
}

static void tell_pool(Story *s, const Happening *h)
{
        char bytes[FORMAT_SIZE_MAX], before[FORMAT_SIZE_MAX];

        append(s, "pool %016" PRIx64 ": ", h->pool->id);
        format_size(bytes, h->bytes);
        format_size(before, h->bytes_before);
        switch (h->kind) {
        case PMBROKER__V1__HAPPENED_KIND__POOL_CREATED:
                append(s, "%s of store %s for tenant %s", bytes, s->store, s->tenant);
                break;
        case PMBROKER__V1__HAPPENED_KIND__POOL_RESIZED:
                append(s, "from %s to %s, store %s, tenant %s", before, bytes, s->store, s->tenant);
                break;
        case PMBROKER__V1__HAPPENED_KIND__POOL_REVOKING:
                append(s, "to be revoked with %s, store %s, tenant %s", bytes, s->store, s->tenant);
                break;
        case PMBROKER__V1__HAPPENED_KIND__POOL_REVOKED:
                append(s, "revoked with %s, store %s, tenant %s", bytes, s->store, s->tenant);
                break;
        case PMBROKER__V1__HAPPENED_KIND__POOL_DAMAGED:
                append(s, "some of it cannot be read, store %s, tenant %s", s->store, s->tenant);
                break;
        default:
                append(s, "released, store %s has %s back from tenant %s", s->store, before, s->tenant);
                break;
        }
        append(s, ", uid %" PRIu32 " pid %" PRIu32 " (%s)", s->uid, s->pid, s->command);
}

static void tell(Story *s, const Happening *h)
{
        char sentence[REFUSAL_SENTENCE_MAX];

        if (h->pool)
                tell_pool(s, h);
        else
                switch (h->kind) {
                case PMBROKER__V1__HAPPENED_KIND__REQUEST_REFUSED:
                        append(s, "uid %" PRIu32 " pid %" PRIu32 " (%s) refused: %s", s->uid, s->pid,
                                s->command, refusal_to_sentence(h->refusal, sentence));
                        break;
                case PMBROKER__V1__HAPPENED_KIND__STORE_DRAIN:
                        append(s, "store %s takes no new pools from now on", s->store);
                        break;
                case PMBROKER__V1__HAPPENED_KIND__STORE_UNDRAIN:
                        append(s, "store %s takes new pools again", s->store);
                        break;
                case PMBROKER__V1__HAPPENED_KIND__LIMIT_SET:
                        append(s, "tenant %s has other limits", s->tenant);
                        break;
                case PMBROKER__V1__HAPPENED_KIND__CONFIG_RELOADED:
                        append(s, "configuration read again");
                        break;
                case PMBROKER__V1__HAPPENED_KIND__STORE_IS_AVAILABLE:
                        append(s, "store %s is available", s->store);
                        break;
                case PMBROKER__V1__HAPPENED_KIND__STORE_NOT_AVAILABLE:
                        append(s, "store %s is not available", s->store);
                        break;
                case PMBROKER__V1__HAPPENED_KIND__STORE_PROVISIONED:
                        append(s, "store %s: provisioning", s->store);
                        break;
                case PMBROKER__V1__HAPPENED_KIND__STORE_DAMAGED:
                        append(s, "store %s: some of its device cannot be read", s->store);
                        break;
                default:
                        append(s, "store %s: deprovisioning", s->store);
                        break;
                }
        if (h->text)
                append(s, ": %s", h->text);
        if (h->by)
                append(s, "; uid %" PRIu32 " pid %" PRIu32 " (%s) asked for it", h->by->peer.identity.uid,
                        h->by->peer.identity.pid, h->by->peer.command);
}

static void gather(Story *s, const Happening *h)
{
        *s = (Story){
                .tenant = h->tenant ? h->tenant : "",
                .store = h->store ? h->store : "",
                .command = "",
                .has_subject = h->pool || h->refused,
        };
        if (h->pool) {
                s->tenant = tenant_name(h->pool->tenant);
                s->store = h->pool->store->info.name;
                s->uid = h->pool->owner->uid;
                s->pid = h->pool->owner->pid;
                s->command = h->pool->owner->command;
        } else if (h->refused) {
                s->uid = h->refused->peer.identity.uid;
                s->pid = h->refused->peer.identity.pid;
                s->command = h->refused->peer.command;
        }
        tell(s, h);
}

/* ------------------------------------------------------------------------------------------------- journal */

typedef struct Fields {
        char text[FIELDS_MAX][FIELD_MAX];
        const char *pointers[FIELDS_MAX];
        size_t n;
} Fields;

static void add_field(Fields *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_field(Fields *f, const char *format, ...)
{
        va_list ap;

        if (f->n == FIELDS_MAX)
                return;
        va_start(ap, format);
        (void)vsnprintf(f->text[f->n], FIELD_MAX, format, ap);
        va_end(ap);
        f->pointers[f->n] = f->text[f->n];
        f->n++;
}

static void record(const Story *s, const Happening *h)
{
        Fields f = {0};

        add_field(&f, "MESSAGE_ID=%s", kinds[h->kind].message_id);
        if (s->has_subject) {
                add_field(&f, "UID=%" PRIu32, s->uid);
                add_field(&f, "PID=%" PRIu32, s->pid);
                add_field(&f, "COMMAND=%s", s->command);
        }
        if (s->tenant[0])
                add_field(&f, "TENANT=%s", s->tenant);
        if (s->store[0])
                add_field(&f, "STORE=%s", s->store);
        if (h->pool) {
                add_field(&f, "POOL_ID=%016" PRIx64, h->pool->id);
                add_field(&f, "POOL_NAME=%s", h->pool->name);
                add_field(&f, "BYTES=%" PRIu64, h->bytes);
                add_field(&f, "BYTES_BEFORE=%" PRIu64, h->bytes_before);
        }
        if (h->refusal) {
                add_field(&f, "REFUSAL=%s", result_to_string(h->refusal->code));
                add_field(&f, "ASKED=%" PRIu64, h->refusal->asked);
                add_field(&f, "LIMIT=%" PRIu64, h->refusal->limit);
                add_field(&f, "USED=%" PRIu64, h->refusal->used);
        }
        if (h->by) {
                add_field(&f, "BY_UID=%" PRIu32, h->by->peer.identity.uid);
                add_field(&f, "BY_PID=%" PRIu32, h->by->peer.identity.pid);
        }
        log_fields(kinds[h->kind].level, f.pointers, f.n, s->text);
}

/* -------------------------------------------------------------------------------------------------- events */

static uint64_t realtime_usec(void)
{
        struct timespec ts = {0};

        (void)clock_gettime(CLOCK_REALTIME, &ts);
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static char *borrow(const char *s)
{
        return (char *)(uintptr_t)s;
}

static void tell_watchers(Server *server, const Story *s, const Happening *h)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Happened event = PMBROKER__V1__HAPPENED__INIT;

        event.kind = h->kind;
        event.time_usec = realtime_usec();
        event.tenant = borrow(s->tenant);
        event.store = borrow(s->store);
        event.uid = s->uid;
        event.pid = s->pid;
        event.command = borrow(s->command);
        event.bytes = h->bytes;
        event.bytes_before = h->bytes_before;
        event.text = borrow(s->text);
        if (h->pool)
                event.pool = h->pool->id;
        if (h->refusal)
                event.code = (Pmbroker__V1__Code)h->refusal->code;
        if (h->by) {
                event.by_admin = true;
                event.by_uid = h->by->peer.identity.uid;
                event.by_pid = h->by->peer.identity.pid;
        }
        packet.serial = ++server->next_event_serial;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_HAPPENED;
        packet.happened = &event;
        list_for_each (it, &server->sessions) {
                Session *session = list_entry(it, Session, server_link);

                if (!session->watching || session->closing)
                        continue;
                if (!session_has_room(session)) {
                        session->events_lost++;
                        server->metrics.events_lost++;
                        continue;
                }
                event.lost = session->events_lost;
                session->events_lost = 0;
                session_send(session, &packet, -EBADF);
        }
}

void chronicle(Server *server, const Happening *h)
{
        Story story;

        gather(&story, h);
        record(&story, h);
        if (server->n_watching > 0)
                tell_watchers(server, &story, h);
}

/* ------------------------------------------------------------------------------------------------ refusals */

/* Those that only mean "not now" or "not there" are no news; they are counted, as all are. */
static bool is_news(Result code)
{
        switch (code) {
        case RESULT_RETRY:
        case RESULT_BUSY:
        case RESULT_NOT_FOUND:
        case RESULT_UNSUPPORTED:
                return false;
        default:
                return true;
        }
}

void chronicle_refusal(const Session *session, const Refusal *refusal)
{
        User *user = session->user;
        Happening h = {
                .kind = PMBROKER__V1__HAPPENED_KIND__REQUEST_REFUSED,
                .refused = session,
                .refusal = refusal,
        };
        char more[64];

        if (!is_news(refusal->code))
                return;
        if (!ratelimit_take(&user->refusals, server_now(session->server))) {
                user->refusals_untold++;
                return;
        }
        if (user->refusals_untold > 0) {
                (void)snprintf(more, sizeof(more), "and %" PRIu64 " more before it", user->refusals_untold);
                h.text = more;
                user->refusals_untold = 0;
        }
        if (refusal->code == RESULT_STORE_FULL || refusal->code == RESULT_STORE_DRAINED)
                h.store = refusal->subject;
        else if (refusal->subject[0])
                h.tenant = refusal->subject;
        chronicle(session->server, &h);
}
