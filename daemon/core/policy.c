/* SPDX-License-Identifier: BSD-3-Clause */

/* Who a peer is charged as, and what it may do. */

#include <string.h>

#include "core/policy.h"

#define ID_NONE UINT32_MAX

/*
 * `*` stands for any run of characters, `?` for one, everything else for itself. Remembering only the last
 * star is enough, since an earlier one can always leave to it what it would have to take; so hostile unit
 * names cost at most length × length.
 */
static bool glob_matches(const char *glob, const char *s, size_t length)
{
        const char *star = NULL, *end = s + length, *retry = NULL;

        while (s < end) {
                if (*glob == '*') {
                        star = ++glob;
                        retry = s;
                } else if (*glob == '?' || *glob == *s) {
                        glob++;
                        s++;
                } else if (star) {
                        glob = star;
                        s = ++retry;
                } else {
                        return false;
                }
        }
        while (*glob == '*')
                glob++;
        return *glob == '\0';
}

/* The slices that the system has made stand first in the path. What follows the first unit (user@1000.service, say) is
 * named by whom the unit belongs to, who must not become another tenant by it. */
static bool slice_matches(const char *glob, const char *cgroup)
{
        static const char suffix[] = ".slice";
        const size_t n_suffix = sizeof(suffix) - 1;

        cgroup += strspn(cgroup, "/");
        while (*cgroup != '\0') {
                size_t length = strcspn(cgroup, "/");

                if (length <= n_suffix || memcmp(cgroup + length - n_suffix, suffix, n_suffix) != 0)
                        return false;
                if (glob_matches(glob, cgroup, length))
                        return true;
                cgroup += length;
                cgroup += strspn(cgroup, "/");
        }
        return false;
}

static bool in_group(const PeerIdentity *peer, uint32_t gid)
{
        if (peer->gid == gid)
                return true;
        for (size_t i = 0; i < peer->n_groups; i++)
                if (peer->groups[i] == gid)
                        return true;
        return false;
}

bool match_peer(const Match *match, const PeerIdentity *peer)
{
        switch (match->kind) {
        case MATCH_USER:
                return peer->uid == match->id;
        case MATCH_GROUP:
                return in_group(peer, match->id);
        case MATCH_UNIT:
                /* A process in no unit is not in "*" either. */
                return peer->unit && peer->unit[0] != '\0' &&
                       glob_matches(match->glob, peer->unit, strlen(peer->unit));
        case MATCH_SLICE:
                return peer->cgroup && slice_matches(match->glob, peer->cgroup);
        }
        return false;
}

Role policy_role(const PeerIdentity *peer, const RolePolicy *policy)
{
        if (peer->uid == 0)
                return ROLE_ADMIN;
        if (policy->admin_uid != ID_NONE && peer->uid == policy->admin_uid)
                return ROLE_ADMIN;
        if (policy->admin_gid != ID_NONE && in_group(peer, policy->admin_gid))
                return ROLE_ADMIN;
        if (policy->observer_gid != ID_NONE && in_group(peer, policy->observer_gid))
                return ROLE_OBSERVER;
        return ROLE_OWNER;
}
