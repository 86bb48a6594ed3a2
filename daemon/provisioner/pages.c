/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "log.h"
#include "provisioner/job.h"
#include "provisioner/pages.h"

#define PAGE         4096
#define FAULTS_SPARE 4 /* that are not the file's: of the stack and the like */

void *pages_map(int fd, uint64_t bytes)
{
        uint8_t *room =
                mmap(NULL, bytes + JOB_UNIT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (room == MAP_FAILED)
                return NULL;
        uint8_t *start = room + (JOB_UNIT - (uintptr_t)room % JOB_UNIT) % JOB_UNIT;
        if (start > room)
                (void)munmap(room, (size_t)(start - room));
        (void)munmap(start + bytes, (size_t)(room + JOB_UNIT - start));
        start = mmap(start, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
        return start == MAP_FAILED ? NULL : start;
}

static uint64_t count_faults(void)
{
        struct rusage usage;

        /* The first touch of an unwritten extent may count as a major one. */
        return getrusage(RUSAGE_SELF, &usage) < 0 ? 0 : (uint64_t)(usage.ru_minflt + usage.ru_majflt);
}

uint32_t pages_touch(void *memory, uint64_t bytes)
{
        volatile uint8_t *bytewise = memory;
        uint64_t before = count_faults(), faults;

        for (uint64_t i = 0; i < bytes; i += PAGE)
                bytewise[i] = 1;
        faults = count_faults() - before;
        log_debug("%llu faults for %llu MiB", (unsigned long long)faults, (unsigned long long)bytes >> 20);
        return faults <= bytes / JOB_UNIT + FAULTS_SPARE ? (uint32_t)JOB_UNIT : PAGE;
}
