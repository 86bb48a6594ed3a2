/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inih splits a line into name and value. It cuts lines of 200 bytes and section names of 50 without a word,
 * takes an indented line for the continuation of the value above, does not tell of empty sections, and drops
 * what follows a heading's "]". So every line goes through on_line() first, which counts it, sees to
 * headings itself, and hands inih nothing but short lines without indentation.
 */

#include "config-file.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/parse.h"

#define LINE_BYTES_MAX 190
#define ERRORS_MAX     20

typedef struct Reader {
        LoadedConfig *loaded;
        ConfigErrors *errors;

        /* the file being read */
        FILE *f;
        Where where;
        char *line;
        size_t line_size;
        Section *section;  /* NULL: none yet, or the heading was refused */
        bool skip;         /* the heading was refused: so is what stands below, silently */
        bool line_is_open; /* inih has been given a setting and has not called back */
} Reader;

/* ------------------------------------------------------------------------------------------------ errors */

int config_errors_init(ConfigErrors *errors)
{
        *errors = (ConfigErrors){0};
        errors->f = open_memstream(&errors->text, &errors->size);
        return errors->f ? 0 : -ENOMEM;
}

void config_errors_deinit(ConfigErrors *errors)
{
        if (errors->f)
                (void)fclose(errors->f);
        free(errors->text);
        *errors = (ConfigErrors){0};
}

void config_report(
        ConfigErrors *errors, Where where, Section *section, const char *key, const char *format, ...)
{
        va_list ap;

        if (section)
                section->broken = true;
        if (errors->n++ >= ERRORS_MAX)
                return;
        (void)fprintf(errors->f, "%s:", where.file);
        if (where.line > 0)
                (void)fprintf(errors->f, "%u:", where.line);
        if (section)
                (void)fprintf(errors->f, " [%s%s%s]", section_kind_to_string(section->kind),
                        section->name[0] ? " " : "", section->name);
        if (key)
                (void)fprintf(errors->f, " %s=", key);
        (void)fputs(section || key ? ": " : " ", errors->f);
        va_start(ap, format);
        (void)vfprintf(errors->f, format, ap);
        va_end(ap);
        (void)fputc('\n', errors->f);
}

void config_fail(ConfigErrors *errors, int error)
{
        if (errors->error == 0)
                errors->error = error;
}

char *config_errors_take(ConfigErrors *errors)
{
        bool bad;

        if (errors->n > ERRORS_MAX)
                (void)fprintf(errors->f, "and %u more\n", errors->n - ERRORS_MAX);
        bad = ferror(errors->f) != 0;
        bad |= fclose(errors->f) != 0;
        errors->f = NULL;
        if (bad || errors->size == 0)
                return NULL;
        errors->text[errors->size - 1] = '\0'; /* no newline at the end */
        return TAKE_PTR(errors->text);
}

/* ---------------------------------------------------------------------------------------------- sections */

Section *config_find_section(const LoadedConfig *loaded, SectionKind kind, const char *name)
{
        list_for_each (link, &loaded->sections) {
                Section *s = list_entry(link, Section, section_link);

                if (s->kind == kind && strcmp(s->name, name) == 0)
                        return s;
        }
        return NULL;
}

Section *config_add_section(LoadedConfig *loaded, SectionKind kind, const char *name, Where where)
{
        SettingContext context = {.memory = &loaded->memory};
        Section *s = config_alloc(&loaded->memory, sizeof(*s));

        if (!s)
                return NULL;
        s->kind = kind;
        assert(strlen(name) < sizeof(s->name));
        memcpy(s->name, name, strlen(name) + 1);
        s->where = where;
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *setting = &config_table[i];
                int r;

                if (setting->section != kind || !setting->initial)
                        continue;
                r = setting->type->parse(setting, setting->initial, &s->settings, &context);
                if (r < 0) {
                        assert(r == -ENOMEM);
                        return NULL;
                }
        }
        list_append(&loaded->sections, &s->section_link);
        return s;
}

