/* SPDX-License-Identifier: BSD-3-Clause */
/* Text ↔ numbers: see parse.h for the contract. */

#include "base/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

/* Consume decimal digits; at least one must be there. */
static int parse_digits(const char **s, uint64_t *ret)
{
        const char *p = *s;
        uint64_t v = 0;

        if (!is_digit(*p))
                return -EINVAL;
        for (; is_digit(*p); p++)
                if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
                        __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
                        return -ERANGE;
        *s = p;
        *ret = v;
        return 0;
}

/* What stands behind the number: a power of 1024. The decimals of a plain byte count make no sense
 * (-EINVAL). */
static int parse_suffix(const char *s, unsigned *ret_shift)
{
        static const char letters[] = "BKMGTPE";
        const char *hit;

        if (*s == '\0') {
                *ret_shift = 0;
                return 0;
        }
        hit = strchr(letters, *s);
        if (!hit)
                return -EINVAL;
        *ret_shift = (unsigned)(hit - letters) * 10;
        s++;
        if (*ret_shift > 0) {
                bool binary = *s == 'i';

                s += binary;
                if (binary && *s != 'B')
                        return -EINVAL;
                s += *s == 'B';
        }
        return *s == '\0' ? 0 : -EINVAL;
}

int parse_size(const char *s, uint64_t *ret_bytes)
{
        uint64_t whole, fraction = 0, scale = 1, bytes, part;
        unsigned shift;
        int r;

        r = parse_digits(&s, &whole);
        if (r < 0)
                return r;
        if (*s == '.') {
                const char *start = ++s;

                r = parse_digits(&s, &fraction);
                if (r < 0)
                        return r;
                if (s - start > 6) /* keeps fraction << 60 out of reach below, and nobody means more */
                        return -EINVAL;
                for (; start < s; start++)
                        scale *= 10;
        }
        r = parse_suffix(s, &shift);
        if (r < 0)
                return r;
        if (scale > 1 && shift == 0)
                return -EINVAL;

        if (whole > UINT64_MAX >> shift)
                return -ERANGE;
        /* fraction < 10^6 and shift <= 60: the product needs 128 bits */
        part = (uint64_t)(((unsigned __int128)fraction << shift) / scale);
        if (__builtin_add_overflow(whole << shift, part, &bytes))
                return -ERANGE;
        *ret_bytes = bytes;
        return 0;
}

int parse_size_or_percent(const char *s, uint64_t *ret_bytes, unsigned *ret_percent)
{
        size_t n = strlen(s);
        const char *p = s;
        uint64_t v;
        int r;

        if (n == 0 || s[n - 1] != '%') {
                r = parse_size(s, &v);
                if (r < 0)
                        return r;
                *ret_bytes = v;
                *ret_percent = 0;
                return 0;
        }
        r = parse_digits(&p, &v);
        if (r < 0)
                return r;
        if (p != s + n - 1)
                return -EINVAL;
        if (v < 1 || v > 100)
                return -ERANGE;
        *ret_bytes = 0;
        *ret_percent = (unsigned)v;
        return 0;
}

int parse_usec(const char *s, uint64_t *ret_usec)
{
        static const struct {
                const char *name;
                uint64_t usec;
        } units[] = {
                {"", USEC_PER_SEC},
                {"us", 1},
                {"ms", 1000},
                {"s", USEC_PER_SEC},
                {"min", 60 * USEC_PER_SEC},
                {"h", 3600 * USEC_PER_SEC},
                {"d", 86400 * USEC_PER_SEC},
        };
        uint64_t v;
        int r;

        r = parse_digits(&s, &v);
        if (r < 0)
                return r;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
                if (strcmp(s, units[i].name) != 0)
                        continue;
                if (__builtin_mul_overflow(v, units[i].usec, &v))
                        return -ERANGE;
                *ret_usec = v;
                return 0;
        }
        return -EINVAL;
}

int parse_u64(const char *s, uint64_t *ret)
{
        uint64_t v;
        int r;

        r = parse_digits(&s, &v);
        if (r < 0)
                return r;
        if (*s != '\0')
                return -EINVAL;
        *ret = v;
        return 0;
}

int parse_u32(const char *s, uint32_t *ret)
{
        uint64_t v;
        int r;

        r = parse_u64(s, &v);
        if (r < 0)
                return r;
        if (v > UINT32_MAX)
                return -ERANGE;
        *ret = (uint32_t)v;
        return 0;
}

int parse_bool(const char *s, bool *ret)
{
        static const char *const yes[] = {"yes", "true", "on", "1"};
        static const char *const no[] = {"no", "false", "off", "0"};

        for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
                if (strcmp(s, yes[i]) == 0) {
                        *ret = true;
                        return 0;
                }
                if (strcmp(s, no[i]) == 0) {
                        *ret = false;
                        return 0;
                }
        }
        return -EINVAL;
}

int parse_hex64(const char *s, uint64_t *ret)
{
        uint64_t v = 0;
        size_t n = 0;

        for (; *s; s++, n++) {
                unsigned digit;

                if (is_digit(*s))
                        digit = (unsigned)(*s - '0');
                else if (*s >= 'a' && *s <= 'f')
                        digit = (unsigned)(*s - 'a' + 10);
                else if (*s >= 'A' && *s <= 'F')
                        digit = (unsigned)(*s - 'A' + 10);
                else
                        return -EINVAL;
                if (n == 16)
                        return -ERANGE;
                v = v << 4 | digit;
        }
        if (n == 0)
                return -EINVAL;
        *ret = v;
        return 0;
}

char *format_size(char buf[static FORMAT_SIZE_MAX], uint64_t bytes)
{
        static const char letters[] = "BKMGTPE";
        unsigned i = 0;
        uint64_t tenths;

        while (i < 6 && bytes >> (10 * (i + 1)) != 0)
                i++;
        /* 10 × bytes / 1024^i, rounded half up, in 128 bits */
        tenths = (uint64_t)((((unsigned __int128)bytes * 20 >> (10 * i)) + 1) / 2);
        if (i > 0 && i < 6 && tenths >= 10240) { /* 1023.97M reads as 1G */
                i++;
                tenths = 10;
        }
        if (tenths % 10 == 0 || i == 0)
                (void)snprintf(buf, FORMAT_SIZE_MAX, "%" PRIu64 "%c", tenths / 10, letters[i]);
        else
                (void)snprintf(buf, FORMAT_SIZE_MAX, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10,
                        letters[i]);
        return buf;
}

char *format_age(char buf[static FORMAT_SIZE_MAX], uint64_t usec)
{
        uint64_t s = usec / USEC_PER_SEC;

        if (s < 60)
                (void)snprintf(buf, FORMAT_SIZE_MAX, "%" PRIu64 "s", s);
        else if (s < 3600)
                (void)snprintf(buf, FORMAT_SIZE_MAX, "%" PRIu64 "min", s / 60);
        else if (s < 86400)
                (void)snprintf(buf, FORMAT_SIZE_MAX, "%" PRIu64 "h", s / 3600);
        else
                (void)snprintf(buf, FORMAT_SIZE_MAX, "%" PRIu64 "d", s / 86400);
        return buf;
}

bool name_is_valid(const char *s)
{
        size_t n = strlen(s);

        if (n < 1 || n > 32)
                return false;
        for (; *s; s++)
                if (!is_digit(*s) && !(*s >= 'a' && *s <= 'z') && *s != '.' && *s != '_' && *s != '-')
                        return false;
        return true;
}

void make_printable(char *s)
{
        for (; *s; s++)
                if (*s < ' ' || *s > '~')
                        *s = '?';
}
