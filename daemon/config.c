/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading the configuration: have the files read into sections (config-file.c, by the table of
 * config-table.c), check what goes across settings, then build what the rest of the daemon sees.
 */

#include "config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "config-file.h"

/* ------------------------------------------------------------------------------------------------ memory */

void *config_alloc(ConfigMemory *memory, size_t size)
{
        ConfigChunk *chunk = calloc(1, sizeof(*chunk) + size);

        if (!chunk)
                return NULL;
        chunk->next = memory->chunks;
        memory->chunks = chunk;
        return chunk->bytes;
}

char *config_strdup(ConfigMemory *memory, const char *s)
{
        size_t n = strlen(s) + 1;
        char *copy = config_alloc(memory, n);

        return copy ? memcpy(copy, s, n) : NULL;
}

/* ------------------------------------------------------------------------------------------------ checks */

/* The last assignment of the setting at `offset` in a section of this kind. */
static Where where_set(const Section *s, size_t offset, const char **ret_key)
{
        for (size_t i = 0; i < config_table_size; i++)
                if (config_table[i].section == s->kind && config_table[i].offset == offset) {
                        *ret_key = config_table[i].key;
                        return s->set[i];
                }
        abort(); /* no such row */
}

/* Some settings are for one type of store. */
static bool applies(const Section *s, const Setting *setting)
{
        return setting->store_types == 0 || s->kind != SECTION_STORE ||
               setting->store_types & STORE_TYPE(s->settings.store.type);
}

static void complete_sections(LoadedConfig *loaded, ConfigErrors *errors)
{
        const Section *broker = config_find_section(loaded, SECTION_BROKER, "");
        Section *tenant = config_find_section(loaded, SECTION_TENANT, "default");
        bool any_store = false;

        list_for_each (link, &loaded->sections)
                any_store |= list_entry(link, Section, section_link)->kind == SECTION_STORE;
        if (!any_store && !config_add_section(loaded, SECTION_STORE, "ram", (Where){0}))
                config_fail(errors, -ENOMEM);

        if (tenant)
                list_unlink(&tenant->section_link);
        if (!broker->settings.broker.default_tenant)
                return;
        if (tenant)
                list_append(&loaded->sections, &tenant->section_link);
        else if (!config_add_section(loaded, SECTION_TENANT, "default", (Where){0}))
                config_fail(errors, -ENOMEM);
}

static void check_group(
        LoadedConfig *loaded, Section *s, size_t offset, char *name, uint32_t *ret_gid, ConfigErrors *errors)
{
        SettingContext context = {.memory = &loaded->memory};
        const char *key;
        Where where;
        int r;

        *ret_gid = UINT32_MAX;
        if (name[0] == '\0')
                return;
        r = config_lookup_group(name, ret_gid, &context);
        if (r == -ENOMEM)
                config_fail(errors, r);
        if (r != -EINVAL)
                return;
        where = where_set(s, offset, &key);
        if (where.line > 0)
                config_report(errors, where, s, key, "%s", context.reason);
        else
                name[0] = '\0'; /* nobody asked for it */
}

static void check_broker(LoadedConfig *loaded, Section *s, ConfigErrors *errors)
{
        BrokerSettings *broker = &s->settings.broker;
        Config *config = &loaded->config;
        const char *key;
        Where where;

        if (broker->limits.sessions_reserved >= broker->limits.sessions_max) {
                where = where_set(s, offsetof(SectionSettings, broker.limits.sessions_reserved), &key);
                if (where.line == 0)
                        where = where_set(s, offsetof(SectionSettings, broker.limits.sessions_max), &key);
                config_report(errors, where, s, key,
                        "SessionsReserved=%" PRIu32 " leaves nothing of SessionsMax=%" PRIu32,
                        broker->limits.sessions_reserved, broker->limits.sessions_max);
        }

        check_group(loaded, s, offsetof(SectionSettings, broker.admin_group), broker->admin_group,
                &config->admin_gid, errors);
        check_group(loaded, s, offsetof(SectionSettings, broker.observer_group), broker->observer_group,
                &config->observer_gid, errors);
}

static bool is_below(const char *path, const char *directory)
{
        size_t n = strlen(directory);

        return strncmp(path, directory, n) == 0 && path[n] == '/';
}

static bool is_set(const Section *s, size_t offset)
{
        const char *key;

        return where_set(s, offset, &key).line > 0;
}

