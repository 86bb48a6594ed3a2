/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/policy.h"

#define NOBODY UINT32_MAX

static const uint32_t groups[] = {100, 200, 300};

static const PeerIdentity peer = {
        .uid = 1000,
        .gid = 1001,
        .pid = 42,
        .groups = groups,
        .n_groups = 3,
        .unit = "worker@7.service",
        .cgroup = "/batch.slice/batch-night.slice/worker@7.service",
};

static bool user(uint32_t id)
{
        return match_peer(&(Match){.kind = MATCH_USER, .id = id}, &peer);
}

static bool group(uint32_t id)
{
        return match_peer(&(Match){.kind = MATCH_GROUP, .id = id}, &peer);
}

static bool unit(const char *glob, const char *name)
{
        PeerIdentity other = peer;

        other.unit = name;
        return match_peer(&(Match){.kind = MATCH_UNIT, .glob = glob}, &other);
}

static bool slice(const char *glob, const char *cgroup)
{
        PeerIdentity other = peer;

        other.cgroup = cgroup;
        return match_peer(&(Match){.kind = MATCH_SLICE, .glob = glob}, &other);
}

static void test_user(void **state)
{
        (void)state;
        assert_true(user(1000));
        assert_false(user(999));
        assert_false(user(1001));
        assert_false(user(0));
        assert_false(user(NOBODY));
}

static void test_group(void **state)
{
        (void)state;
        assert_true(group(1001));
        assert_true(group(100));
        assert_true(group(200));
        assert_true(group(300));
        assert_false(group(1000));
        assert_false(group(101));
        assert_false(group(0));
}

static void test_group_without_supplementary(void **state)
{
        PeerIdentity other = peer;

        (void)state;
        other.groups = NULL;
        other.n_groups = 0;
        assert_true(match_peer(&(Match){.kind = MATCH_GROUP, .id = 1001}, &other));
        assert_false(match_peer(&(Match){.kind = MATCH_GROUP, .id = 100}, &other));
}

static void test_unit(void **state)
{
        (void)state;
        assert_true(unit("worker@7.service", "worker@7.service"));
        assert_true(unit("worker@*.service", "worker@7.service"));
        assert_true(unit("worker@?.service", "worker@7.service"));
        assert_true(unit("*", "worker@7.service"));
        assert_true(unit("*.service*", "worker@7.service"));
        assert_true(unit("***w*", "worker@7.service"));
        assert_false(unit("worker@?.service", "worker@77.service"));
        assert_false(unit("worker@?.service", "worker@.service"));
        assert_false(unit("worker", "worker@7.service"));
        assert_false(unit("worker@7.servic", "worker@7.service"));
        assert_false(unit("worker@7.service?", "worker@7.service"));
        assert_false(unit("Worker@7.service", "worker@7.service"));
        assert_false(unit("", "worker@7.service"));
        assert_false(unit("[w]*", "worker@7.service"));
}

static void test_glob_retries_the_last_star(void **state)
{
        (void)state;
        assert_true(unit("a*bc", "abbc"));
        assert_true(unit("a*bc", "abcabc"));
        assert_true(unit("*ab?d", "ababcd"));
        assert_true(unit("a*b*c", "axbxbxc"));
        assert_false(unit("a*b*c", "axbxbx"));
        assert_false(unit("a*b*c", "axcxb"));
        assert_false(unit("a*bc", "abcb"));
}

