/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/quota.h"
#include "core/tenant-internal.h"

/* One tenant without limits and one store of 1000 bytes; each test sets the limit it is about. */
typedef struct Fixture {
        Tenant *tenant;
        Store store;
        Refusal refusal;
} Fixture;

static Fixture fixture_new(void)
{
        TenantConfig config = {
                .name = "batch",
                .bytes_max = UINT64_MAX,
                .pools_max = UINT32_MAX,
                .pool_bytes_max = UINT64_MAX,
        };
        Fixture f = {
                .tenant = tenant_new(&config, 1),
                .store = {.info = {.name = "ram", .available = true, .capacity = 1000}},
        };

        assert_non_null(f.tenant);
        return f;
}

static void fixture_free(Fixture *f)
{
        assert_int_equal(f->tenant->bytes, 0);
        assert_int_equal(f->tenant->n_pools, 0);
        assert_true(list_is_empty(&f->tenant->shares));
        assert_int_equal(f->store.charged, 0);
        assert_int_equal(f->store.n_pools, 0);
        tenant_free(f->tenant);
}

static Charge charged(Fixture *f, uint64_t bytes)
{
        Charge charge = {0};

        assert_int_equal(quota_charge(f->tenant, &f->store, bytes, &charge, &f->refusal), RESULT_OK);
        assert_int_equal(charge.bytes, bytes);
        return charge;
}

static void check_refused(Fixture *f, uint64_t bytes, const Refusal *expected)
{
        uint64_t before = f->tenant->bytes, store_before = f->store.charged;
        Charge charge = {.bytes = 4711};

        f->refusal = (Refusal){0};
        assert_int_equal(quota_charge(f->tenant, &f->store, bytes, &charge, &f->refusal), expected->code);
        assert_int_equal(f->refusal.code, expected->code);
        assert_int_equal(f->refusal.asked, expected->asked);
        assert_int_equal(f->refusal.limit, expected->limit);
        assert_int_equal(f->refusal.used, expected->used);
        assert_string_equal(f->refusal.subject, expected->subject);
        assert_int_equal(f->tenant->bytes, before);
        assert_int_equal(f->store.charged, store_before);
        assert_int_equal(charge.bytes, 4711);
        assert_null(charge.share);
}

#define REFUSED(f, bytes, ...) check_refused((f), (bytes), &(Refusal){__VA_ARGS__})

static void test_percent_of(void **state)
{
        (void)state;
        assert_int_equal(quota_percent_of(0, 50), 0);
        assert_int_equal(quota_percent_of(1, 99), 0);
        assert_int_equal(quota_percent_of(99, 1), 0);
        assert_int_equal(quota_percent_of(100, 1), 1);
        assert_int_equal(quota_percent_of(199, 50), 99);
        assert_int_equal(quota_percent_of(200, 50), 100);
        assert_int_equal(quota_percent_of(1000, 25), 250);
        assert_int_equal(quota_percent_of(1000, 99), 990);
        assert_int_equal(quota_percent_of(1000, 100), 1000);
        assert_int_equal(quota_percent_of(1000, 101), 1000);
        assert_int_equal(quota_percent_of(1000, 0), 0);
        assert_int_equal(quota_percent_of(UINT64_MAX, 1), UINT64_C(184467440737095516));
        assert_int_equal(quota_percent_of(UINT64_MAX, 99), UINT64_C(18262276632972456098));
        assert_int_equal(quota_percent_of(UINT64_MAX, 100), UINT64_MAX);
}

/* Of the store, the tenant, its share and its largest pool: the least. */
static void test_pool_max(void **state)
{
        Fixture f = fixture_new();
        Charge charge;

        (void)state;
        assert_int_equal(quota_pool_max(f.tenant, &f.store), 1000);
        f.tenant->config.bytes_max = 900;
        assert_int_equal(quota_pool_max(f.tenant, &f.store), 900);
        f.tenant->config.percent = 80;
        assert_int_equal(quota_pool_max(f.tenant, &f.store), 800);
        f.tenant->config.pool_bytes_max = 700;
        assert_int_equal(quota_pool_max(f.tenant, &f.store), 700);
        f.tenant->config.percent = 69;
        assert_int_equal(quota_pool_max(f.tenant, &f.store), 690);
        charge = charged(&f, 600);
        assert_int_equal(quota_pool_max(f.tenant, &f.store), 690);
        charge_release(&charge);
        fixture_free(&f);
}

