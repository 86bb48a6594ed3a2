/* SPDX-License-Identifier: BSD-3-Clause */
/* From the text of a value to the value and back: one type after the other. See config-table.h for the
 * contract. */

#include "config-table.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>

#include "base/parse.h"

static __attribute__((format(printf, 2, 3))) int refuse(SettingContext *context, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(context->reason, sizeof(context->reason), format, ap);
        va_end(ap);
        return -EINVAL;
}

static void *target_of(const Setting *setting, SectionSettings *settings)
{
        return (char *)settings + setting->offset;
}

static const void *source_of(const Setting *setting, const SectionSettings *settings)
{
        return (const char *)settings + setting->offset;
}

/* ------------------------------------------------------------------------ numbers, times, switches, text */

static int parse_number(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        uint32_t *target = target_of(setting, settings);
        uint32_t v;

        if (setting->max == UINT32_MAX && strcmp(value, "infinity") == 0) {
                *target = UINT32_MAX;
                return 0;
        }
        if (parse_u32(value, &v) < 0 || v < setting->min || v > setting->max)
                return refuse(context, "\"%s\" is not a number from %" PRIu64 " to %" PRIu64 "%s", value,
                        setting->min, setting->max, setting->max == UINT32_MAX ? " or \"infinity\"" : "");
        *target = v;
        return 0;
}

static void print_number(const Setting *setting, const SectionSettings *settings, FILE *f)
{
        const uint32_t *v = source_of(setting, settings);

        if (setting->max == UINT32_MAX && *v == UINT32_MAX)
                (void)fprintf(f, "%s=infinity\n", setting->key);
        else
                (void)fprintf(f, "%s=%" PRIu32 "\n", setting->key, *v);
}

const SettingType config_type_number = {parse_number, print_number};

/* The largest unit that leaves no remainder: exact, unlike format_age(). */
static char *time_to_string(char buf[static FORMAT_SIZE_MAX], uint64_t usec)
{
        static const struct {
                uint64_t usec;
                const char *name;
        } units[] = {
                {3600 * USEC_PER_SEC, "h"},
                {60 * USEC_PER_SEC, "min"},
                {USEC_PER_SEC, "s"},
                {1000, "ms"},
                {1, "us"},
        };
        size_t i = 0;

        if (usec == 0)
                i = 2; /* "0s" */
        while (usec % units[i].usec != 0)
                i++;
        (void)snprintf(buf, FORMAT_SIZE_MAX, "%" PRIu64 "%s", usec / units[i].usec, units[i].name);
        return buf;
}

static int parse_time(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        uint64_t *target = target_of(setting, settings);
        char min[FORMAT_SIZE_MAX], max[FORMAT_SIZE_MAX];
        uint64_t v;

        if (parse_usec(value, &v) < 0 || v < setting->min || v > setting->max)
                return refuse(context, "\"%s\" is not a time from %s to %s, such as 30, 500ms, 10s or 5min",
                        value, time_to_string(min, setting->min), time_to_string(max, setting->max));
        *target = v;
        return 0;
}

static void print_time(const Setting *setting, const SectionSettings *settings, FILE *f)
{
        const uint64_t *v = source_of(setting, settings);
        char buf[FORMAT_SIZE_MAX];

        (void)fprintf(f, "%s=%s\n", setting->key, time_to_string(buf, *v));
}

const SettingType config_type_time = {parse_time, print_time};

static int parse_switch(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        bool *target = target_of(setting, settings);

        if (parse_bool(value, target) < 0)
                return refuse(context, "\"%s\" is neither yes nor no", value);
        return 0;
}

static void print_switch(const Setting *setting, const SectionSettings *settings, FILE *f)
{
        const bool *v = source_of(setting, settings);

        (void)fprintf(f, "%s=%s\n", setting->key, *v ? "yes" : "no");
}

const SettingType config_type_switch = {parse_switch, print_switch};

