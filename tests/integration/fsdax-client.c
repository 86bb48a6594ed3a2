/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A client of one pool, fd 3, that does what it is told on standard input, line by line, and answers each line with
 * one: 0 or a number, the name of an errno, or a signal. `attack` alone answers with many, up to "end".
 *
 *   map BYTES | unmap | close | exit
 *   touch OFFSET BYTES          stores into each page; answers the page faults
 *   fill FIRST COUNT            units, each with a pattern of its own, and check them from now on, all the time
 *   drop FIRST COUNT            do not check these units any more
 *   stop                        checking; answers how often all was checked
 *   text OFFSET BYTES TEXT      the text, eight bytes long, over and over
 *   nonzero OFFSET BYTES        how many words of eight bytes are not zero
 *   pin OFFSET | peek | unpin   a page, by vmsplice; peek answers its first eight bytes and keeps it pinned
 *   truncate BYTES | fallocate MODE OFFSET BYTES | pwrite OFFSET
 *   lock | unlock               the inode's, by a read() into memory that a userfaultfd does not provide; as root
 *   attack
 *   flood                       changes the file as often as it can, until it is killed
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/quota.h>

#define FD    3
#define UNIT  (2UL << 20)
#define UNITS 4096

static volatile char *memory;
static size_t mapped;
static int pipe_fds[2] = {-1, -1};
static sigjmp_buf bus;
static volatile sig_atomic_t expecting;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool checked[UNITS];
static volatile bool checking;
static unsigned long rounds, wrong;
static pthread_t checker;

static void on_bus(int number)
{
        static const char text[] = "SIGBUS\n";

        if (expecting)
                siglongjmp(bus, number);
        /* In the thread that checks: nobody expected it. */
        if (write(1, text, sizeof(text) - 1) > 0)
                _exit(99);
        _exit(98);
}

static void answer(long r)
{
        if (r < 0)
                printf("%s\n", strerrorname_np(errno));
        else
                printf("%ld\n", r);
}