static void test_receipt(void **state)
{
        Fixture f = fixture_new();
        Charge a = charged(&f, 300), b = charged(&f, 200);

        (void)state;
        assert_ptr_equal(a.tenant, f.tenant);
        assert_ptr_equal(a.store, &f.store);
        assert_ptr_equal(a.share, b.share);
        assert_int_equal(f.tenant->bytes, 500);
        assert_int_equal(f.tenant->n_pools, 2);
        assert_int_equal(a.share->bytes, 500);
        assert_int_equal(a.share->n_pools, 2);
        assert_int_equal(f.store.charged, 500);
        assert_int_equal(f.store.n_pools, 2);
        assert_int_equal(tenant_figures(f.tenant).bytes, 500);
        assert_int_equal(tenant_figures(f.tenant).pools, 2);

        charge_release(&a);
        assert_null(a.share);
        assert_int_equal(a.bytes, 0);
        assert_int_equal(f.tenant->bytes, 200);
        assert_int_equal(f.store.n_pools, 1);
        charge_release(&a);
        assert_int_equal(f.tenant->bytes, 200);
        assert_int_equal(f.tenant->n_pools, 1);

        charge_release(&b);
        fixture_free(&f);
}

static void test_bytes_max(void **state)
{
        Fixture f = fixture_new();
        Charge a, b;

        (void)state;
        f.tenant->config.bytes_max = 500;
        REFUSED(&f, 501, .code = RESULT_QUOTA_BYTES, .asked = 501, .limit = 500, .used = 0,
                .subject = "batch");
        a = charged(&f, 500);
        REFUSED(&f, 1, .code = RESULT_QUOTA_BYTES, .asked = 1, .limit = 500, .used = 500,
                .subject = "batch");
        charge_release(&a);
        a = charged(&f, 499);
        REFUSED(&f, 2, .code = RESULT_QUOTA_BYTES, .asked = 2, .limit = 500, .used = 499,
                .subject = "batch");
        b = charged(&f, 1);
        charge_release(&a);
        charge_release(&b);
        fixture_free(&f);
}

static void test_bytes_max_holds_over_all_stores(void **state)
{
        Store other = {.info = {.name = "pmem", .available = true, .capacity = 1000}};
        Fixture f = fixture_new();
        Charge a, b = {0};

        (void)state;
        f.tenant->config.bytes_max = 500;
        a = charged(&f, 300);
        assert_int_equal(quota_charge(f.tenant, &other, 201, &b, &f.refusal), RESULT_QUOTA_BYTES);
        assert_int_equal(f.refusal.used, 300);
        assert_int_equal(quota_charge(f.tenant, &other, 200, &b, &f.refusal), RESULT_OK);
        assert_ptr_not_equal(a.share, b.share);
        assert_int_equal(other.charged, 200);
        assert_int_equal(f.store.charged, 300);
        charge_release(&a);
        charge_release(&b);
        assert_int_equal(other.n_pools, 0);
        fixture_free(&f);
}

static void test_percent_holds_per_store(void **state)
{
        Store other = {.info = {.name = "pmem", .available = true, .capacity = 4000}};
        Fixture f = fixture_new();
        Charge a, b = {0};

        (void)state;
        f.tenant->config.percent = 25;
        REFUSED(&f, 251, .code = RESULT_QUOTA_BYTES, .asked = 251, .limit = 250, .used = 0,
                .subject = "batch");
        a = charged(&f, 249);
        REFUSED(&f, 2, .code = RESULT_QUOTA_BYTES, .asked = 2, .limit = 250, .used = 249,
                .subject = "batch");
        assert_int_equal(charge_grow(&a, 1, &f.refusal), RESULT_OK);
        REFUSED(&f, 1, .code = RESULT_QUOTA_BYTES, .asked = 1, .limit = 250, .used = 250,
                .subject = "batch");

        /* What is used in one store does not count in the other. */
        assert_int_equal(quota_charge(f.tenant, &other, 1001, &b, &f.refusal), RESULT_QUOTA_BYTES);
        assert_int_equal(f.refusal.limit, 1000);
        assert_int_equal(f.refusal.used, 0);
        assert_int_equal(quota_charge(f.tenant, &other, 1000, &b, &f.refusal), RESULT_OK);
        charge_release(&a);
        charge_release(&b);
        fixture_free(&f);
}

static void test_both_limits(void **state)
{
        Fixture f = fixture_new();
        Charge a;

        (void)state;
        f.tenant->config.percent = 25;
        f.tenant->config.bytes_max = 240;
        REFUSED(&f, 241, .code = RESULT_QUOTA_BYTES, .asked = 241, .limit = 240, .used = 0,
                .subject = "batch");
        f.tenant->config.bytes_max = 260;
        REFUSED(&f, 251, .code = RESULT_QUOTA_BYTES, .asked = 251, .limit = 250, .used = 0,
                .subject = "batch");
        a = charged(&f, 250);
        charge_release(&a);
        fixture_free(&f);
}

