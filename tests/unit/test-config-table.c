/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of settings, the file that shows them all, and the manual page say the same. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <grp.h>
#include <inttypes.h>

#include "base/parse.h"
#include "config-fixture.h"

/* From the top of the source tree, where the tests are run. */
static char *read_document(const char *path)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = fopen(path, "re");

        if (!f)
                fail_msg("%s: %s (run from the top of the source tree)", path, strerrordesc_np(errno));
        assert_true(getdelim(&text, &size, '\0', f) > 0);
        assert_int_equal(fclose(f), 0);
        return text;
}

/* The sections in order, each setting commented with its help above it and its default, and nothing else. */
static void test_conf_agrees(void **state)
{
        static const char *const headings[] = {"[Broker]", "#[Store ram]", "#[Tenant default]"};
        _cleanup_free_ char *text = read_document("conf/pmbrokerd.conf"), *expected = NULL, *rest = NULL;
        size_t n;
        FILE *f = open_memstream(&expected, &n);
        char *body;

        (void)state;
        assert_non_null(f);
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *s = &config_table[i];

                if (i == 0 || s->section != config_table[i - 1].section)
                        (void)fprintf(f, "%s\n", headings[s->section]);
                (void)fprintf(f, "# %s\n#%s=%s\n", s->help, s->key, s->initial ? s->initial : "");
        }
        assert_int_equal(fclose(f), 0);

        /* Leave out what explains the sections: comments that follow a blank line. */
        body = strstr(text, "\n[Broker]\n");
        assert_non_null(body);
        f = open_memstream(&rest, &n);
        assert_non_null(f);
        for (char *line, *p = body + 1; (line = strsep(&p, "\n")) != NULL && p;) {
                static bool prose;

                if (line[0] == '\0')
                        prose = true;
                else if (line[0] != '#' || line[1] != ' ')
                        prose = false;
                if (line[0] != '\0' && !prose)
                        (void)fprintf(f, "%s\n", line);
        }
        assert_int_equal(fclose(f), 0);
        assert_string_equal(rest, expected);
}

static bool is_of_another_type(const char *line)
{
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *s = &config_table[i];
                size_t n = strlen(s->key);

                if (s->store_types != 0 && !(s->store_types & STORE_TYPE(JOB_STORE_TMPFS)) && s->initial &&
                        strncmp(line, s->key, n) == 0 && line[n] == '=')
                        return true;
        }
        return false;
}

static void test_conf_loads(void **state)
{
        Fixture *t = *state;
        _cleanup_free_ char *text = read_document("conf/pmbrokerd.conf"), *nothing = NULL, *as_is = NULL,
                            *uncommented = NULL;
        char *to = text;

        {
                _cleanup_(cleanup_config_free) Config *config = load(t);

                nothing = dump(config);
        }
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, text);

                as_is = dump(config);
        }
        assert_string_equal(as_is, nothing);

        /* Uncomment everything, but for the one line whose default is softer than what it says, and what is not for
         * the type of store that is the default. */
        for (const char *p = text; *p; p++)
                if (!(*p == '#' && !is_of_another_type(p + 1) && (p == text || p[-1] == '\n') &&
                            p[1] != ' ' && p[1] != '\n' &&
                            (strncmp(p, "#AdminGroup=", 12) != 0 || getgrnam("pmbroker-admin")) &&
                            (strncmp(p, "#ObserverGroup=", 15) != 0 || getgrnam("pmbroker-observer"))))
                        *to++ = *p;
        *to = '\0';
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, text);

                uncommented = dump(config);
        }
        assert_string_equal(uncommented, nothing);
}

static char *must_find(char *text, const char *what)
{
        char *hit = strstr(text, what);

        if (!hit) {
                fail_msg("no \"%s\" in:\n%.500s", what, text);
                abort(); /* the compiler does not know that fail_msg() never returns */
        }
        return hit;
}

static void test_man_agrees(void **state)
{
        static const char *const headings[] = {
                "\n.SH [BROKER]", "\n.SH [STORE NAME]", "\n.SH [TENANT NAME]"};
        _cleanup_free_ char *text = read_document("man/pmbrokerd.conf.5");
        size_t n = 0;

        (void)state;
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *s = &config_table[i];
                char *section = must_find(text, headings[s->section]), *entry, *copy, *end, *next;
                char want[128], buf[FORMAT_SIZE_MAX];

                (void)snprintf(want, sizeof(want), "\n.TP\n\\fB%s=\\fR", s->key);
                entry = must_find(section, want);
                end = must_find(section + 1, "\n.SH ");
                assert_true(entry < end);
                next = strstr(entry + 1, "\n.TP\n");
                copy = strndup(entry, (size_t)((next && next < end ? next : end) - entry));
                assert_non_null(copy);
                if (s->initial)
                        (void)snprintf(want, sizeof(want), "\nDefault: \\fB%s\\fR.", s->initial);
                else
                        (void)snprintf(want, sizeof(want), "\nDefault: none.");
                (void)must_find(copy, want);
                if (s->max > 0) {
                        if (s->type == &config_type_number && s->max == UINT32_MAX)
                                (void)snprintf(want, sizeof(want), "from %" PRIu64, s->min);
                        else if (s->type == &config_type_number)
                                (void)snprintf(
                                        want, sizeof(want), "from %" PRIu64 " to %" PRIu64, s->min, s->max);
                        else if (s->type == &config_type_time)
                                (void)snprintf(want, sizeof(want), "from %s to 24h", s->min ? "1ms" : "0");
                        else
                                (void)snprintf(
                                        want, sizeof(want), "from 2M to %s", format_size(buf, s->max));
                        (void)must_find(copy, want);
                }
                for (size_t k = 0; k < s->n_names; k++) {
                        (void)snprintf(want, sizeof(want), "\\fB%s\\fR", s->names[k] ? s->names[k] : "");
                        if (s->names[k])
                                (void)must_find(copy, want);
                }
                free(copy);
        }
        /* ...and no setting that does not exist */
        for (const char *p = text; (p = strstr(p, "\n.TP\n\\fB")) != NULL; p++)
                n += p[strcspn(p + 8, "=\\\n") + 8] == '=';
        assert_int_equal(n, config_table_size);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_conf_agrees, setup, teardown),
                cmocka_unit_test_setup_teardown(test_conf_loads, setup, teardown),
                cmocka_unit_test(test_man_agrees),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