static int parse_text(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        char **target = target_of(setting, settings);
        char *s = config_strdup(context->memory, value);

        if (!s)
                return -ENOMEM;
        *target = s;
        return 0;
}

static void print_text(const Setting *setting, const SectionSettings *settings, FILE *f)
{
        char *const *v = source_of(setting, settings);

        if (*v)
                (void)fprintf(f, "%s=%s\n", setting->key, *v);
}

const SettingType config_type_text = {parse_text, print_text};

/* ------------------------------------------------------------------------------------------ one of a few */

static int parse_enum(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        unsigned *target = target_of(setting, settings);
        char list[96] = "";

        for (size_t i = 0; i < setting->n_names; i++) {
                size_t n = strlen(list);

                if (!setting->names[i])
                        continue;
                if (strcmp(value, setting->names[i]) == 0) {
                        *target = (unsigned)i;
                        return 0;
                }
                (void)snprintf(list + n, sizeof(list) - n, "%s%s", n > 0 ? ", " : "", setting->names[i]);
        }
        return refuse(context, "\"%s\" is none of %s", value, list);
}

static void print_enum(const Setting *setting, const SectionSettings *settings, FILE *f)
{
        const unsigned *v = source_of(setting, settings);

        assert(*v < setting->n_names && setting->names[*v]);
        (void)fprintf(f, "%s=%s\n", setting->key, setting->names[*v]);
}

const SettingType config_type_enum = {parse_enum, print_enum};

/* ------------------------------------------------------------------------------------------------- sizes */

/* The largest suffix that leaves no remainder: exact, unlike format_size(). */
static void print_size(uint64_t bytes, FILE *f)
{
        static const char suffixes[] = {'\0', 'K', 'M', 'G', 'T', 'P', 'E'};
        size_t i = 0;

        while (bytes > 0 && bytes % KIB == 0 && i + 1 < sizeof(suffixes)) {
                bytes /= KIB;
                i++;
        }
        (void)fprintf(f, "%" PRIu64, bytes);
        if (suffixes[i])
                (void)fputc(suffixes[i], f);
}

/* Pools come in units, so the part of a limit beyond a whole unit is of no use to anybody. */
static int check_size(
        const Setting *setting, const char *value, uint64_t bytes, uint64_t *ret, SettingContext *context)
{
        char min[FORMAT_SIZE_MAX], max[FORMAT_SIZE_MAX];

        if (bytes < setting->min || bytes > setting->max)
                return refuse(context, "\"%s\" is not from %s to %s", value, format_size(min, setting->min),
                        format_size(max, setting->max));
        *ret = bytes - bytes % JOB_UNIT;
        return 0;
}

/* A size or a percentage: `size` and behind it `percent`, of which one is 0. */
static int parse_store_size(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        StoreSettings *store = &settings->store;
        uint64_t bytes;
        unsigned percent;
        int r;

        if (parse_size_or_percent(value, &bytes, &percent) < 0)
                return refuse(context,
                        "\"%s\" is neither a size such as 512M nor a percentage from 1%% to 100%%", value);
        if (percent == 0) {
                r = check_size(setting, value, bytes, &bytes, context);
                if (r < 0)
                        return r;
        }
        store->size = bytes;
        store->percent = percent;
        return 0;
}

static void print_store_size(const Setting *setting, const SectionSettings *settings, FILE *f)
{
        (void)fprintf(f, "%s=", setting->key);
        if (settings->store.percent > 0)
                (void)fprintf(f, "%u%%", settings->store.percent);
        else
                print_size(settings->store.size, f);
        (void)fputc('\n', f);
}

const SettingType config_type_store_size = {parse_store_size, print_store_size};

static int parse_size_limit(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        uint64_t *target = target_of(setting, settings);
        uint64_t bytes;

        if (strcmp(value, "infinity") == 0) {
                *target = UINT64_MAX;
                return 0;
        }
        if (parse_size(value, &bytes) < 0)
                return refuse(context, "\"%s\" is neither a size such as 512M nor \"infinity\"", value);
        return check_size(setting, value, bytes, target, context);
}

