/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "provisioner/scrub.h"

/* A large pool is mapped piece by piece: its page tables need not all exist at once. */
#define PIECE_UNITS 512

static void zero(void *memory, size_t bytes)
{
#if defined(__x86_64__)
        const __m128i zeros = _mm_setzero_si128();

        for (__m128i *at = memory, *end = at + bytes / sizeof(*at); at < end; at += 4) {
                _mm_stream_si128(at, zeros);
                _mm_stream_si128(at + 1, zeros);
                _mm_stream_si128(at + 2, zeros);
                _mm_stream_si128(at + 3, zeros);
        }
        _mm_sfence();
#else
        memset(memory, 0, bytes);
        (void)msync(memory, bytes, MS_SYNC); /* out of the caches */
#endif
}

int scrub_units(int fd, const UnitSet *units, uint64_t length)
{
        for (size_t i = 0; i < units->n; i++) {
                uint64_t at = units->ranges[i].first, end = at + units->ranges[i].count;
                if (end > length / JOB_UNIT)
                        end = length / JOB_UNIT;
                while (at < end) {
                        uint64_t n = end - at < PIECE_UNITS ? end - at : PIECE_UNITS;
                        void *memory = mmap(NULL, n * JOB_UNIT, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                                (off_t)(at * JOB_UNIT));
                        if (memory == MAP_FAILED)
                                return -errno;
                        zero(memory, n * JOB_UNIT);
                        (void)munmap(memory, n * JOB_UNIT);
                        at += n;
                }
        }
        return 0;
}
