/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * From files to sections: reads the configuration files line by line and assigns by the table. What goes
 * across settings is config.c's to check, and it reports the same way. Used by config.c alone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/list.h"
#include "config-table.h"

typedef struct Where {
        const char *file;
        unsigned line; /* 0: nowhere, the built-in default */
} Where;

/* All [KIND NAME] sections of one name, in whatever files they are. */
typedef struct Section {
        SectionKind kind;
        char name[JOB_NAME_MAX];
        Where where;                 /* its first heading */
        Where set[CONFIG_TABLE_MAX]; /* by row of the table: the last assignment */
        bool broken;                 /* something in it was refused: cross checks would only repeat that */
        SectionSettings settings;
        List section_link;
} Section;

_Static_assert(sizeof((Section){0}.name) == sizeof((TenantConfig){0}.name), "one kind of name");

/* What config_load() really returns: the sections stay, for the dump. */
typedef struct LoadedConfig {
        Config config;
        ConfigMemory memory;
        List sections; /* Section.section_link, in order of appearance; the default tenant last */
} LoadedConfig;

/* NULL if there is none. */
Section *config_find_section(const LoadedConfig *loaded, SectionKind kind, const char *name);
/* A section of nothing but defaults; NULL: out of memory. */
Section *config_add_section(LoadedConfig *loaded, SectionKind kind, const char *name, Where where);

/* What is wrong with the files, as text, up to 20 times. */
typedef struct ConfigErrors {
        FILE *f;
        char *text;
        size_t size;
        unsigned n;
        int error; /* the first negative errno that is not about text */
} ConfigErrors;

int config_errors_init(ConfigErrors *errors); /* 0 or -ENOMEM */
void config_errors_deinit(ConfigErrors *errors);
/* "FILE:LINE: [SECTION] KEY=: reason"; section, key and line may be missing. Marks the section broken. */
void config_report(ConfigErrors *errors, Where where, Section *section, const char *key, const char *format,
        ...) __attribute__((format(printf, 5, 6)));
/* Something that no text is to blame for. */
void config_fail(ConfigErrors *errors, int error);
/* The text, the caller's to free; NULL when there is none or no memory for it. Nothing can be reported any
 * more. */
char *config_errors_take(ConfigErrors *errors);

/* Read `path` and then its drop-ins into `loaded`. What went wrong is in `errors`. */
void config_read(LoadedConfig *loaded, const char *path, bool must_exist, ConfigErrors *errors);