/* Of a store on a region or a namespace. */
static void check_device(const LoadedConfig *loaded, Section *s, ConfigErrors *errors)
{
        StoreSettings *store = &s->settings.store;
        const char *key;
        Where where;

        /* The default is for memory that others need too; here nobody does. */
        if (!is_set(s, offsetof(SectionSettings, store.size)))
                store->percent = 100;
        if (!store->region && !store->adopt)
                config_report(errors, s->where, s, NULL,
                        "Type=%s needs a Region= or an Adopt=", store_type_to_string(store->type));
        where = where_set(s, offsetof(SectionSettings, store.adopt), &key);
        if (store->region && store->adopt)
                config_report(
                        errors, where, s, key, "what is adopted is in a region already: not with Region=");
        list_for_each (link, &loaded->sections) {
                const Section *other = list_entry(link, Section, section_link);

                if (other == s)
                        break;
                if (store->adopt && other->kind == SECTION_STORE && other->settings.store.adopt &&
                        strcmp(store->adopt, other->settings.store.adopt) == 0)
                        config_report(errors, where, s, key, "store %s adopts the same", other->name);
        }
}

static void check_fsdax(Section *s, ConfigErrors *errors)
{
        const StoreSettings *store = &s->settings.store;
        const char *key;
        Where where = where_set(s, offsetof(SectionSettings, store.filesystem), &key);

        if (store->filesystem == FSDAX_XFS && !store->trusted_tenants)
                config_report(errors, where, s, key,
                        "xfs cannot seal files: a client could break out of its pool; if none would, say "
                        "TrustedTenants=yes");
}

static void check_kmem(const LoadedConfig *loaded, Section *s, ConfigErrors *errors)
{
        StoreSettings *store = &s->settings.store;
        const char *key;
        Where where = where_set(s, offsetof(SectionSettings, store.region), &key);

        /* There, memory that is missing is not found elsewhere. */
        if (!is_set(s, offsetof(SectionSettings, store.allocate)))
                store->allocate = 1;
        if (!is_set(s, offsetof(SectionSettings, store.huge)))
                store->huge = HUGE_ALWAYS;
        list_for_each (link, &loaded->sections) {
                const Section *other = list_entry(link, Section, section_link);

                if (other == s)
                        break;
                if (store->region && other->kind == SECTION_STORE &&
                        other->settings.store.type == JOB_STORE_KMEM && other->settings.store.region &&
                        strcmp(store->region, other->settings.store.region) == 0)
                        config_report(errors, where, s, key,
                                "store %s has the same region: its memory is of one NUMA node, and that is "
                                "for one store",
                                other->name);
        }
}

static void report_not_for(Section *s, size_t i, ConfigErrors *errors)
{
        char types[64] = "";
        size_t n = 0;

        for (unsigned type = 0; config_table[i].store_types >> type; type++)
                if (config_table[i].store_types & STORE_TYPE(type) && n < sizeof(types))
                        n += (size_t)snprintf(types + n, sizeof(types) - n, "%s%s", n > 0 ? " or " : "",
                                store_type_to_string(type));
        config_report(errors, s->set[i], s, config_table[i].key, "the setting is only for Type=%s", types);
}

static void check_store(LoadedConfig *loaded, Section *s, ConfigErrors *errors)
{
        const StoreSettings *store = &s->settings.store;
        const char *key;
        Where where;

        for (size_t i = 0; i < config_table_size; i++)
                if (s->set[i].line > 0 && !applies(s, &config_table[i]))
                        report_not_for(s, i, errors);
        if (store->type == JOB_STORE_FSDAX || store->type == JOB_STORE_KMEM)
                check_device(loaded, s, errors);
        if (store->type == JOB_STORE_FSDAX)
                check_fsdax(s, errors);
        if (store->type == JOB_STORE_KMEM)
                check_kmem(loaded, s, errors);
        if (store->type != JOB_STORE_DIR)
                return;
        if (!store->path) {
                config_report(errors, s->where, s, NULL, "Type=dir needs a Path=");
                return;
        }
        where = where_set(s, offsetof(SectionSettings, store.path), &key);
        list_for_each (link, &loaded->sections) {
                const Section *other = list_entry(link, Section, section_link);

                if (other == s) /* later ones complain about this one */
                        break;
                if (other->kind != SECTION_STORE || other->settings.store.type != JOB_STORE_DIR ||
                        !other->settings.store.path)
                        continue;
                if (strcmp(store->path, other->settings.store.path) == 0)
                        config_report(errors, where, s, key, "the same directory as that of store %s",
                                other->name);
                else if (is_below(store->path, other->settings.store.path) ||
                         is_below(other->settings.store.path, store->path))
                        config_report(errors, where, s, key,
                                "\"%s\" and \"%s\" of store %s are one inside the other", store->path,
                                other->settings.store.path, other->name);
        }
}

