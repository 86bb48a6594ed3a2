/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A configuration in a directory of its own, and what comes of it. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "config-table.h"
#include "config.h"

typedef struct Fixture {
        char directory[64];
        char main_file[128];
} Fixture;

static inline int setup(void **state)
{
        Fixture *t = calloc(1, sizeof(*t));

        assert_non_null(t);
        (void)strcpy(t->directory, "/tmp/test-config-XXXXXX");
        assert_non_null(mkdtemp(t->directory));
        (void)snprintf(t->main_file, sizeof(t->main_file), "%s/p.conf", t->directory);
        *state = t;
        return 0;
}

static inline int teardown(void **state)
{
        Fixture *t = *state;
        char command[128];

        (void)snprintf(command, sizeof(command), "rm -rf %s", t->directory);
        assert_int_equal(system(command), 0);
        free(t);
        return 0;
}

/* `name` is "p.conf" or "p.conf.d/NAME". */
static inline void write_bytes(Fixture *t, const char *name, const char *text, size_t n)
{
        char path[192];
        FILE *f;

        (void)snprintf(path, sizeof(path), "%s/p.conf.d", t->directory);
        (void)mkdir(path, 0755);
        (void)snprintf(path, sizeof(path), "%s/%s", t->directory, name);
        f = fopen(path, "we");
        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, n, f), n);
        assert_int_equal(fclose(f), 0);
}

static inline void write_file(Fixture *t, const char *name, const char *text)
{
        write_bytes(t, name, text, strlen(text));
}

static inline Config *load(Fixture *t)
{
        _cleanup_free_ char *message = NULL;
        Config *config = NULL;
        int r = config_load(t->main_file, /* must_exist= */ false, &config, &message);

        if (r < 0)
                fail_msg("config_load: %s: %s", strerrordesc_np(-r), message);
        assert_null(message);
        return config;
}

static inline Config *load_text(Fixture *t, const char *text)
{
        write_file(t, "p.conf", text);
        return load(t);
}

/* The message with the directory taken out: "p.conf:1: ...". */
static inline char *load_message(Fixture *t, int error)
{
        Config *const untouched = (Config *)t, *config = untouched;
        char *message = NULL, *hit;
        char prefix[80];

        assert_int_equal(config_load(t->main_file, /* must_exist= */ true, &config, &message), error);
        assert_ptr_equal(config, untouched); /* a bad reload leaves the old one in place */
        assert_non_null(message);
        (void)snprintf(prefix, sizeof(prefix), "%s/", t->directory);
        while ((hit = strstr(message, prefix)) != NULL)
                memmove(hit, hit + strlen(prefix), strlen(hit + strlen(prefix)) + 1);
        return message;
}

static inline void expect_message(Fixture *t, int error, const char *expected)
{
        _cleanup_free_ char *message = load_message(t, error);

        assert_string_equal(message, expected);
}

static inline void expect_refusal(Fixture *t, const char *text, const char *expected)
{
        write_file(t, "p.conf", text);
        expect_message(t, -EINVAL, expected);
}

static inline char *dump(const Config *config)
{
        char *text = NULL;
        size_t n;
        FILE *f = open_memstream(&text, &n);

        assert_non_null(f);
        config_dump(config, f);
        assert_int_equal(fclose(f), 0);
        return text;
}

/* "[Tenant x]" and the like, so that a line with `key` may follow. */
static inline const char *heading_for(const Setting *setting)
{
        switch (setting->section) {
        case SECTION_BROKER:
                return "[Broker]\nSessionsReserved=0\nSessionsMax=100000\n";
        case SECTION_STORE:
                return "[Store s]\n";
        default:
                return "[Tenant default]\n";
        }
}

/* The setting is taken, and the dump shows it as `shown` (NULL: not at all). */
static inline void takes(Fixture *t, const char *key, const char *value, const char *shown)
{
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *setting = &config_table[i];
                _cleanup_(cleanup_config_free) Config *config = NULL;
                _cleanup_free_ char *text = NULL, *line = NULL, *all = NULL;

                if (strcmp(setting->key, key) != 0)
                        continue;
                assert_true(asprintf(&text, "%s%s%s=%s\n", heading_for(setting),
                                    setting->store_types == STORE_TYPE(JOB_STORE_DIR) ? "Type=dir\n"
                                    : setting->store_types & STORE_TYPE(JOB_STORE_FSDAX)
                                            ? strcmp(key, "Adopt") == 0 ? "Type=fsdax\n"
                                                                        : "Type=fsdax\nRegion=region0\n"
                                            : "",
                                    key, value) > 0);
                config = load_text(t, text);
                all = dump(config);
                assert_true(asprintf(&line, "\n%s=%s\n", key, shown ? shown : "") > 0);
                if (!shown)
                        line[strlen(line) - 1] = '\0';
                if ((strstr(all, line) != NULL) != (shown != NULL))
                        fail_msg("%s=%s gave:\n%s", key, value, all);
                return;
        }
        fail_msg("no setting %s", key);
}

/* The setting is refused with this reason. */
static inline void refuses(Fixture *t, const char *key, const char *value, const char *reason)
{
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *setting = &config_table[i];
                const char *heading = heading_for(setting);
                _cleanup_free_ char *text = NULL, *message = NULL;
                char *name;

                if (strcmp(setting->key, key) != 0)
                        continue;
                assert_true(asprintf(&text, "\n\n%.*s\n\n%s=%s\n", (int)(strcspn(heading, "\n")), heading,
                                    key, value) > 0);
                name = strndup(heading, strcspn(heading, "\n"));
                assert_true(asprintf(&message, "p.conf:5: %s %s=: %s", name, key, reason) > 0);
                free(name);
                expect_refusal(t, text, message);
                return;
        }
        fail_msg("no setting %s", key);
}