/* ------------------------------------------------------------------------------------------------- lines */

/* "[Broker]", "[Store NAME]", "[Tenant NAME]"; `s` begins with the bracket and is cut up. */
static void on_heading(Reader *reader, char *s)
{
        char *end = strchr(s, ']'), *name;
        SectionKind kind;

        reader->section = NULL;
        reader->skip = true;
        if (!end) {
                config_report(reader->errors, reader->where, NULL, NULL, "the heading has no \"]\"");
                return;
        }
        *end++ = '\0';
        end += strspn(end, " \t");
        if (*end != '\0' && *end != ';' && *end != '#') {
                config_report(
                        reader->errors, reader->where, NULL, NULL, "[%s]: text after the heading", s + 1);
                return;
        }
        s++;
        name = s + strcspn(s, " \t");
        if (*name != '\0') {
                *name++ = '\0';
                name += strspn(name, " \t");
        }
        for (kind = 0; kind < _SECTION_KIND_MAX; kind++)
                if (strcmp(s, section_kind_to_string(kind)) == 0)
                        break;
        if (kind == _SECTION_KIND_MAX || (kind == SECTION_BROKER && *name != '\0')) {
                config_report(reader->errors, reader->where, NULL, NULL, "[%s%s%s]: unknown section", s,
                        *name ? " " : "", name);
                return;
        }
        if (kind != SECTION_BROKER && !name_is_valid(name)) {
                config_report(reader->errors, reader->where, NULL, NULL,
                        "[%s %s]: the name is not 1 to 32 of a-z 0-9 . _ -", s, name);
                return;
        }
        reader->section = config_find_section(reader->loaded, kind, name);
        if (!reader->section) {
                reader->section = config_add_section(reader->loaded, kind, name, reader->where);
                if (!reader->section)
                        config_fail(reader->errors, -ENOMEM);
        }
        if (reader->section)
                reader->skip = false;
}

static void finish_line(Reader *reader)
{
        if (reader->line_is_open)
                config_report(reader->errors, reader->where, reader->section, NULL,
                        "the line is not of the form SETTING=VALUE");
        reader->line_is_open = false;
}

