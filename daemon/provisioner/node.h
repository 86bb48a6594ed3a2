/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* NUMA nodes, as the kernel describes them in /sys and /proc. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct NodeFigures {
        uint64_t total; /* bytes, all of them */
        uint64_t free;
        uint64_t cache;  /* of files, and the same on the disk: given up when memory is asked for */
        uint64_t shared; /* memory of tmpfs and the like */
        uint64_t low;    /* watermarks of its zones: below this one reclaiming begins, */
        uint64_t high;   /* up to this one it goes on */
} NodeFigures;

/* -ENODEV: there is no such node, or it has no memory. */
int node_get_figures(int node, NodeFigures *ret);

/*
 * What can be promised to somebody who gets memory of this node and of no other. Asked for more, the kernel would kill
 * a process; so the high watermark is left alone, and of what files have cached, what is left of it under pressure.
 */
uint64_t node_available(const NodeFigures *figures);

/* The bytes of a node that lie in [start, start + size) of the physical memory, and the others. Offline ones count. */
int node_get_memory(int node, uint64_t start, uint64_t size, uint64_t *ret_inside, uint64_t *ret_outside);

/* Memory comes and goes in blocks of this size. */
int node_get_block_size(uint64_t *ret);
/* The bytes in whole blocks of a range: what of it can be a node's. */
uint64_t node_usable(uint64_t start, uint64_t size, uint64_t block_size);

/* The text of /sys/devices/system/node/nodeN/meminfo, and of /proc/zoneinfo. Fill in their part of the figures. */
int node_parse_meminfo(FILE *f, NodeFigures *figures);
int node_parse_zoneinfo(FILE *f, int node, NodeFigures *figures);