static void print_size_limit(const Setting *setting, const SectionSettings *settings, FILE *f)
{
        const uint64_t *v = source_of(setting, settings);

        (void)fprintf(f, "%s=", setting->key);
        if (*v == UINT64_MAX)
                (void)fputs("infinity", f);
        else
                print_size(*v, f);
        (void)fputc('\n', f);
}

const SettingType config_type_size_limit = {parse_size_limit, print_size_limit};

/* The next blank-separated word of *s, or NULL; *s moves behind it. */
static const char *next_word(const char **s, size_t *ret_length)
{
        static const char blanks[] = " \t";
        const char *start = *s + strspn(*s, blanks);

        *ret_length = strcspn(start, blanks);
        *s = start + *ret_length;
        return *ret_length > 0 ? start : NULL;
}

/* "infinity", a size, a percentage, or a size and a percentage. */
static int parse_quota(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        TenantSettings *tenant = &settings->tenant;
        uint64_t size = UINT64_MAX, bytes;
        unsigned percent = 0, percentage;
        const char *rest = value, *word;
        size_t length, n_words = 0;
        char text[64];
        int r;

        if (strcmp(value, "infinity") == 0) {
                tenant->bytes_max = UINT64_MAX;
                tenant->percent = 0;
                return 0;
        }
        while ((word = next_word(&rest, &length)) != NULL) {
                n_words++;
                (void)snprintf(text, sizeof(text), "%.*s", (int)length, word);
                if (length >= sizeof(text) || parse_size_or_percent(text, &bytes, &percentage) < 0)
                        return refuse(context,
                                "\"%s\" is neither a size such as 512M nor a percentage from 1%% to 100%% "
                                "nor \"infinity\"",
                                text);
                if (percentage > 0) {
                        percent = percentage;
                        continue;
                }
                r = check_size(setting, text, bytes, &size, context);
                if (r < 0)
                        return r;
        }
        if (n_words != (size_t)(size != UINT64_MAX) + (percent > 0) || n_words == 0)
                return refuse(context, "\"%s\" is not one size, one percentage, or one of each", value);
        tenant->bytes_max = size;
        tenant->percent = percent;
        return 0;
}

static void print_quota(const Setting *setting, const SectionSettings *settings, FILE *f)
{
        const TenantSettings *tenant = &settings->tenant;

        (void)fprintf(f, "%s=", setting->key);
        if (tenant->bytes_max == UINT64_MAX && tenant->percent == 0)
                (void)fputs("infinity", f);
        if (tenant->bytes_max != UINT64_MAX)
                print_size(tenant->bytes_max, f);
        if (tenant->percent > 0)
                (void)fprintf(f, "%s%u%%", tenant->bytes_max != UINT64_MAX ? " " : "", tenant->percent);
        (void)fputc('\n', f);
}

const SettingType config_type_quota = {parse_quota, print_quota};

/* -------------------------------------------------------------------------------------------------- path */

/* Stored without double or trailing slashes, so that equal directories are equal strings. Empty: none. */
static int parse_path(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        char **target = target_of(setting, settings);
        char *path, *end;

        if (value[0] == '\0') {
                *target = NULL;
                return 0;
        }
        if (value[0] != '/')
                return refuse(context, "\"%s\" is not an absolute path", value);
        path = end = config_alloc(context->memory, strlen(value) + 1);
        if (!path)
                return -ENOMEM;
        for (const char *p = value; *p;) {
                size_t n;

                p += strspn(p, "/");
                n = strcspn(p, "/");
                if (n == 0)
                        break;
                if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
                        return refuse(context, "\"%s\" contains \".\" or \"..\"", value);
                *end++ = '/';
                memcpy(end, p, n);
                end += n;
                p += n;
        }
        if (end == path)
                return refuse(context, "the root directory cannot be a store");
        *target = path;
        return 0;
}

const SettingType config_type_path = {parse_path, print_text};

/* -------------------------------------------------------------------------------- regions and namespaces */