static void test_store_full(void **state)
{
        Fixture f = fixture_new();
        Charge a, b;

        (void)state;
        REFUSED(&f, 1001, .code = RESULT_STORE_FULL, .asked = 1001, .limit = 1000, .used = 0,
                .subject = "ram");
        a = charged(&f, 999);
        REFUSED(&f, 2, .code = RESULT_STORE_FULL, .asked = 2, .limit = 1000, .used = 999, .subject = "ram");
        b = charged(&f, 1);
        REFUSED(&f, 1, .code = RESULT_STORE_FULL, .asked = 1, .limit = 1000, .used = 1000, .subject = "ram");
        f.store.info.capacity = 900;
        REFUSED(&f, 1, .code = RESULT_STORE_FULL, .asked = 1, .limit = 900, .used = 1000, .subject = "ram");
        charge_release(&a);
        charge_release(&b);
        f.store.info.available = false;
        REFUSED(&f, 1, .code = RESULT_STORE_FULL, .asked = 1, .limit = 900, .used = 0, .subject = "ram");
        fixture_free(&f);
}

static void test_pools_max(void **state)
{
        Fixture f = fixture_new();
        Charge a, b;

        (void)state;
        f.tenant->config.pools_max = 2;
        a = charged(&f, 1);
        b = charged(&f, 1);
        REFUSED(&f, 1, .code = RESULT_QUOTA_POOLS, .asked = 1, .limit = 2, .used = 2, .subject = "batch");
        f.tenant->config.pools_max = 1;
        REFUSED(&f, 1, .code = RESULT_QUOTA_POOLS, .asked = 1, .limit = 1, .used = 2, .subject = "batch");
        charge_release(&a);
        REFUSED(&f, 1, .code = RESULT_QUOTA_POOLS, .asked = 1, .limit = 1, .used = 1, .subject = "batch");
        charge_release(&b);
        a = charged(&f, 1);
        charge_release(&a);
        f.tenant->config.pools_max = 0;
        REFUSED(&f, 1, .code = RESULT_QUOTA_POOLS, .asked = 1, .limit = 0, .used = 0, .subject = "batch");
        fixture_free(&f);
}

static void test_pool_bytes_max(void **state)
{
        Fixture f = fixture_new();
        Charge a;

        (void)state;
        f.tenant->config.pool_bytes_max = 100;
        REFUSED(&f, 101, .code = RESULT_QUOTA_POOL_SIZE, .asked = 101, .limit = 100, .subject = "batch");
        a = charged(&f, 99);
        assert_int_equal(charge_grow(&a, 2, &f.refusal), RESULT_QUOTA_POOL_SIZE);
        assert_int_equal(f.refusal.asked, 101);
        assert_int_equal(f.refusal.limit, 100);
        assert_int_equal(f.refusal.used, 0);
        assert_int_equal(a.bytes, 99);
        assert_int_equal(charge_grow(&a, 1, &f.refusal), RESULT_OK);
        assert_int_equal(a.bytes, 100);
        charge_release(&a);
        fixture_free(&f);
}

static void test_order_of_refusals(void **state)
{
        Fixture f = fixture_new();

        (void)state;
        f.tenant->config.pool_bytes_max = 10;
        f.tenant->config.pools_max = 0;
        f.tenant->config.bytes_max = 10;
        f.tenant->config.percent = 1;
        f.store.info.capacity = 10;
        REFUSED(&f, 11, .code = RESULT_QUOTA_POOL_SIZE, .asked = 11, .limit = 10, .subject = "batch");
        f.tenant->config.pool_bytes_max = 11;
        REFUSED(&f, 11, .code = RESULT_QUOTA_POOLS, .asked = 1, .limit = 0, .subject = "batch");
        f.tenant->config.pools_max = 1;
        REFUSED(&f, 11, .code = RESULT_QUOTA_BYTES, .asked = 11, .limit = 10, .subject = "batch");
        f.tenant->config.bytes_max = 11;
        REFUSED(&f, 11, .code = RESULT_QUOTA_BYTES, .asked = 11, .limit = 0, .subject = "batch");
        f.tenant->config.percent = 0;
        REFUSED(&f, 11, .code = RESULT_STORE_FULL, .asked = 11, .limit = 10, .subject = "ram");
        f.store.info.capacity = 11;
        (void)charged(&f, 11);
        charge_release(&(Charge){.tenant = f.tenant,
                .store = &f.store,
                .share = tenant_find_share(f.tenant, &f.store),
                .bytes = 11});
        fixture_free(&f);
}

