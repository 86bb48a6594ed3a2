/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "provisioner/mkfs.h"

static void test_label(void **state)
{
        char label[MKFS_LABEL_MAX];

        (void)state;
        mkfs_label(label, FSDAX_EXT4, "pm0");
        assert_string_equal(label, "pmbroker:pm0");
        mkfs_label(label, FSDAX_EXT4, "a-long-name");
        assert_string_equal(label, "pmbroker:a-long-");
        mkfs_label(label, FSDAX_XFS, "a-long-name");
        assert_string_equal(label, "pmbroker:a-l");
}

static void test_uuid(void **state)
{
        char a[MKFS_UUID_MAX], b[MKFS_UUID_MAX];

        (void)state;
        assert_int_equal(mkfs_uuid(a, "a"), 0);
        assert_int_equal(mkfs_uuid(b, "a"), 0);
        assert_string_equal(a, b);
        assert_int_equal(mkfs_uuid(b, "b"), 0);
        assert_string_not_equal(a, b);
}

static void test_ours(void **state)
{
        BlkProbe probe = {.content = BLK_SIGNATURE, .type = "ext4", .label = "pmbroker:pm0"};
        bool this_boot = true;

        (void)state;
        assert_true(mkfs_is_ours(&probe, "pm0", &this_boot));
        assert_false(this_boot);
        assert_int_equal(mkfs_uuid(probe.uuid, "pm0"), 0);
        assert_true(mkfs_is_ours(&probe, "pm0", &this_boot));
        assert_true(this_boot);
        assert_false(mkfs_is_ours(&probe, "pm1", &this_boot));
        assert_false(mkfs_is_ours(&probe, "pm", &this_boot));
        (void)strcpy(probe.type, "vfat");
        assert_false(mkfs_is_ours(&probe, "pm0", &this_boot));
        /* As xfs cuts it. */
        (void)strcpy(probe.type, "xfs");
        assert_true(mkfs_is_ours(&probe, "pm0", &this_boot));
        assert_true(mkfs_is_ours(&probe, "pm01", &this_boot));
        (void)strcpy(probe.label, "pmbroker:pm01");
        assert_false(mkfs_is_ours(&probe, "pm01", &this_boot));
        probe = (BlkProbe){.content = BLK_NOTHING};
        assert_false(mkfs_is_ours(&probe, "pm0", &this_boot));
}

static void test_inodes(void **state)
{
        (void)state;
        assert_int_equal(mkfs_inodes(0), 4096);
        assert_int_equal(mkfs_inodes(UINT64_C(4080) * JOB_UNIT), 4096);
        assert_int_equal(mkfs_inodes(UINT64_C(4081) * JOB_UNIT), 4097);
        assert_int_equal(mkfs_inodes(UINT64_C(1) << 60), 262144);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_label),
                cmocka_unit_test(test_uuid),
                cmocka_unit_test(test_ours),
                cmocka_unit_test(test_inodes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