/* "0x140000000", as `pmbrokerctl regions` prints it, in one way of writing. */
static int parse_address(const char *value, char text[static 24])
{
        uint64_t address;

        if (value[0] != '0' || value[1] != 'x' || parse_hex64(value + 2, &address) < 0)
                return -EINVAL;
        (void)snprintf(text, 24, "0x%" PRIx64, address);
        return 0;
}

static int set_text(
        const Setting *setting, const char *text, SectionSettings *settings, SettingContext *context)
{
        char **target = target_of(setting, settings);

        *target = NULL;
        if (text[0] == '\0')
                return 0;
        *target = config_strdup(context->memory, text);
        return *target ? 0 : -ENOMEM;
}

static int parse_region(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        char text[24];
        uint32_t number;

        if (strncmp(value, "region", 6) == 0 && parse_u32(value + 6, &number) >= 0)
                (void)snprintf(text, sizeof(text), "region%" PRIu32, number);
        else if (value[0] == '\0')
                text[0] = '\0';
        else if (parse_address(value, text) < 0)
                return refuse(context,
                        "\"%s\" is neither a region such as region0 nor a physical address such as "
                        "0x140000000",
                        value);
        return set_text(setting, text, settings, context);
}

const SettingType config_type_region = {parse_region, print_text};

static bool is_uuid(const char *s)
{
        size_t i = 0;

        for (; s[i]; i++)
                if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-'
                                                            : !strchr("0123456789abcdefABCDEF", s[i]))
                        return false;
        return i == 36;
}

static int parse_adopt(
        const Setting *setting, const char *value, SectionSettings *settings, SettingContext *context)
{
        char text[40];

        if (is_uuid(value)) {
                for (size_t i = 0; i <= 36; i++)
                        text[i] =
                                (char)(value[i] >= 'A' && value[i] <= 'F' ? value[i] - 'A' + 'a' : value[i]);
        } else if (strstr(value, "pmem") || strncmp(value, "/dev/", 5) == 0 || strncmp(value, "dax", 3) == 0)
                return refuse(context,
                        "\"%s\" may be another device after the next boot: say the namespace's uuid or, "
                        "without labels, the address, as pmbrokerctl regions prints them",
                        value);
        else if (value[0] == '\0')
                text[0] = '\0';
        else if (parse_address(value, text) < 0)
                return refuse(context,
                        "\"%s\" is neither the uuid of a namespace nor the physical address of a region",
                        value);
        return set_text(setting, text, settings, context);
}

const SettingType config_type_adopt = {parse_adopt, print_text};

/* ------------------------------------------------------------------------------------------------- lists */

/* A name that the user database does not know is an answer, anything else a failure to ask. */
static int lookup(const char *name, bool is_group, uint32_t *ret, SettingContext *context)
{
        const char *what = is_group ? "group" : "user";
        _cleanup_free_ char *buf = NULL;
        int r;

        for (size_t size = 4 * KIB;; size *= 4) {
                struct passwd user, *found_user = NULL;
                struct group group, *found_group = NULL;
                char *bigger = realloc(buf, size);

                if (!bigger)
                        return -ENOMEM;
                buf = bigger;
                if (is_group)
                        r = getgrnam_r(name, &group, buf, size, &found_group);
                else
                        r = getpwnam_r(name, &user, buf, size, &found_user);
                if (r == ERANGE && size < 16 * MIB) /* groups with thousands of members exist */
                        continue;
                if (found_group || found_user) {
                        *ret = found_group ? found_group->gr_gid : found_user->pw_uid;
                        return 0;
                }
                break;
        }
        if (r == ENOMEM)
                return -ENOMEM;
        if (r != 0 && r != ENOENT && r != ESRCH)
                return refuse(
                        context, "%s \"%s\" could not be looked up: %s", what, name, strerrordesc_np(r));
        return refuse(context, "there is no %s \"%s\"", what, name);
}