/* The fgets() that inih reads with. A line that is dealt with here reaches inih as an empty one. */
static char *on_line(char *buffer, int size, void *userdata)
{
        Reader *reader = userdata;
        ssize_t n;
        char *s;

        finish_line(reader);
        errno = 0;
        n = getline(&reader->line, &reader->line_size, reader->f);
        if (n < 0) {
                if (!feof(reader->f)) {
                        config_fail(reader->errors, errno > 0 ? -errno : -EIO);
                        config_report(
                                reader->errors, reader->where, NULL, NULL, "%s", strerrordesc_np(errno));
                }
                return NULL;
        }
        reader->where.line++;
        buffer[0] = '\0';

        if (n > 0 && reader->line[n - 1] == '\n')
                n--;
        if (n > 0 && reader->line[n - 1] == '\r')
                n--;
        reader->line[n] = '\0';
        if (n > LINE_BYTES_MAX || n >= size) {
                config_report(reader->errors, reader->where, reader->section, NULL,
                        "the line has %zd bytes, more than %d", n, LINE_BYTES_MAX);
                return buffer;
        }
        if (strlen(reader->line) != (size_t)n) {
                config_report(reader->errors, reader->where, reader->section, NULL,
                        "the line contains a NUL byte");
                return buffer;
        }
        s = reader->line;
        if (reader->where.line == 1 && strncmp(s, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
                s += 3;
        while (isspace((unsigned char)*s))
                s++;
        if (*s == '[')
                on_heading(reader, s);
        else if (*s != '\0' && *s != ';' && *s != '#') {
                reader->line_is_open = true;
                memcpy(buffer, s, strlen(s) + 1);
        }
        return buffer;
}

/* The section is the one that on_heading() saw. Returns non-zero: go on, whatever happened. */
static int on_setting(void *userdata, const char *inih_section, const char *key, const char *value)
{
        Reader *reader = userdata;
        SettingContext context = {.memory = &reader->loaded->memory};
        int r;

        (void)inih_section;
        reader->line_is_open = false;
        if (reader->skip)
                return 1;
        if (!reader->section) {
                config_report(reader->errors, reader->where, NULL, key,
                        "the setting stands before the first section");
                return 1;
        }
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *setting = &config_table[i];

                if (setting->section != reader->section->kind || strcmp(setting->key, key) != 0)
                        continue;
                r = setting->type->parse(setting, value, &reader->section->settings, &context);
                if (r == -EINVAL)
                        config_report(
                                reader->errors, reader->where, reader->section, key, "%s", context.reason);
                else if (r < 0)
                        config_fail(reader->errors, r);
                else /* an empty list or path is as if it had not been set */
                        reader->section->set[i] = value[0] || setting->initial ? reader->where : (Where){0};
                return 1;
        }
        config_report(reader->errors, reader->where, reader->section, key, "unknown setting");
        return 1;
}

/* ------------------------------------------------------------------------------------------------- files */

static void read_file(Reader *reader, const char *path, bool must_exist)
{
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        const char *file;

        file = config_strdup(&reader->loaded->memory, path);
        if (!file) {
                config_fail(reader->errors, -ENOMEM);
                return;
        }
        reader->where = (Where){.file = file};

        /* O_NONBLOCK: a FIFO in this place shall be refused, not waited for. */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0) {
                if (errno == ENOENT && !must_exist)
                        return;
                config_fail(reader->errors, -errno);
                config_report(reader->errors, reader->where, NULL, NULL, "%s", strerrordesc_np(errno));
                return;
        }
        if (fstat(fd, &st) < 0) {
                config_fail(reader->errors, -errno);
                config_report(reader->errors, reader->where, NULL, NULL, "%s", strerrordesc_np(errno));
                return;
        }
        if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)) /* a link to /dev/null masks a file */
                return;
        if (!S_ISREG(st.st_mode)) {
                config_fail(reader->errors, -EINVAL);
                config_report(reader->errors, reader->where, NULL, NULL, "not a regular file");
                return;
        }
        reader->f = fdopen(fd, "re");
        if (!reader->f) {
                config_fail(reader->errors, -errno);
                return;
        }
        (void)TAKE_FD(fd);
        reader->section = NULL;
        reader->skip = false;
        /* Its verdict counts only the first error; ours are complete. */
        (void)ini_parse_stream(on_line, reader, on_setting, reader);
        (void)fclose(reader->f);
        reader->f = NULL;
}

static int is_drop_in(const struct dirent *entry)
{
        size_t n = strlen(entry->d_name);

        return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name); /* not by locale */
}

static void read_drop_ins(Reader *reader, const char *path)
{
        _cleanup_free_ char *directory = NULL;
        struct dirent **entries;
        int n;

        if (asprintf(&directory, "%s.d", path) < 0) {
                directory = NULL;
                config_fail(reader->errors, -ENOMEM);
                return;
        }
        n = scandir(directory, &entries, is_drop_in, by_name);
        if (n < 0) {
                if (errno == ENOENT)
                        return;
                config_fail(reader->errors, -errno);
                config_report(reader->errors, (Where){.file = directory}, NULL, NULL, "%s",
                        strerrordesc_np(errno));
                return;
        }
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *file = NULL;

                if (asprintf(&file, "%s/%s", directory, entries[i]->d_name) < 0) {
                        file = NULL;
                        config_fail(reader->errors, -ENOMEM);
                } else
                        read_file(reader, file, /* must_exist= */ true);
                free(entries[i]);
        }
        free(entries);
}

void config_read(LoadedConfig *loaded, const char *path, bool must_exist, ConfigErrors *errors)
{
        Reader reader = {.loaded = loaded, .errors = errors};

        read_file(&reader, path, must_exist);
        read_drop_ins(&reader, path);
        free(reader.line);
}
