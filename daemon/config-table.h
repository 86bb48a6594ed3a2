/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The settings as a table: section, key, type, target, default, help. config.c reads files with it and
 * writes dumps with it; the tests hold conf/pmbrokerd.conf and pmbrokerd.conf(5) against it. Nobody else
 * includes this.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"

/* Memory that lives as long as the Config; freed all at once. */
typedef struct ConfigChunk ConfigChunk;
struct ConfigChunk {
        ConfigChunk *next;
        _Alignas(max_align_t) unsigned char bytes[];
};

typedef struct ConfigMemory {
        ConfigChunk *chunks;
} ConfigMemory;

void *config_alloc(ConfigMemory *memory, size_t size); /* zeroed; NULL: out of memory */
char *config_strdup(ConfigMemory *memory, const char *s);

/* An item of a list setting: a name of a user, a group or a store, or a glob. */
typedef struct Word Word;
struct Word {
        Word *next;
        const char *text;
        uint32_t id; /* users and groups: the number */
};

typedef enum SectionKind {
        SECTION_BROKER,
        SECTION_STORE,
        SECTION_TENANT,
        _SECTION_KIND_MAX,
} SectionKind;

/* "Broker", "Store", "Tenant" */
const char *section_kind_to_string(SectionKind kind);

/* What the settings of one section are written to. */
typedef struct BrokerSettings {
        char *admin_group;
        char *observer_group;
        Limits limits;
        bool default_tenant;
} BrokerSettings;

typedef struct StoreSettings {
        unsigned type; /* JobStoreKind */
        uint64_t size; /* bytes; 0: percent counts */
        unsigned percent;
        char *path;
        unsigned huge;     /* HugePages */
        unsigned allocate; /* 0: touch, 1: create */
        char *region;
        char *adopt;
        unsigned filesystem; /* FsdaxFilesystem */
        unsigned scrub;      /* ScrubWhen */
        unsigned provision;  /* 0: auto, 1: manual */
        bool require_dax;
        bool init_labels;
        bool trusted_tenants;
        bool drained;
} StoreSettings;

typedef struct TenantSettings {
        Word *users;
        Word *groups;
        Word *units;
        Word *slices;
        uint64_t bytes_max;
        unsigned percent;
        uint32_t pools_max;
        uint64_t pool_bytes_max;
        Word *stores;
} TenantSettings;

typedef union SectionSettings {
        BrokerSettings broker;
        StoreSettings store;
        TenantSettings tenant;
} SectionSettings;

typedef struct Setting Setting;

typedef struct SettingContext {
        ConfigMemory *memory;
        char reason[192]; /* why a value was refused */
} SettingContext;

/*
 * parse() returns 0, -EINVAL with the reason in the context, or -ENOMEM; only success changes anything.
 * print() writes whole lines that parse() reads back to the same value.
 */
typedef struct SettingType {
        int (*parse)(const Setting *setting, const char *value, SectionSettings *settings,
                SettingContext *context);
        void (*print)(const Setting *setting, const SectionSettings *settings, FILE *f);
} SettingType;

/* config-types.c */
extern const SettingType config_type_number, config_type_time, config_type_switch, config_type_text,
        config_type_enum, config_type_store_size, config_type_size_limit, config_type_quota,
        config_type_path, config_type_region, config_type_adopt, config_type_user_list,
        config_type_group_list, config_type_unit_list, config_type_slice_list, config_type_store_list;

/* "tmpfs" and so on, as in Type=. */
const char *store_type_to_string(unsigned type);
/* Of a set of types. */
#define STORE_TYPE(type) (1U << (type))

/* A name or number of a group: 0, -EINVAL with the reason, -ENOMEM. */
int config_lookup_group(const char *text, uint32_t *ret, SettingContext *context);

struct Setting {
        SectionKind section;
        const char *key;
        const SettingType *type;
        size_t offset;            /* of the target in its SectionSettings */
        const char *initial;      /* the default, as it would stand in the file; NULL: empty */
        uint64_t min, max;        /* numbers, times and sizes */
        const char *const *names; /* enums: by value; NULL entries are unused values */
        size_t n_names;
        unsigned store_types; /* STORE_TYPE()s that it is for; 0: any */
        const char *help;     /* one line */
};

#define CONFIG_TABLE_MAX 40

extern const Setting config_table[];
extern const size_t config_table_size; /* at most CONFIG_TABLE_MAX */
