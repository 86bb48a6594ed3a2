/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "provisioner/privilege.h"

int privilege_drop_resource(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
        const uint32_t bit = UINT32_C(1) << CAP_SYS_RESOURCE;

        _Static_assert(CAP_SYS_RESOURCE < 32, "in the first word");
        /* Without CAP_SETPCAP what is in the bounding set stays there; a program that we start would get it back. */
        if (prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE, 0, 0, 0) == 1 &&
                prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0) < 0 && geteuid() == 0)
                return -errno;
        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        if (!((data[0].effective | data[0].permitted | data[0].inheritable) & bit))
                return 0;
        data[0].effective &= ~bit;
        data[0].permitted &= ~bit;
        data[0].inheritable &= ~bit;
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}
