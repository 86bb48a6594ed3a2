/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line, and numbers as people write them. */

#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/arguments.h"
#include "fuzz.h"

#define ARGS_MAX 16

static void try_numbers(const char *s)
{
        char text[FORMAT_SIZE_MAX];
        uint64_t n, m;
        unsigned percent;
        uint32_t k;
        bool b;

        if (parse_size(s, &n) == 0) {
                /* Rounded to a decimal, but never to something else. */
                assert(parse_size(format_size(text, n), &m) == 0 || n > UINT64_MAX / 2);
        }
        if (parse_size_or_percent(s, &n, &percent) == 0)
                assert(percent <= 100 && (n == 0 || percent == 0));
        if (parse_usec(s, &n) == 0)
                (void)format_age(text, n);
        if (parse_u32(s, &k) == 0)
                assert(parse_u64(s, &n) == 0 && n == k);
        (void)parse_hex64(s, &n);
        (void)parse_bool(s, &b);
        if (name_is_valid(s))
                assert(strlen(s) <= 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *text = malloc(size + 1), *argv[ARGS_MAX + 2] = {(char[]){"pmbrokerctl"}};
        char error[ARGUMENTS_ERROR_MAX];
        Arguments arguments;
        int argc = 1;

        assert(text);
        memcpy(text, data, size);
        text[size] = '\0';
        for (size_t i = 0; i < size && argc <= ARGS_MAX; i += strlen(text + i) + 1) {
                argv[argc++] = text + i;
                try_numbers(text + i);
        }
        optind = 0;
        opterr = 0;
        if (arguments_parse(argc, argv, &arguments, error) == 0)
                arguments_done(&arguments);
        else
                assert(memchr(error, '\0', sizeof(error)) && error[0] != '\0');
        free(text);
        return 0;
}