static void check_tenant(LoadedConfig *loaded, Section *s, ConfigErrors *errors)
{
        const TenantSettings *tenant = &s->settings.tenant;
        const char *key;
        Where where;

        if (!tenant->users && !tenant->groups && !tenant->units && !tenant->slices &&
                strcmp(s->name, "default") != 0)
                config_report(
                        errors, s->where, s, NULL, "none of User=, Group=, Unit=, Slice= says who this is");
        for (const Word *w = tenant->stores; w; w = w->next) {
                if (config_find_section(loaded, SECTION_STORE, w->text))
                        continue;
                where = where_set(s, offsetof(SectionSettings, tenant.stores), &key);
                config_report(errors, where, s, key, "there is no [Store %s]", w->text);
        }
}

static void check_sections(LoadedConfig *loaded, ConfigErrors *errors)
{
        size_t n_stores = 0;

        list_for_each (link, &loaded->sections) {
                Section *s = list_entry(link, Section, section_link);

                if (s->kind == SECTION_STORE && ++n_stores == JOB_STORES_MAX + 1)
                        config_report(errors, s->where, s, NULL, "more than %d stores", JOB_STORES_MAX);
                if (s->broken)
                        continue;
                switch (s->kind) {
                case SECTION_BROKER:
                        check_broker(loaded, s, errors);
                        break;
                case SECTION_STORE:
                        check_store(loaded, s, errors);
                        break;
                case SECTION_TENANT:
                        check_tenant(loaded, s, errors);
                        break;
                case _SECTION_KIND_MAX:
                        abort();
                }
        }
}

/* ------------------------------------------------------------------------------------------------- build */

static void build_store(const Section *s, StoreConfig *ret)
{
        const StoreSettings *store = &s->settings.store;

        *ret = (StoreConfig){
                .kind = (JobStoreKind)store->type,
                .size = store->size,
                .percent = store->percent,
                .path = store->path,
                .huge = (HugePages)store->huge,
                .allocate = store->allocate == 1,
                .filesystem = (FsdaxFilesystem)store->filesystem,
                .scrub = (ScrubWhen)store->scrub,
                .require_dax = store->require_dax,
                .init_labels = store->init_labels,
                .manual = store->provision == 1,
                .trusted_tenants = store->trusted_tenants,
                .drained = store->drained,
        };
        /* Checked when they were parsed: they fit. */
        (void)snprintf(ret->region, sizeof(ret->region), "%s", store->region ? store->region : "");
        (void)snprintf(ret->adopt, sizeof(ret->adopt), "%s", store->adopt ? store->adopt : "");
        memcpy(ret->name, s->name, sizeof(ret->name));
}

static size_t count_words(const Word *list)
{
        size_t n = 0;

        for (; list; list = list->next)
                n++;
        return n;
}

static int build_tenant(const Section *s, ConfigMemory *memory, TenantConfig *ret)
{
        const TenantSettings *tenant = &s->settings.tenant;
        const struct {
                const Word *list;
                MatchKind kind;
        } conditions[] = {
                {tenant->users, MATCH_USER},
                {tenant->groups, MATCH_GROUP},
                {tenant->units, MATCH_UNIT},
                {tenant->slices, MATCH_SLICE},
        };
        size_t n_matches = 0, n_stores = count_words(tenant->stores), k = 0;
        Match *matches = NULL;
        const char **stores = NULL;

        for (size_t i = 0; i < ELEMENTSOF(conditions); i++)
                n_matches += count_words(conditions[i].list);
        if (n_matches > 0) {
                matches = config_alloc(memory, n_matches * sizeof(*matches));
                if (!matches)
                        return -ENOMEM;
        }
        for (size_t i = 0; i < ELEMENTSOF(conditions); i++)
                for (const Word *w = conditions[i].list; w; w = w->next)
                        matches[k++] = (Match){.kind = conditions[i].kind, .id = w->id, .glob = w->text};
        if (n_stores > 0) {
                stores = config_alloc(memory, n_stores * sizeof(*stores));
                if (!stores)
                        return -ENOMEM;
        }
        k = 0;
        for (const Word *w = tenant->stores; w; w = w->next)
                stores[k++] = w->text;

        *ret = (TenantConfig){
                .matches = matches,
                .n_matches = n_matches,
                .bytes_max = tenant->bytes_max,
                .percent = tenant->percent,
                .pools_max = tenant->pools_max,
                .pool_bytes_max = tenant->pool_bytes_max,
                .stores = stores,
                .n_stores = n_stores,
        };
        memcpy(ret->name, s->name, sizeof(ret->name));
        return 0;
}

