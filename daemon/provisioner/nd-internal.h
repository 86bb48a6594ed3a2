/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* For nd.c and nd-change.c alone. */

#include <ndctl/libndctl.h>

/* One operation's: the lock and the context. */
typedef struct Nd {
        struct ndctl_ctx *ctx;
        int lock_fd;
} Nd;

int nd_begin(int lock_dir, Nd *ret);
void nd_end(Nd *nd);
struct ndctl_region *nd_region_by_name(Nd *nd, const char *name);
struct ndctl_namespace *nd_namespace_by_name(Nd *nd, const char *name);
