/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that goes behind the library's back. It gets a pool of 16 MiB like everybody else; then it looks for the
 * descriptor that the library holds, makes the file eight times as long, and tries to fill it in every way that there
 * is: by write(), by fallocate(), and by storing into a mapping of its own.
 *
 * In a store of kernel-held limits (tmpfs) every one of these ends at 16 MiB. In an audited store (dir) they succeed,
 * the daemon finds out within a second or two, and the pool is revoked.
 *
 * Ends with 0 when the limit held in one of these ways, with 1 when the program got away with more.
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <pmbroker.h>

#define MIB (UINT64_C(1) << 20)

#define SIZE  (16 * MIB)
#define WANT  (8 * SIZE)
#define SLACK (2 * MIB) /* what an audit tolerates: a file system has to note where its blocks are */

static atomic_bool revoked;
static sigjmp_buf out;

static void on_event(const struct pmb_event *event, void *userdata)
{
        (void)userdata;
        if (event->type == PMB_EVENT_REVOKED)
                atomic_store(&revoked, true);
}

static void on_sigbus(int signo)
{
        (void)signo;
        siglongjmp(out, 1);
}

/* The library tells nobody, but nothing is hidden from the process itself: the file that is mapped there is open. */
static int find_descriptor(struct pmb_pool *pool)
{
        unsigned long start, inode, found = 0;
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[512];

        if (!maps)
                return -errno;
        while (found == 0 && fgets(line, sizeof(line), maps))
                if (sscanf(line, "%lx-%*x %*s %*x %*x:%*x %lu", &start, &inode) == 2 &&
                        start == (uintptr_t)pmb_pool_base(pool))
                        found = inode;
        (void)fclose(maps);
        for (int fd = 3; found != 0 && fd < 1024; fd++) {
                struct stat st;

                if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == found)
                        return fd;
        }
        return -ENOENT;
}

/* What the kernel says that the file has. */
static uint64_t bytes_of(int fd)
{
        struct stat st;

        return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static uint64_t most; /* that it ever had */

static void report(const char *what, int fd)
{
        uint64_t bytes = bytes_of(fd);

        if (bytes > most)
                most = bytes;
        printf("%-22s the pool of %llu MiB has %.1f MiB\n", what, (unsigned long long)(SIZE / MIB),
                (double)bytes / (double)MIB);
        (void)fflush(stdout);
}

static void try_write(int fd)
{
        static char block[65536];
        ssize_t n = 1;

        for (uint64_t at = 0; at < WANT && n > 0; at += sizeof(block))
                n = pwrite(fd, block, sizeof(block), (off_t)at);
        report(n > 0 ? "write: goes on;" : "write: no space left;", fd);
}

static void try_fallocate(int fd)
{
        int r = fallocate(fd, 0, 0, (off_t)WANT);

        report(r == 0 ? "fallocate: goes on;" : "fallocate: no space;", fd);
}

static void try_store(int fd)
{
        char *memory = mmap(NULL, WANT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        static volatile uint64_t at;

        if (memory == MAP_FAILED)
                return;
        if (sigsetjmp(out, /* savemask= */ 1) == 0)
                for (at = 0; at < WANT; at += 4096)
                        memory[at] = 1;
        report(at < WANT ? "store: SIGBUS;" : "store: goes on;", fd);
        (void)munmap(memory, WANT);
}

static int cheat(struct pmb_pool *pool)
{
        int fd = find_descriptor(pool);

        if (fd < 0) {
                printf("there is no descriptor to be found\n");
                return EXIT_FAILURE;
        }
        if (ftruncate(fd, (off_t)WANT) < 0)
                printf("it cannot even be made longer: %s\n", strerror(errno));
        try_write(fd);
        try_fallocate(fd);
        try_store(fd);

        if (most <= SIZE) {
                printf("the kernel has held the limit\n");
                return EXIT_SUCCESS;
        }
        for (int i = 0; i < 50 && !(atomic_load(&revoked) && bytes_of(fd) <= SIZE + SLACK); i++)
                (void)nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
        report("after a while:", fd);
        if (atomic_load(&revoked) && bytes_of(fd) <= SIZE + SLACK) {
                printf("the audit has found it, and the pool was revoked\n");
                return EXIT_SUCCESS;
        }
        fprintf(stderr, "%.1f MiB for the price of 16\n", (double)most / (double)MIB);
        return EXIT_FAILURE;
}

int main(void)
{
        struct sigaction action = {.sa_handler = on_sigbus};
        struct pmb_client *client;
        struct pmb_pool *pool;
        char why[256];
        int r;

        if (sigaction(SIGBUS, &action, NULL) < 0)
                return EXIT_FAILURE;
        r = pmb_client_connect(NULL, 0, &client);
        if (r < 0) {
                fprintf(stderr, "cannot connect to pmbrokerd: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        pmb_client_set_handler(client, on_event, NULL);
        r = pmb_pool_create(client, &(struct pmb_pool_options){.size = SIZE, .name = "cheat"}, &pool);
        if (r < 0) {
                (void)pmb_client_explain(client, why, sizeof(why));
                fprintf(stderr, "cannot create the pool: %s: %s\n", strerror(-r), why);
                pmb_client_unref(client);
                return EXIT_FAILURE;
        }
        r = cheat(pool);
        pmb_pool_close(pool);
        pmb_client_unref(client);
        return r;
}
