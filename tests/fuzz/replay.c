/* SPDX-License-Identifier: BSD-3-Clause */
/* Without a fuzzer: every file below the directories named, once. What was once found stays found. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX ((size_t)1 << 20)

static unsigned run_file(const char *path, uint8_t *buffer)
{
        FILE *f = fopen(path, "re");
        uint8_t *exact;
        size_t n;

        if (!f) {
                fprintf(stderr, "%s: %s\n", path, strerror(errno));
                exit(1);
        }
        n = fread(buffer, 1, INPUT_MAX, f);
        (void)fclose(f);
        /* So that one byte too far is seen. */
        exact = malloc(n > 0 ? n : 1);
        if (!exact)
                exit(1);
        memcpy(exact, buffer, n);
        (void)LLVMFuzzerTestOneInput(exact, n);
        free(exact);
        return 1;
}

int main(int argc, char **argv)
{
        uint8_t *buffer = malloc(INPUT_MAX);
        unsigned n = 0;

        if (!buffer)
                return 1;
        for (int i = 1; i < argc; i++) {
                struct dirent *entry;
                DIR *dir = opendir(argv[i]);

                if (!dir) {
                        fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
                        return 1;
                }
                while ((entry = readdir(dir))) {
                        char path[4096];

                        if (entry->d_name[0] == '.')
                                continue;
                        (void)snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
                        n += run_file(path, buffer);
                }
                (void)closedir(dir);
        }
        free(buffer);
        printf("%u inputs\n", n);
        return n > 0 ? 0 : 1;
}
