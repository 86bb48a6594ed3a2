/* SPDX-License-Identifier: BSD-3-Clause */
/* A JSON writer. */

#include "ctl/json.h"

#include <inttypes.h>
#include <stddef.h>

#define LINES 2 /* levels with one member per line */

static void new_line(const Json *json)
{
        (void)fprintf(json->out, "\n%*s", (int)json->depth * 3, "");
}

/* Decode one character of UTF-8 and move on; U+FFFD and one byte for what is not of it. */
static uint32_t next_rune(const unsigned char **s)
{
        static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
        const unsigned char *p = *s;
        unsigned more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : 1;
        uint32_t c;

        *s = p + 1;
        if (*p < 0x80)
                return *p;
        if (*p < 0xc2 || *p > 0xf4)
                return 0xfffd;
        c = *p & (0x3fu >> more);
        for (unsigned i = 1; i <= more; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0xfffd;
                c = c << 6 | (p[i] & 0x3fu);
        }
        if (c < smallest[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
                return 0xfffd;
        *s = p + 1 + more;
        return c;
}

static void print_string(FILE *out, const char *text)
{
        const unsigned char *s = (const unsigned char *)text;

        (void)fputc('"', out);
        while (*s) {
                uint32_t c = next_rune(&s);

                if (c == '"' || c == '\\')
                        (void)fprintf(out, "\\%c", (int)c);
                else if (c >= 0x20 && c < 0x7f)
                        (void)fputc((int)c, out);
                else if (c < 0x10000)
                        (void)fprintf(out, "\\u%04" PRIx32, c);
                else
                        (void)fprintf(out, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + ((c - 0x10000) >> 10),
                                0xdc00 + (c & 0x3ff));
        }
        (void)fputc('"', out);
}

/* What stands before a value: the comma, the line, the key. */
static void begin_member(Json *json, const char *key)
{
        if (json->started)
                (void)fputc(',', json->out);
        if (json->depth > 0 && json->depth <= LINES && !json->one_line)
                new_line(json);
        else if (json->started)
                (void)fputc(' ', json->out);
        json->started = true;
        if (key) {
                print_string(json->out, key);
                (void)fputs(": ", json->out);
        }
}

void json_open(Json *json, const char *key, char bracket)
{
        begin_member(json, key);
        (void)fputc(bracket, json->out);
        json->depth++;
        json->started = false;
}

void json_close(Json *json, char bracket)
{
        bool lines = json->started && json->depth <= LINES && !json->one_line;

        json->depth--;
        if (lines)
                new_line(json);
        (void)fputc(bracket, json->out);
        json->started = true;
        if (json->depth == 0)
                (void)fputc('\n', json->out);
}

void json_text(Json *json, const char *key, const char *s)
{
        begin_member(json, key);
        print_string(json->out, s);
}

void json_number(Json *json, const char *key, uint64_t number)
{
        begin_member(json, key);
        (void)fprintf(json->out, "%" PRIu64, number);
}

void json_bool(Json *json, const char *key, bool b)
{
        begin_member(json, key);
        (void)fputs(b ? "true" : "false", json->out);
}

void json_null(Json *json, const char *key)
{
        begin_member(json, key);
        (void)fputs("null", json->out);
}
