/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A client that does its worst with the descriptor it was granted (fd 3): `hostile MODE [BYTES]` says "ready" and
 * goes on until it is killed.
 *
 *   hold        keeps the descriptor, and does nothing
 *   write       fills BYTES by pwrite(), again and again
 *   fallocate   by fallocate()
 *   fault       by stores into a mapping, while a second thread keeps the file that long
 *   lock        keeps the lock of the inode: a write() from memory that a userfaultfd never provides
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FD 3

static sigjmp_buf bus;

static void on_bus(int signal)
{
        (void)signal;
        siglongjmp(bus, 1);
}

static void *keep_length(void *arg)
{
        const off_t *bytes = arg;

        for (;;)
                if (ftruncate(FD, *bytes) < 0)
                        continue; /* being truncated under our hands is what we are here for */
        return NULL;
}

static void fill_by_faults(off_t bytes)
{
        struct sigaction action = {.sa_handler = on_bus, .sa_flags = SA_NODEFER};
        pthread_t thread;
        volatile char *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, FD, 0);

        if (memory == MAP_FAILED || sigaction(SIGBUS, &action, NULL) < 0 ||
                pthread_create(&thread, NULL, keep_length, &bytes) != 0)
                exit(1);
        for (;;) {
                if (sigsetjmp(bus, 1) != 0)
                        continue;
                for (off_t at = 0; at < bytes; at += 4096)
                        memory[at] = 1;
        }
}

static void *hold_lock(void *memory)
{
        return pwrite(FD, memory, 4096, 0) == 4096 ? memory : NULL;
}

static int lock(void)
{
        struct uffdio_api api = {.api = UFFD_API};
        pthread_t thread;
        void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct uffdio_register reg = {
                .range = {.start = (uintptr_t)memory, .len = 4096},
                .mode = UFFDIO_REGISTER_MODE_MISSING,
        };
        int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

        if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0) {
                printf("userfaultfd: %s\n", strerror(errno));
                return 77;
        }
        if (pthread_create(&thread, NULL, hold_lock, memory) != 0)
                return 1;
        /* It holds the lock once the fault has been told to us. */
        struct uffd_msg msg;
        if (read(fd, &msg, sizeof(msg)) != sizeof(msg))
                return 1;
        printf("ready\n");
        for (;;)
                pause();
}

int main(int argc, char **argv)
{
        const char *mode = argc > 1 ? argv[1] : "";
        off_t bytes = argc > 2 ? (off_t)strtoll(argv[2], NULL, 10) : 0;

        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        if (strcmp(mode, "lock") == 0)
                return lock();
        printf("ready\n");
        if (strcmp(mode, "hold") == 0)
                for (;;)
                        pause();
        if (strcmp(mode, "fault") == 0)
                fill_by_faults(bytes);
        if (strcmp(mode, "fallocate") == 0)
                for (;;)
                        if (fallocate(FD, 0, 0, bytes) < 0)
                                for (off_t at = 0; at < bytes && fallocate(FD, 0, at, 4096) == 0; at += 4096)
                                        ;
        if (strcmp(mode, "write") == 0) {
                static const char block[65536];
                for (;;)
                        for (off_t at = 0; at < bytes && pwrite(FD, block, sizeof(block), at) > 0;
                                at += (off_t)sizeof(block))
                                ;
        }
        fprintf(stderr, "usage: %s hold|write|fallocate|fault|lock [BYTES] 3<>FILE\n", argv[0]);
        return 64;
}
