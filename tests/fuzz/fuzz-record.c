/* SPDX-License-Identifier: BSD-3-Clause */
/* Records as they may lie in the directory: the file, what the broker has written into it, and its name. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "ipc/poolrecord.h"
#include "log.h"
#include "provisioner/record.h"

static int directory(void)
{
        static int fd = -1;
        char path[] = "/dev/shm/pmbroker-fuzz-XXXXXX";

        if (fd < 0) {
                log_set_level(-1);
                assert(mkdtemp(path));
                fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert(fd >= 0);
        }
        return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        int dir = directory();
        _cleanup_close_ int fd =
                openat(dir, "s.000000000000002a", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
        char name[256], store[JOB_NAME_MAX];
        PoolRecord pool;
        Record record;
        uint64_t id;
        bool releasing;
        int r;

        assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
        r = record_read(dir, "s", 0x2a, false, &record);
        assert(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
        if (r == 0)
                assert(record.pool == 0x2a && record.size <= sizeof(record.bytes));

        r = pool_record_decode(data, size, &pool);
        assert(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
        if (r == 0)
                assert(pool.id != 0 && memchr(pool.name, 0, sizeof(pool.name)));

        if (size < sizeof(name)) {
                memcpy(name, data, size);
                name[size] = '\0';
                if (record_parse_name(name, store, &id, &releasing) == 0)
                        assert(id != 0 && memchr(store, 0, sizeof(store)));
        }
        return 0;
}