static void test_grow_and_shrink(void **state)
{
        Fixture f = fixture_new();
        Charge a = charged(&f, 400), b = charged(&f, 100);

        (void)state;
        f.tenant->config.bytes_max = 600;
        assert_int_equal(charge_grow(&a, 101, &f.refusal), RESULT_QUOTA_BYTES);
        assert_int_equal(f.refusal.asked, 101);
        assert_int_equal(f.refusal.limit, 600);
        assert_int_equal(f.refusal.used, 500);
        assert_int_equal(charge_grow(&a, 100, &f.refusal), RESULT_OK);
        assert_int_equal(a.bytes, 500);
        assert_int_equal(a.share->bytes, 600);
        assert_int_equal(f.tenant->bytes, 600);
        assert_int_equal(f.store.charged, 600);
        assert_int_equal(f.tenant->n_pools, 2);

        f.tenant->config.bytes_max = UINT64_MAX;
        f.store.info.capacity = 601;
        assert_int_equal(charge_grow(&b, 2, &f.refusal), RESULT_STORE_FULL);
        assert_int_equal(f.refusal.asked, 2);
        assert_int_equal(f.refusal.limit, 601);
        assert_int_equal(f.refusal.used, 600);

        charge_shrink(&a, 499);
        assert_int_equal(a.bytes, 1);
        assert_int_equal(f.tenant->bytes, 101);
        assert_int_equal(f.store.charged, 101);
        charge_shrink(&a, 1);
        assert_int_equal(a.bytes, 0);
        assert_int_equal(f.tenant->n_pools, 2);
        charge_release(&a);
        charge_release(&b);
        fixture_free(&f);
}

static void test_grow_within_a_share(void **state)
{
        Fixture f = fixture_new();
        Charge a = charged(&f, 249);

        (void)state;
        f.tenant->config.percent = 25;
        assert_int_equal(charge_grow(&a, 2, &f.refusal), RESULT_QUOTA_BYTES);
        assert_int_equal(f.refusal.limit, 250);
        assert_int_equal(f.refusal.used, 249);
        assert_int_equal(charge_grow(&a, 1, &f.refusal), RESULT_OK);
        charge_release(&a);
        fixture_free(&f);
}

static void test_forced_knows_no_limit(void **state)
{
        Fixture f = fixture_new();
        Charge a = {0};

        (void)state;
        f.tenant->config.bytes_max = 10;
        f.tenant->config.pools_max = 0;
        f.tenant->config.pool_bytes_max = 1;
        f.store.info.available = false;
        assert_int_equal(quota_charge_forced(f.tenant, &f.store, 5000, &a), 0);
        assert_int_equal(f.tenant->bytes, 5000);
        assert_int_equal(f.store.charged, 5000);

        /* Above the limit nothing fits, and nothing wraps. */
        f.tenant->config.pools_max = 9;
        REFUSED(&f, 1, .code = RESULT_QUOTA_BYTES, .asked = 1, .limit = 10, .used = 5000,
                .subject = "batch");
        f.tenant->config.bytes_max = UINT64_MAX;
        f.tenant->config.percent = 25;
        REFUSED(&f, 1, .code = RESULT_QUOTA_BYTES, .asked = 1, .limit = 250, .used = 5000,
                .subject = "batch");
        charge_release(&a);
        fixture_free(&f);
}

static void test_what_exists_is_charged(void **state)
{
        Fixture f = fixture_new();
        Charge a = charged(&f, 300), b = charged(&f, 100);

        (void)state;
        f.tenant->config.bytes_max = 10;
        f.tenant->config.pool_bytes_max = 10;
        f.store.info.available = false;
        assert_int_equal(charge_set_forced(&a, 5000), 0);
        assert_int_equal(a.bytes, 5000);
        assert_int_equal(a.share->bytes, 5100);
        assert_int_equal(f.tenant->bytes, 5100);
        assert_int_equal(f.store.charged, 5100);
        assert_int_equal(f.tenant->n_pools, 2);
        assert_int_equal(charge_set_forced(&a, 5000), 0);
        assert_int_equal(f.tenant->bytes, 5100);
        assert_int_equal(charge_set_forced(&a, 7), 0);
        assert_int_equal(a.bytes, 7);
        assert_int_equal(a.share->bytes, 107);
        assert_int_equal(f.tenant->bytes, 107);
        assert_int_equal(f.store.charged, 107);

        assert_int_equal(charge_set_forced(&a, UINT64_MAX - 100), 0);
        assert_int_equal(f.tenant->bytes, UINT64_MAX);
        assert_int_equal(charge_set_forced(&b, 101), -EOVERFLOW);
        assert_int_equal(charge_set_forced(&a, UINT64_MAX), -EOVERFLOW);
        assert_int_equal(a.bytes, UINT64_MAX - 100);
        assert_int_equal(b.bytes, 100);
        assert_int_equal(f.tenant->bytes, UINT64_MAX);
        charge_release(&a);
        f.store.charged = UINT64_MAX;
        assert_int_equal(charge_set_forced(&b, 101), -EOVERFLOW);
        f.store.charged = 100;
        charge_release(&b);
        fixture_free(&f);
}