static uint64_t pattern(unsigned long unit, unsigned long page)
{
        return (unit << 32 | page) * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

static void *check(void *arg)
{
        (void)arg;
        while (checking) {
                for (unsigned long u = 0; u < UNITS && checking; u++) {
                        (void)pthread_mutex_lock(&lock);
                        if (checked[u])
                                for (unsigned long p = 0; p < UNIT / 4096; p++)
                                        wrong += *(volatile uint64_t *)(memory + u * UNIT + p * 4096) !=
                                                 pattern(u, p);
                        (void)pthread_mutex_unlock(&lock);
                }
                rounds++;
        }
        return NULL;
}

static void map(size_t bytes)
{
        char *space =
                mmap(NULL, bytes + UNIT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        space += (UNIT - (uintptr_t)space % UNIT) % UNIT;
        memory = mmap(space, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, FD, 0);
        mapped = bytes;
        answer(memory == MAP_FAILED ? -1 : 0);
}

static void touch(unsigned long offset, unsigned long bytes)
{
        struct rusage before, after;
        int number;

        (void)getrusage(RUSAGE_SELF, &before);
        number = sigsetjmp(bus, 1);
        if (number == 0) {
                expecting = 1;
                for (unsigned long at = offset; at < offset + bytes; at += 4096)
                        memory[at] = 1;
        }
        expecting = 0;
        (void)getrusage(RUSAGE_SELF, &after);
        if (number != 0)
                printf("%s\n", number == SIGBUS ? "SIGBUS" : "SIGSEGV");
        else
                printf("%ld\n", after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt);
}

static void fill(unsigned long first, unsigned long count)
{
        for (unsigned long u = first; u < first + count; u++) {
                for (unsigned long p = 0; p < UNIT / 4096; p++)
                        *(volatile uint64_t *)(memory + u * UNIT + p * 4096) = pattern(u, p);
                (void)pthread_mutex_lock(&lock);
                checked[u] = true;
                (void)pthread_mutex_unlock(&lock);
        }
        if (!checking) {
                checking = true;
                if (pthread_create(&checker, NULL, check, NULL) != 0)
                        exit(1);
        }
        answer(0);
}

static void drop(unsigned long first, unsigned long count)
{
        (void)pthread_mutex_lock(&lock);
        for (unsigned long u = first; u < first + count; u++)
                checked[u] = false;
        (void)pthread_mutex_unlock(&lock);
        answer(0);
}

static void stop(void)
{
        if (checking) {
                checking = false;
                (void)pthread_join(checker, NULL);
        }
        if (wrong > 0)
                printf("wrong %lu\n", wrong);
        else
                printf("%lu\n", rounds);
}

static void text_at(unsigned long offset, unsigned long bytes, const char *text)
{
        uint64_t word;

        memcpy(&word, text, sizeof(word));
        for (unsigned long at = offset; at < offset + bytes; at += sizeof(word))
                *(volatile uint64_t *)(memory + at) = word;
        answer(0);
}

static void nonzero(unsigned long offset, unsigned long bytes)
{
        long n = 0;

        for (unsigned long at = offset; at < offset + bytes; at += sizeof(uint64_t))
                n += *(volatile uint64_t *)(memory + at) != 0;
        answer(n);
}

static void pin(unsigned long offset)
{
        struct iovec page = {.iov_base = (void *)(memory + offset), .iov_len = 4096};

        answer(pipe_fds[0] < 0 && pipe(pipe_fds) < 0 ? -1 : vmsplice(pipe_fds[1], &page, 1, 0));
}

static void peek(void)
{
        char bytes[4096];
        int copy[2];
        ssize_t n = -1;

        if (pipe(copy) == 0) {
                n = tee(pipe_fds[0], copy[1], sizeof(bytes), SPLICE_F_NONBLOCK);
                if (n > 0)
                        n = read(copy[0], bytes, sizeof(bytes));
                (void)close(copy[0]);
                (void)close(copy[1]);
        }
        if (n < 8)
                answer(n);
        else
                printf("%.8s\n", bytes);
}

static void *read_into(void *where)
{
        return pread(FD, where, 4096, 0) == 4096 ? where : NULL;
}

static int fault_fd = -1;
static void *never;
static pthread_t reader;

static long hold_lock(void)
{
        struct uffdio_api api = {.api = UFFD_API};
        struct uffd_msg msg;

        never = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct uffdio_register reg = {
                .range = {.start = (uintptr_t)never, .len = 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
        fault_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
        if (fault_fd < 0 || ioctl(fault_fd, UFFDIO_API, &api) < 0 ||
                ioctl(fault_fd, UFFDIO_REGISTER, &reg) < 0 ||
                pthread_create(&reader, NULL, read_into, never) != 0)
                return -1;
        /* It has the lock once the fault has been told to us. */
        return read(fault_fd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -1;
}

static long let_lock_go(void)
{
        struct uffdio_zeropage page = {.range = {.start = (uintptr_t)never, .len = 4096}};

        if (ioctl(fault_fd, UFFDIO_ZEROPAGE, &page) < 0)
                return -1;
        return pthread_join(reader, NULL) == 0 ? 0 : -1;
}

/* ------------------------------------------------------------------------------------------------- attack */

#define TRY(what, call)                                                                 \
        do {                                                                            \
                errno = 0;                                                              \
                long try_ = (long)(call);                                               \
                printf("%s: %s\n", what, try_ < 0 ? strerrorname_np(errno) : "worked"); \
        } while (0)

static int set_project(unsigned project, unsigned flags)
{
        struct fsxattr attributes;

        if (ioctl(FD, FS_IOC_FSGETXATTR, &attributes) < 0)
                return -1;
        attributes.fsx_projid = project;
        attributes.fsx_xflags |= flags;
        return ioctl(FD, FS_IOC_FSSETXATTR, &attributes);
}

static int set_flags(int add, int remove)
{
        int flags = 0;

        if (ioctl(FD, FS_IOC_GETFLAGS, &flags) < 0)
                return -1;
        flags = (flags | add) & ~remove;
        return ioctl(FD, FS_IOC_SETFLAGS, &flags);
}

static long store(unsigned long offset)
{
        long r = -1;

        if (sigsetjmp(bus, 1) == 0) {
                expecting = 1;
                memory[offset] = 1;
                r = 0;
        } else {
                errno = EFAULT;
        }
        expecting = 0;
        return r;
}

static long quota(int command, void *data)
{
        return syscall(SYS_quotactl_fd, FD, QCMD(command, PRJQUOTA), 65536, data);
}

static void try_allocating(off_t size)
{
        static const struct {
                const char *name;
                int mode;
        } modes[] = {{"allocate", 0}, {"keep-size", FALLOC_FL_KEEP_SIZE},
                {"punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE}, {"zero", FALLOC_FL_ZERO_RANGE},
                {"collapse", FALLOC_FL_COLLAPSE_RANGE}, {"insert", FALLOC_FL_INSERT_RANGE},
                {"unshare", FALLOC_FL_UNSHARE_RANGE}};
        static char page[4096];
        int other[2];
        off_t at = size;

        TRY("ftruncate up", ftruncate(FD, size * 2));
        TRY("ftruncate down", ftruncate(FD, 0));
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
                char name[64];
                (void)snprintf(name, sizeof(name), "fallocate %s inside", modes[i].name);
                TRY(name, fallocate(FD, modes[i].mode, 0, 2 << 20));
                (void)snprintf(name, sizeof(name), "fallocate %s beyond", modes[i].name);
                TRY(name, fallocate(FD, modes[i].mode, size, 2 << 20));
        }
        TRY("pwrite inside", pwrite(FD, page, sizeof(page), 0));
        TRY("pwrite beyond", pwrite(FD, page, sizeof(page), size));
        TRY("store beyond", store((unsigned long)size));
        TRY("MADV_REMOVE", madvise((void *)memory, 2 << 20, MADV_REMOVE));
        TRY("MADV_POPULATE_WRITE beyond", madvise((void *)(memory + size), 2 << 20, MADV_POPULATE_WRITE));
        if (pipe(other) == 0 && write(other[1], page, sizeof(page)) > 0)
                TRY("splice", splice(other[0], NULL, FD, &at, sizeof(page), 0));
        int exe = open("/proc/self/exe", O_RDONLY);
        TRY("sendfile", lseek(FD, size, SEEK_SET) < 0 ? -1 : sendfile(FD, exe, NULL, sizeof(page)));
        TRY("copy_file_range", copy_file_range(exe, NULL, FD, &at, sizeof(page), 0));
        TRY("FICLONE", ioctl(FD, FICLONE, exe));
}

static void try_escaping(void)
{
        char path[] = "/proc/self/fd/3";
        struct if_dqblk block = {.dqb_bhardlimit = UINT64_C(1) << 40, .dqb_valid = QIF_BLIMITS};

        TRY("project 0", set_project(0, 0));
        TRY("project 1", set_project(1, 0));
        TRY("project inherited", set_project(65536, FS_XFLAG_PROJINHERIT));
        TRY("append only", set_flags(FS_APPEND_FL, 0));
        TRY("not immutable", set_flags(0, FS_IMMUTABLE_FL));
        TRY("no extents", set_flags(0, 0x80000));
        TRY("journal data", set_flags(0x4000, 0));
        TRY("fchmod", fchmod(FD, 0777));
        TRY("fchown", fchown(FD, getuid(), getgid()));
        TRY("linkat", linkat(AT_FDCWD, path, AT_FDCWD, "/tmp/pool", AT_SYMLINK_FOLLOW));
        TRY("linkat empty path", linkat(FD, "", AT_FDCWD, "/tmp/pool", AT_EMPTY_PATH));
        TRY("open for writing", open(path, O_RDWR));
        TRY("open for reading", open(path, O_RDONLY));
        TRY("open truncating", open(path, O_RDWR | O_TRUNC));
        TRY("user.x", fsetxattr(FD, "user.x", path, sizeof(path), 0));
        TRY("trusted.x", fsetxattr(FD, "trusted.x", path, sizeof(path), 0));
        TRY("security.capability", fsetxattr(FD, "security.capability", path, sizeof(path), 0));
        TRY("acl", fsetxattr(FD, "system.posix_acl_access", "\2\0\0\0", 4, 0));
        TRY("F_SETLEASE", fcntl(FD, F_SETLEASE, F_WRLCK));
        TRY("F_ADD_SEALS", fcntl(FD, F_ADD_SEALS, F_SEAL_SHRINK));
        TRY("mmap executable",
                mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, FD, 0) == MAP_FAILED ? -1 : 0);
        TRY("Q_GETQUOTA", quota(Q_GETQUOTA, &block));
        TRY("Q_SETQUOTA", quota(Q_SETQUOTA, &block));
        TRY("Q_QUOTAOFF", quota(Q_QUOTAOFF, NULL));
        TRY("openat", openat(FD, ".", O_RDONLY));
}

static void try_file_system(void)
{
        uint64_t words[64] = {0};
        int number = 1;

        TRY("FIFREEZE", ioctl(FD, FIFREEZE, 0));
        TRY("FITRIM", ioctl(FD, FITRIM, words));
        TRY("FIBMAP", ioctl(FD, FIBMAP, &number));
        TRY("SETFSLABEL", ioctl(FD, FS_IOC_SETFSLABEL, words));
        TRY("verity", ioctl(FD, FS_IOC_ENABLE_VERITY,
                              &(struct fsverity_enable_arg){
                                      .version = 1, .hash_algorithm = 1, .block_size = 4096}));
        TRY("EXT4_IOC_SETVERSION", ioctl(FD, _IOW('f', 4, long), &number));
        TRY("EXT4_IOC_GROUP_EXTEND", ioctl(FD, _IOW('f', 7, unsigned long), words));
        TRY("EXT4_IOC_MIGRATE", ioctl(FD, _IO('f', 9)));
        TRY("EXT4_IOC_MOVE_EXT", ioctl(FD, _IOWR('f', 15, char[40]), words));
        TRY("EXT4_IOC_RESIZE_FS", ioctl(FD, _IOW('f', 16, uint64_t), words));
        TRY("EXT4_IOC_SWAP_BOOT", ioctl(FD, _IO('f', 17)));
        TRY("EXT4_IOC_CHECKPOINT", ioctl(FD, _IOW('f', 43, uint32_t), words));
        TRY("EXT4_IOC_SHUTDOWN", ioctl(FD, _IOR('X', 125, uint32_t), words));
}

static void try_as_root_of_a_namespace(off_t size)
{
        (void)fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
                if (syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */) < 0)
                        _exit(0);
                int map_fd = open("/proc/self/uid_map", O_WRONLY);
                if (map_fd >= 0)
                        (void)dprintf(map_fd, "0 %u 1", getuid());
                TRY("namespace: project 0", set_project(0, 0));
                TRY("namespace: not immutable", set_flags(0, FS_IMMUTABLE_FL));
                TRY("namespace: fallocate", fallocate(FD, 0, size, 2 << 20));
                TRY("namespace: fchown", fchown(FD, 0, 0));
                TRY("namespace: F_SETLEASE", fcntl(FD, F_SETLEASE, F_WRLCK));
                (void)fflush(stdout);
                _exit(0);
        }
        (void)waitpid(pid, NULL, 0);
}

/* What is allowed, and must do no harm. */
static void try_harmless(void)
{
        struct flock range = {.l_type = F_WRLCK};

        (void)flock(FD, LOCK_EX);
        (void)fcntl(FD, F_SETLK, &range);
        (void)fcntl(FD, F_SETFL, O_APPEND | O_NONBLOCK | O_DIRECT);
        (void)fcntl(FD, F_SETFL, 0);
        (void)fsync(FD);
        (void)syncfs(FD);
}

static void attack(void)
{
        struct stat st;

        if (fstat(FD, &st) < 0)
                exit(1);
        if (!memory)
                map((size_t)st.st_size + (64 << 20));
        try_allocating(st.st_size);
        try_escaping();
        try_file_system();
        try_as_root_of_a_namespace(st.st_size);
        try_harmless();
        printf("end\n");
}

static void flood(void)
{
        struct stat st;

        (void)fstat(FD, &st);
        printf("ready\n");
        for (;;) {
                if (ftruncate(FD, st.st_size + (16 << 20)) == 0)
                        (void)fallocate(FD, 0, 0, st.st_size + (16 << 20));
                (void)fallocate(FD, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 << 20);
        }
}

/* -------------------------------------------------------------------------------------------------- orders */

static bool is(const char *line, const char *order)
{
        return strcmp(line, order) == 0;
}

static void obey(const char *order, unsigned long a, unsigned long b, unsigned long c, const char *text)
{
        if (is(order, "map")) {
                map(a);
        } else if (is(order, "unmap")) {
                answer(munmap((void *)memory, mapped));
                memory = NULL;
        } else if (is(order, "close")) {
                answer(close(FD));
        } else if (is(order, "exit")) {
                exit(0);
        } else if (is(order, "touch")) {
                touch(a, b);
        } else if (is(order, "fill")) {
                fill(a, b);
        } else if (is(order, "drop")) {
                drop(a, b);
        } else if (is(order, "stop")) {
                stop();
        } else if (is(order, "text")) {
                text_at(a, b, text);
        } else if (is(order, "nonzero")) {
                nonzero(a, b);
        } else if (is(order, "pin")) {
                pin(a);
        } else if (is(order, "peek")) {
                peek();
        } else if (is(order, "unpin")) {
                answer(close(pipe_fds[0]) + close(pipe_fds[1]));
                pipe_fds[0] = pipe_fds[1] = -1;
        } else if (is(order, "truncate")) {
                answer(ftruncate(FD, (off_t)a));
        } else if (is(order, "fallocate")) {
                answer(fallocate(FD, (int)a, (off_t)b, (off_t)c));
        } else if (is(order, "pwrite")) {
                answer(pwrite(FD, "x", 1, (off_t)a));
        } else if (is(order, "lock")) {
                answer(hold_lock());
        } else if (is(order, "unlock")) {
                answer(let_lock_go());
        } else if (is(order, "attack")) {
                attack();
        } else if (is(order, "flood")) {
                flood();
        } else {
                printf("what?\n");
        }
}

int main(void)
{
        struct sigaction action = {.sa_handler = on_bus, .sa_flags = SA_NODEFER};
        char line[256], order[64], text[64];

        (void)sigaction(SIGBUS, &action, NULL);
        (void)sigaction(SIGSEGV, &action, NULL);
        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        while (fgets(line, sizeof(line), stdin)) {
                unsigned long a = 0, b = 0, c = 0;
                text[0] = '\0';
                if (sscanf(line, "text %lu %lu %63s", &a, &b, text) == 3)
                        obey("text", a, b, 0, text);
                else if (sscanf(line, "%63s %lu %lu %lu", order, &a, &b, &c) >= 1)
                        obey(order, a, b, c, text);
        }
        return 0;
}
