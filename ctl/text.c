/* SPDX-License-Identifier: BSD-3-Clause */
/* Escaping, see text.h. libsmartcols escapes control characters too, but lets bidirectional overrides pass. */

#include "ctl/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "base/cleanup.h"

/* Printable by the locale's opinion, yet it shows nothing or turns what follows around. */
static bool is_invisible(wchar_t c)
{
        static const struct {
                uint32_t first, last;
        } ranges[] = {
                {0x00ad, 0x00ad},   /* soft hyphen */
                {0x061c, 0x061c},   /* Arabic letter mark */
                {0x180e, 0x180e},   /* Mongolian vowel separator */
                {0x200b, 0x200f},   /* zero width, left-to-right and right-to-left marks */
                {0x2028, 0x202e},   /* separators, bidirectional embedding and override */
                {0x2060, 0x206f},   /* word joiner, bidirectional isolates */
                {0xfeff, 0xfeff},   /* byte order mark */
                {0xfff9, 0xfffb},   /* annotations */
                {0xe0000, 0xe0fff}, /* tags and variation selectors */
        };
        uint32_t u = (uint32_t)c;

        for (size_t i = 0; i < ELEMENTSOF(ranges); i++)
                if (u >= ranges[i].first && u <= ranges[i].last)
                        return true;
        return false;
}

/* How many bytes the character at `s` has; *ret_print says whether it may go out as it is. */
static size_t next_character(const char *s, bool *ret_print)
{
        mbstate_t state = {0};
        wchar_t c;
        size_t n;

        n = mbrtowc(&c, s, strlen(s), &state);
        if (n == (size_t)-1 || n == (size_t)-2 || n == 0) { /* not of the locale's encoding */
                *ret_print = false;
                return 1;
        }
        *ret_print = iswprint((wint_t)c) && !is_invisible(c) && !(s[0] == '\\' && s[1] == 'x');
        return n;
}

char *text_escape(const char *s)
{
        static const char digits[] = "0123456789abcdef";
        char *buf = malloc(strlen(s) * 4 + 1);
        char *p = buf;

        if (!buf)
                return NULL;
        while (*s) {
                bool print;
                size_t n = next_character(s, &print);

                for (; n > 0; n--, s++) {
                        unsigned char byte = (unsigned char)*s;

                        if (print) {
                                *p++ = *s;
                                continue;
                        }
                        *p++ = '\\';
                        *p++ = 'x';
                        *p++ = digits[byte >> 4];
                        *p++ = digits[byte & 15];
                }
        }
        *p = '\0';
        return buf;
}

void text_wrap(FILE *out, const char *text, unsigned indent, unsigned columns)
{
        unsigned used = indent;

        while (*text) {
                unsigned n = (unsigned)strcspn(text, " ");

                if (used > indent && used + 1 + n > columns) {
                        (void)fprintf(out, "\n%*s", (int)indent, "");
                        used = indent;
                } else if (used > indent) {
                        (void)fputc(' ', out);
                        used++;
                }
                (void)fprintf(out, "%.*s", (int)n, text);
                used += n;
                text += n + strspn(text + n, " ");
        }
        (void)fputc('\n', out);
}