static void test_hostile_glob_ends(void **state)
{
        char name[4096];

        (void)state;
        memset(name, 'a', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        assert_false(unit("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", name));
}

static void test_no_unit_is_not_any_unit(void **state)
{
        (void)state;
        assert_false(unit("*", ""));
        assert_false(unit("", ""));
        assert_false(unit("*", NULL));
}

static void test_slice(void **state)
{
        const char *cgroup = "/batch.slice/batch-night.slice/worker@7.service";

        (void)state;
        assert_true(slice("batch.slice", cgroup));
        assert_true(slice("batch-night.slice", cgroup));
        assert_true(slice("batch-*.slice", cgroup));
        assert_true(slice("*", cgroup));
        assert_false(slice("night.slice", cgroup));
        assert_false(slice("batch", cgroup));
        assert_false(slice("worker@7.service", cgroup));
        assert_false(slice("batch.slice/batch-night.slice", cgroup));
        assert_false(slice("", cgroup));
}

static void test_slice_of_odd_paths(void **state)
{
        (void)state;
        assert_true(slice("a.slice", "a.slice"));
        assert_true(slice("a.slice", "//a.slice//"));
        assert_true(slice("b.slice", "//a.slice//b.slice/x"));
        /* What is named by a unit's own user is not the system's: nobody gets into a tenant that way. */
        assert_false(slice("a.slice", "/x/a.slice"));
        assert_false(slice("web-*.slice",
                "/user.slice/user-1000.slice/user@1000.service/web.slice/web-evil.slice/run-1.scope"));
        assert_false(slice("*", ""));
        assert_false(slice("*", "/"));
        assert_false(slice("*", NULL));
        /* The suffix alone is no slice, nor is one in the middle of a name. */
        assert_false(slice("*", "/.slice"));
        assert_false(slice("*", "/a.slice.d/b.service"));
        assert_false(slice("*", "/slice"));
        /* A glob never reaches over a component's end. */
        assert_false(slice("a*b.slice", "/a.service/b.slice"));
}

static void test_unknown_kind_matches_nobody(void **state)
{
        (void)state;
        assert_false(match_peer(&(Match){.kind = (MatchKind)99, .id = 1000, .glob = "*"}, &peer));
}

static Role role_of(const PeerIdentity *who, uint32_t admin_gid, uint32_t admin_uid, uint32_t observer_gid)
{
        return policy_role(who,
                &(RolePolicy){.admin_gid = admin_gid, .admin_uid = admin_uid, .observer_gid = observer_gid});
}

static void test_role(void **state)
{
        PeerIdentity root = {.uid = 0, .gid = 0};
        PeerIdentity strange = {.uid = NOBODY, .gid = NOBODY};

        (void)state;
        assert_int_equal(role_of(&root, NOBODY, NOBODY, NOBODY), ROLE_ADMIN);
        assert_int_equal(role_of(&peer, NOBODY, NOBODY, NOBODY), ROLE_OWNER);
        assert_int_equal(role_of(&peer, 1001, NOBODY, NOBODY), ROLE_ADMIN);
        assert_int_equal(role_of(&peer, 300, NOBODY, NOBODY), ROLE_ADMIN);
        assert_int_equal(role_of(&peer, 301, NOBODY, NOBODY), ROLE_OWNER);
        assert_int_equal(role_of(&peer, 1000, NOBODY, NOBODY), ROLE_OWNER);
        assert_int_equal(role_of(&peer, NOBODY, 1000, NOBODY), ROLE_ADMIN);
        assert_int_equal(role_of(&peer, NOBODY, 1001, NOBODY), ROLE_OWNER);
        assert_int_equal(role_of(&peer, NOBODY, NOBODY, 300), ROLE_OBSERVER);
        assert_int_equal(role_of(&peer, NOBODY, NOBODY, 301), ROLE_OWNER);
        assert_int_equal(role_of(&peer, 300, NOBODY, 300), ROLE_ADMIN);
        assert_int_equal(role_of(&root, NOBODY, NOBODY, 0), ROLE_ADMIN);
        /* "None" is nobody, not the one whose id is -1. */
        assert_int_equal(role_of(&strange, NOBODY, NOBODY, NOBODY), ROLE_OWNER);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_user),
                cmocka_unit_test(test_group),
                cmocka_unit_test(test_group_without_supplementary),
                cmocka_unit_test(test_unit),
                cmocka_unit_test(test_glob_retries_the_last_star),
                cmocka_unit_test(test_hostile_glob_ends),
                cmocka_unit_test(test_no_unit_is_not_any_unit),
                cmocka_unit_test(test_slice),
                cmocka_unit_test(test_slice_of_odd_paths),
                cmocka_unit_test(test_unknown_kind_matches_nobody),
                cmocka_unit_test(test_role),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