/* Digits are the number itself, whether or not it has a name. -1 means "none" to the kernel. */
static int number_of(const char *text, uint32_t *ret, SettingContext *context)
{
        if (text[strspn(text, "0123456789")] != '\0')
                return -ENOENT;
        if (parse_u32(text, ret) < 0 || *ret == UINT32_MAX)
                return refuse(context, "%s is not a number from 0 to %" PRIu32, text, UINT32_MAX - 1);
        return 0;
}

int config_lookup_group(const char *text, uint32_t *ret, SettingContext *context)
{
        int r = number_of(text, ret, context);

        return r == -ENOENT ? lookup(text, /* is_group= */ true, ret, context) : r;
}

static int check_user(Word *word, SettingContext *context)
{
        int r = number_of(word->text, &word->id, context);

        return r == -ENOENT ? lookup(word->text, /* is_group= */ false, &word->id, context) : r;
}

static int check_group(Word *word, SettingContext *context)
{
        return config_lookup_group(word->text, &word->id, context);
}

/* A glob that could never match is a mistake, not a condition. `suffix` NULL: any type of unit will do. */
static int check_glob(const Word *word, const char *suffix, const char *example, SettingContext *context)
{
        const char *dot = strrchr(word->text, '.');
        bool is_full = dot && dot > word->text && (!suffix || strcmp(dot, suffix) == 0);

        for (const char *p = word->text; *p; p++)
                if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                            strchr(":-_.\\@*?", *p)))
                        return refuse(
                                context, "\"%s\" contains a character that no unit name has", word->text);
        if (!is_full && word->text[strlen(word->text) - 1] != '*')
                return refuse(context, "\"%s\" is not a full name such as %s, and does not end in *",
                        word->text, example);
        return 0;
}

static int check_unit(Word *word, SettingContext *context)
{
        return check_glob(word, NULL, "batch.service", context);
}

static int check_slice(Word *word, SettingContext *context)
{
        return check_glob(word, ".slice", "batch.slice", context);
}

static int check_store(Word *word, SettingContext *context)
{
        if (!name_is_valid(word->text))
                return refuse(context, "\"%s\" is not a name: 1 to 32 of a-z 0-9 . _ -", word->text);
        return 0;
}

/* Add the words of the value; the empty value empties the list. All or nothing. */
static int parse_list(const Setting *setting, const char *value, SectionSettings *settings,
        SettingContext *context, int (*check)(Word *word, SettingContext *context))
{
        Word **target = target_of(setting, settings), **end = target;
        Word *added = NULL, **tail = &added;
        const char *word;
        size_t length;
        int r;

        while ((word = next_word(&value, &length)) != NULL) {
                Word *w = config_alloc(context->memory, sizeof(*w));
                char *text = config_alloc(context->memory, length + 1);

                if (!w || !text)
                        return -ENOMEM;
                memcpy(text, word, length);
                w->text = text;
                r = check(w, context);
                if (r < 0)
                        return r;
                *tail = w;
                tail = &w->next;
        }
        if (!added) {
                *target = NULL;
                return 0;
        }
        while (*end)
                end = &(*end)->next;
        *end = added;
        return 0;
}

/* One per line: a line has room for any name, not for any number of them. */
static void print_list(const Setting *setting, const SectionSettings *settings, FILE *f)
{
        Word *const *list = source_of(setting, settings);

        for (const Word *w = *list; w; w = w->next)
                (void)fprintf(f, "%s=%s\n", setting->key, w->text);
}

#define DEFINE_LIST_TYPE(name)                                                      \
        static int parse_##name##_list(const Setting *setting, const char *value,   \
                SectionSettings *settings, SettingContext *context)                 \
        {                                                                           \
                return parse_list(setting, value, settings, context, check_##name); \
        }                                                                           \
        const SettingType config_type_##name##_list = {parse_##name##_list, print_list}

DEFINE_LIST_TYPE(user);
DEFINE_LIST_TYPE(group);
DEFINE_LIST_TYPE(unit);
DEFINE_LIST_TYPE(slice);
DEFINE_LIST_TYPE(store);