/* The admin group's number is there already. */
static int build_config(LoadedConfig *loaded)
{
        const BrokerSettings *broker = &config_find_section(loaded, SECTION_BROKER, "")->settings.broker;
        Config *config = &loaded->config;
        size_t n_stores = 0, n_tenants = 0;
        int r;

        list_for_each (link, &loaded->sections) {
                const Section *s = list_entry(link, Section, section_link);

                n_stores += s->kind == SECTION_STORE;
                n_tenants += s->kind == SECTION_TENANT;
        }
        config->limits = broker->limits;
        config->admin_group = broker->admin_group;
        config->observer_group = broker->observer_group;
        config->stores = config_alloc(&loaded->memory, n_stores * sizeof(*config->stores));
        config->tenants = config_alloc(&loaded->memory, n_tenants * sizeof(*config->tenants));
        if (!config->stores || !config->tenants)
                return -ENOMEM;
        list_for_each (link, &loaded->sections) {
                const Section *s = list_entry(link, Section, section_link);

                if (s->kind == SECTION_STORE)
                        build_store(s, &config->stores[config->n_stores++]);
                if (s->kind == SECTION_TENANT) {
                        r = build_tenant(s, &loaded->memory, &config->tenants[config->n_tenants]);
                        if (r < 0)
                                return r;
                        config->n_tenants++;
                }
        }
        return 0;
}

/* ------------------------------------------------------------------------------------------------ public */

static void cleanup_errors(ConfigErrors *errors)
{
        config_errors_deinit(errors);
}

int config_load(const char *path, bool must_exist, Config **ret, char **ret_message)
{
        _cleanup_(cleanup_errors) ConfigErrors errors = {0};
        _cleanup_(cleanup_config_free) Config *config = NULL;
        LoadedConfig *loaded;
        int r;

        r = config_errors_init(&errors);
        if (r < 0)
                return r;
        loaded = calloc(1, sizeof(*loaded));
        if (!loaded)
                return -ENOMEM;
        list_init(&loaded->sections);
        config = &loaded->config;
        if (!config_add_section(loaded, SECTION_BROKER, "", (Where){0}))
                return -ENOMEM;

        config_read(loaded, path, must_exist, &errors);
        if (errors.error == 0)
                complete_sections(loaded, &errors);
        if (errors.error == 0)
                check_sections(loaded, &errors);
        if (errors.error == 0 && errors.n == 0)
                config_fail(&errors, build_config(loaded));
        if (errors.error < 0 || errors.n > 0) {
                *ret_message = config_errors_take(&errors);
                return errors.error < 0 ? errors.error : -EINVAL;
        }
        *ret = TAKE_PTR(config);
        return 0;
}

Config *config_free(Config *config)
{
        LoadedConfig *loaded;

        if (!config)
                return NULL;
        loaded = CONTAINER_OF(config, LoadedConfig, config);
        for (ConfigChunk *chunk = loaded->memory.chunks, *next; chunk; chunk = next) {
                next = chunk->next;
                free(chunk);
        }
        free(loaded);
        return NULL;
}

void config_dump(const Config *config, FILE *f)
{
        const LoadedConfig *loaded = CONTAINER_OF(config, const LoadedConfig, config);

        list_for_each (link, &loaded->sections) {
                const Section *s = list_entry(link, Section, section_link);

                (void)fprintf(f, "%s[%s%s%s]\n", link == loaded->sections.next ? "" : "\n",
                        section_kind_to_string(s->kind), s->name[0] ? " " : "", s->name);
                for (size_t i = 0; i < config_table_size; i++)
                        if (config_table[i].section == s->kind && applies(s, &config_table[i]))
                                config_table[i].type->print(&config_table[i], &s->settings, f);
        }
}