static void test_no_number_wraps(void **state)
{
        Fixture f = fixture_new();
        Charge a, b = {0};

        (void)state;
        f.store.info.capacity = UINT64_MAX;
        a = charged(&f, UINT64_MAX);
        REFUSED(&f, 1, .code = RESULT_QUOTA_BYTES, .asked = 1, .limit = UINT64_MAX, .used = UINT64_MAX,
                .subject = "batch");
        REFUSED(&f, UINT64_MAX, .code = RESULT_QUOTA_BYTES, .asked = UINT64_MAX, .limit = UINT64_MAX,
                .used = UINT64_MAX, .subject = "batch");
        f.tenant->config.pool_bytes_max = UINT64_MAX - 1;
        assert_int_equal(charge_grow(&a, UINT64_MAX, &f.refusal), RESULT_QUOTA_POOL_SIZE);
        assert_int_equal(f.refusal.asked, UINT64_MAX);
        f.tenant->config.pool_bytes_max = UINT64_MAX;
        assert_int_equal(charge_grow(&a, 1, &f.refusal), RESULT_QUOTA_BYTES);
        assert_int_equal(quota_charge_forced(f.tenant, &f.store, 1, &b), -EOVERFLOW);
        assert_int_equal(quota_charge_forced(f.tenant, &f.store, 0, &b), 0);
        charge_release(&a);
        charge_release(&b);

        f.tenant->n_pools = UINT32_MAX;
        REFUSED(&f, 1, .code = RESULT_QUOTA_POOLS, .asked = 1, .limit = UINT32_MAX, .used = UINT32_MAX,
                .subject = "batch");
        assert_int_equal(quota_charge_forced(f.tenant, &f.store, 1, &b), -EOVERFLOW);
        f.tenant->n_pools = 0;
        f.store.charged = UINT64_MAX;
        assert_int_equal(quota_charge_forced(f.tenant, &f.store, 1, &b), -EOVERFLOW);
        f.store.charged = 0;
        f.store.n_pools = UINT32_MAX;
        assert_int_equal(quota_charge_forced(f.tenant, &f.store, 1, &b), -EOVERFLOW);
        f.store.n_pools = 0;
        fixture_free(&f);
}

static void test_tenants_share_a_store(void **state)
{
        Fixture f = fixture_new();
        Tenant *other = tenant_new(
                &(TenantConfig){
                        .name = "web", .bytes_max = 900, .pools_max = 1, .pool_bytes_max = UINT64_MAX},
                2);
        Charge a = charged(&f, 600), b = {0};

        (void)state;
        assert_int_equal(quota_charge(other, &f.store, 401, &b, &f.refusal), RESULT_STORE_FULL);
        assert_int_equal(f.refusal.used, 600);
        assert_int_equal(quota_charge(other, &f.store, 400, &b, &f.refusal), RESULT_OK);
        assert_int_equal(f.tenant->bytes, 600);
        assert_int_equal(other->bytes, 400);
        assert_int_equal(f.store.charged, 1000);
        charge_release(&b);
        assert_int_equal(f.store.charged, 600);
        charge_release(&a);
        tenant_free(other);
        fixture_free(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_percent_of),
                cmocka_unit_test(test_pool_max),
                cmocka_unit_test(test_receipt),
                cmocka_unit_test(test_bytes_max),
                cmocka_unit_test(test_bytes_max_holds_over_all_stores),
                cmocka_unit_test(test_percent_holds_per_store),
                cmocka_unit_test(test_both_limits),
                cmocka_unit_test(test_store_full),
                cmocka_unit_test(test_pools_max),
                cmocka_unit_test(test_pool_bytes_max),
                cmocka_unit_test(test_order_of_refusals),
                cmocka_unit_test(test_grow_and_shrink),
                cmocka_unit_test(test_grow_within_a_share),
                cmocka_unit_test(test_forced_knows_no_limit),
                cmocka_unit_test(test_what_exists_is_charged),
                cmocka_unit_test(test_no_number_wraps),
                cmocka_unit_test(test_tenants_share_a_store),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
