/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's ABI besides the names of its functions, which are in debian/libpmbroker0.symbols: the types of functions,
 * the layout of structures, the values of constants. It is compiled and never run. What does not compile any more
 * would break programs that are installed: within a minor version (from 1.0 on: a major one) lines of this file are
 * added, never changed. HACKING.md, "The library's ABI", says what may be added where.
 *
 * The numbers are those of x86-64, the only architecture that there is.
 */

#include <pmbroker.h>

#define SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
#define FIELD(type, field, at, kind)                                                              \
        _Static_assert(offsetof(struct type, field) == (at), #type "." #field);                   \
        _Static_assert(__builtin_types_compatible_p(__typeof__(((struct type *)0)->field), kind), \
                #type "." #field)
#define VALUE(constant, number) _Static_assert((constant) == (number), #constant)

/* --------------------------------------------------------------------------------------------- structures */

SIZE(pmb_pool_options, 40);
FIELD(pmb_pool_options, size, 0, uint64_t);
FIELD(pmb_pool_options, max_size, 8, uint64_t);
FIELD(pmb_pool_options, store, 16, const char *);
FIELD(pmb_pool_options, name, 24, const char *);
FIELD(pmb_pool_options, flags, 32, uint64_t);

SIZE(pmb_pool_info, 56);
FIELD(pmb_pool_info, id, 0, uint64_t);
FIELD(pmb_pool_info, size, 8, uint64_t);
FIELD(pmb_pool_info, max_size, 16, uint64_t);
FIELD(pmb_pool_info, page_size, 24, uint64_t);
FIELD(pmb_pool_info, store, 32, const char *);
FIELD(pmb_pool_info, tenant, 40, const char *);
FIELD(pmb_pool_info, name, 48, const char *);

SIZE(pmb_pool_stats, 144);
FIELD(pmb_pool_stats, limit, 0, uint64_t);
FIELD(pmb_pool_stats, backed, 8, uint64_t);
FIELD(pmb_pool_stats, max_size, 16, uint64_t);
FIELD(pmb_pool_stats, allocated, 24, uint64_t);
FIELD(pmb_pool_stats, blocks, 32, uint64_t);
FIELD(pmb_pool_stats, cached, 40, uint64_t);
FIELD(pmb_pool_stats, free, 48, uint64_t);
FIELD(pmb_pool_stats, largest_free, 56, uint64_t);
FIELD(pmb_pool_stats, fragmentation, 64, uint64_t);
FIELD(pmb_pool_stats, refusals, 72, uint64_t);
FIELD(pmb_pool_stats, refused_full, 80, uint64_t);
FIELD(pmb_pool_stats, refused_shape, 88, uint64_t);
FIELD(pmb_pool_stats, refused_size, 96, uint64_t);
FIELD(pmb_pool_stats, refused_misuse, 104, uint64_t);
FIELD(pmb_pool_stats, refused_dead, 112, uint64_t);
FIELD(pmb_pool_stats, given_back, 120, uint64_t);
FIELD(pmb_pool_stats, caches, 128, uint64_t);
FIELD(pmb_pool_stats, steals, 136, uint64_t);

SIZE(pmb_class_stats, 24);
FIELD(pmb_class_stats, size, 0, uint64_t);
FIELD(pmb_class_stats, allocated, 8, uint64_t);
FIELD(pmb_class_stats, cached, 16, uint64_t);

SIZE(pmb_event, 32);
FIELD(pmb_event, type, 0, enum pmb_event_type);
FIELD(pmb_event, pool, 8, struct pmb_pool *);
FIELD(pmb_event, size, 16, uint64_t);
FIELD(pmb_event, target, 24, uint64_t);

SIZE(pmb_fault, 48);
FIELD(pmb_fault, reason, 0, enum pmb_fault_reason);
FIELD(pmb_fault, pool, 8, struct pmb_pool *);
FIELD(pmb_fault, id, 16, uint64_t);
FIELD(pmb_fault, offset, 24, uint64_t);
FIELD(pmb_fault, length, 32, uint64_t);
FIELD(pmb_fault, address, 40, const void *);

/* ---------------------------------------------------------------------------------------------- constants */

VALUE(PMB_CLIENT_NO_THREAD, 1);

VALUE(PMB_POOL_RAW, 1);
VALUE(PMB_POOL_AUTO_GROW, 2);
VALUE(PMB_POOL_COPY_ON_FORK, 4);
VALUE(PMB_POOL_SHARE_ON_FORK, 8);

VALUE(PMB_STATS_CLASSES, 1);

VALUE(PMB_MISUSE_INVALID, 1);
VALUE(PMB_MISUSE_DOUBLE, 2);
VALUE(PMB_MISUSE_SIZE, 3);

VALUE(PMB_FAULT_GONE, 1);
VALUE(PMB_FAULT_BROKEN, 2);

VALUE(PMB_EVENT_RESIZED, 1);
VALUE(PMB_EVENT_RECLAIM, 2);
VALUE(PMB_EVENT_REVOKED, 3);
VALUE(PMB_EVENT_RECONNECTED, 4);
VALUE(PMB_EVENT_CLOSING, 5);
VALUE(PMB_EVENT_REVOKING, 6);
VALUE(PMB_EVENT_DAMAGED, 7);
VALUE(PMB_UNIT, 2097152);
_Static_assert(sizeof(enum pmb_misuse) == 4 && sizeof(enum pmb_event_type) == 4 &&
                       sizeof(enum pmb_fault_reason) == 4,
        "enumerations");

/* ---------------------------------------------------------------------------------------------- functions */

const char *pmb_version(void);
int pmb_client_connect(const char *socket_path, unsigned flags, struct pmb_client **ret);
struct pmb_client *pmb_client_ref(struct pmb_client *client);
struct pmb_client *pmb_client_unref(struct pmb_client *client);
int pmb_client_fd(struct pmb_client *client);
int pmb_client_dispatch(struct pmb_client *client);
int pmb_pool_create(
        struct pmb_client *client, const struct pmb_pool_options *options, struct pmb_pool **ret);
struct pmb_pool *pmb_pool_close(struct pmb_pool *pool);
int pmb_pool_resize(struct pmb_pool *pool, uint64_t size);
int64_t pmb_pool_trim(struct pmb_pool *pool, uint64_t keep);
int pmb_pool_give_back(struct pmb_pool *pool, uint32_t first, uint32_t count);
int pmb_pool_prefault(struct pmb_pool *pool, uint64_t bytes, unsigned threads,
        int (*progress)(uint64_t done, uint64_t total, void *userdata), void *userdata);
int pmb_pool_info(struct pmb_pool *pool, struct pmb_pool_info *ret);
int pmb_pool_stats(struct pmb_pool *pool, struct pmb_pool_stats *ret);
int pmb_pool_stats_classes(struct pmb_pool *pool, struct pmb_class_stats *classes, unsigned n);
int pmb_pool_stats_json(struct pmb_pool *pool, unsigned flags, char *buf, size_t size);
void *pmb_pool_base(struct pmb_pool *pool);
struct pmb_pool *pmb_pool_of(const void *ptr);
int pmb_pool_explain(struct pmb_pool *pool, char *buf, size_t size);
int pmb_client_explain(struct pmb_client *client, char *buf, size_t size);
void *pmb_malloc(struct pmb_pool *pool, size_t size);
void *pmb_calloc(struct pmb_pool *pool, size_t n, size_t size);
void *pmb_realloc(struct pmb_pool *pool, void *ptr, size_t size);
void pmb_free(struct pmb_pool *pool, void *ptr);
void *pmb_aligned_alloc(struct pmb_pool *pool, size_t alignment, size_t size);
int pmb_posix_memalign(struct pmb_pool *pool, void **ret, size_t alignment, size_t size);
size_t pmb_usable_size(struct pmb_pool *pool, const void *ptr);
void pmb_free_sized(struct pmb_pool *pool, void *ptr, size_t size);
void *pmb_defrag(struct pmb_pool *pool, void *ptr);
void pmb_set_misuse_handler(
        void (*handler)(enum pmb_misuse what, struct pmb_pool *pool, const void *ptr, void *userdata),
        void *userdata);
int pmb_set_fault_handler(int (*handler)(const struct pmb_fault *fault, void *userdata), void *userdata);
void pmb_client_set_handler(struct pmb_client *client,
        void (*handler)(const struct pmb_event *event, void *userdata), void *userdata);
