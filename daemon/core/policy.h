/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Who a peer is charged as. A peer is described by integers and two strings that the edge took from the
 * kernel at accept; nothing in it comes from a message.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct PeerIdentity {
        uint32_t uid;
        uint32_t gid;
        uint32_t pid; /* 0: in a foreign pid namespace */
        /* Of the process, in clock ticks since boot; with the pid it names one process for ever. */
        uint64_t start_time;
        const uint32_t *groups; /* supplementary; borrowed */
        size_t n_groups;
        const char *unit;   /* systemd unit or ""; borrowed */
        const char *cgroup; /* cgroup path, e.g. "/system.slice/x.service", or ""; borrowed */
} PeerIdentity;

typedef enum MatchKind {
        MATCH_USER,
        MATCH_GROUP,
        MATCH_UNIT,
        MATCH_SLICE,
} MatchKind;

/* One condition; a tenant with several matches when one does. */
typedef struct Match {
        MatchKind kind;
        uint32_t id;      /* uid or gid */
        const char *glob; /* unit name or slice, with * and ?; borrowed */
} Match;

/* A slice glob is held against each of the slices that the cgroup path begins with. */
bool match_peer(const Match *match, const PeerIdentity *peer);

/* What a peer may do besides minding its own pools. */
typedef enum Role {
        ROLE_OWNER,    /* anybody */
        ROLE_OBSERVER, /* sees what administrators see, and changes nothing */
        ROLE_ADMIN,    /* uid 0 or member of the admin group */
} Role;

/* What makes somebody more than an owner; (uint32_t) -1 for none. */
typedef struct RolePolicy {
        uint32_t admin_gid;
        uint32_t admin_uid; /* besides 0: the user that runs an unprivileged daemon */
        uint32_t observer_gid;
} RolePolicy;

Role policy_role(const PeerIdentity *peer, const RolePolicy *policy);
