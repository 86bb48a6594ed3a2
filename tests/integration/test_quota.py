# SPDX-License-Identifier: BSD-3-Clause
"""Who is charged, and that each limit holds at -1, 0 and +1 with the numbers that the refusal promises."""

import pytest

from daemon import ADMIN_GROUP, ALICE, BOB, CAROL, DAVE, EVE, broker, needs_root, store, tenant
from pmbproto import MIB, UNIT

NO_LIMIT = 2 ** 64 - 1

pytestmark = needs_root


@pytest.fixture
def daemon(start, kind):
    return start(
        broker(),
        store('main', kind, '64M'),
        tenant('a', User=ALICE, Bytes='16M', Pools=4, PoolBytes='8M'),
        tenant('b', User=f'{BOB} {CAROL}', Bytes='infinity', Pools='infinity'),
        tenant('g', Group=ADMIN_GROUP, Bytes='4M'),
        tenant('default', Bytes='25%', Pools=3))


def used(daemon, name):
    row = daemon.tenants()[name]
    return row.bytes, row.pools


# ------------------------------------------------------------------------------------------------------ one limit

def test_bytes(daemon, refused):
    user = daemon.user(ALICE)
    user.create(8 * MIB)
    with refused('QUOTA_BYTES', asked=10 * MIB - UNIT, limit=16 * MIB, used=10 * MIB, subject='a', errno=122):
        user.create(UNIT)
        user.create(10 * MIB - UNIT)
    user.create(4 * MIB)  # one unit below the limit
    assert used(daemon, 'a') == (14 * MIB, 3)
    with refused('QUOTA_BYTES', asked=4 * MIB, limit=16 * MIB, used=14 * MIB, subject='a'):
        user.create(4 * MIB)
    last = user.create(UNIT).pool  # the limit itself
    assert used(daemon, 'a') == (16 * MIB, 4)
    user.drop(last)
    assert used(daemon, 'a') == (14 * MIB, 3)


def test_bytes_of_a_growing_pool(daemon, refused):
    user = daemon.user(ALICE)
    first, second = (user.create(4 * MIB, max=64 * MIB).pool for _ in range(2))
    user.create(4 * MIB)
    assert user.resize(first, 6 * MIB).size == 6 * MIB  # one unit below the limit
    with refused('QUOTA_BYTES', asked=4 * MIB, limit=16 * MIB, used=14 * MIB, subject='a'):
        user.resize(second, 8 * MIB)
    assert user.resize(second, 6 * MIB).size == 6 * MIB  # the limit itself
    assert used(daemon, 'a') == (16 * MIB, 3)
    with refused('QUOTA_BYTES', asked=2 * MIB, limit=16 * MIB, used=16 * MIB, subject='a'):
        user.resize(second, 8 * MIB)


def test_pools(daemon, refused):
    user = daemon.user(ALICE)
    pools = [user.create(UNIT).pool for _ in range(4)]
    for _ in range(2):
        with refused('QUOTA_POOLS', asked=1, limit=4, used=4, subject='a', errno=122):
            user.create(UNIT)
    user.drop(pools.pop())
    pools.append(user.create(UNIT).pool)
    assert used(daemon, 'a') == (4 * UNIT, 4)


def test_pool_size(daemon, refused):
    user = daemon.user(ALICE)
    with refused('QUOTA_POOL_SIZE', asked=10 * MIB, limit=8 * MIB, subject='a', errno=122):
        user.create(10 * MIB)
    pool = user.create(6 * MIB, max=64 * MIB).pool
    assert user.resize(pool, 8 * MIB).size == 8 * MIB
    with refused('QUOTA_POOL_SIZE', asked=10 * MIB, limit=8 * MIB, subject='a'):
        user.resize(pool, 10 * MIB)
    assert used(daemon, 'a') == (8 * MIB, 1)


def test_store_full(daemon, refused):
    user, other = daemon.user(BOB), daemon.user(CAROL)
    user.create(40 * MIB)
    pool = other.create(22 * MIB, max=64 * MIB).pool  # one unit below the capacity
    with refused('STORE_FULL', asked=4 * MIB, limit=64 * MIB, used=62 * MIB, subject='main', errno=28):
        user.create(4 * MIB)
    with refused('STORE_FULL', asked=4 * MIB, limit=64 * MIB, used=62 * MIB, subject='main'):
        other.resize(pool, 26 * MIB)
    assert other.resize(pool, 24 * MIB).size == 24 * MIB  # the capacity itself
    with refused('STORE_FULL', asked=UNIT, limit=64 * MIB, used=64 * MIB, subject='main'):
        user.create(UNIT)
    assert used(daemon, 'b') == (64 * MIB, 2)
    assert daemon.stores()['main'].charged == 64 * MIB


def test_quota_of_one_is_no_room_in_a_full_store(daemon, refused):
    daemon.user(BOB).create(64 * MIB)
    with refused('STORE_FULL', asked=UNIT, limit=64 * MIB, used=64 * MIB, subject='main'):
        daemon.user(ALICE).create(UNIT)


def test_refusals_come_in_their_order(daemon, refused):
    """Size of the pool, number of pools, bytes, store."""
    user = daemon.user(ALICE)
    for _ in range(3):
        user.create(4 * MIB)
    user.create(4 * MIB)
    with refused('QUOTA_POOL_SIZE'):
        user.create(128 * MIB)
    with refused('QUOTA_POOLS'):
        user.create(8 * MIB)


def test_refusals_are_counted_and_charge_nothing(daemon, refused):
    before = daemon.status().refusals
    user = daemon.user(ALICE)
    for _ in range(10):
        with refused('QUOTA_POOL_SIZE'):
            user.create(32 * MIB)
    assert daemon.status().refusals == before + 10
    assert used(daemon, 'a') == (0, 0)


# --------------------------------------------------------------------------------------------------- who is whom

def test_users_of_one_tenant_share_its_limits(start, kind, refused):
    daemon = start(broker(), store('main', kind), tenant('t', User=f'{ALICE} {BOB}', Bytes='8M'))
    alice, bob = daemon.user(ALICE), daemon.user(BOB)
    assert alice.create(4 * MIB).tenant == 't'
    with refused('QUOTA_BYTES', asked=6 * MIB, limit=8 * MIB, used=4 * MIB, subject='t'):
        bob.create(6 * MIB)
    assert bob.create(4 * MIB).tenant == 't'


def test_processes_of_one_user_share_its_limits(daemon, refused):
    for _ in range(4):
        daemon.user(ALICE).create(UNIT)
    with refused('QUOTA_POOLS', asked=1, limit=4, used=4, subject='a'):
        daemon.user(ALICE).create(UNIT)


def test_tenants_are_matched_by_user_and_group(daemon):
    assert daemon.user(ALICE).create(UNIT).tenant == 'a'
    assert daemon.user(CAROL).create(UNIT).tenant == 'b'
    assert daemon.user(EVE).create(UNIT).tenant == 'default'
    assert daemon.user(EVE, gid=ADMIN_GROUP).create(UNIT).tenant == 'g'
    assert daemon.user(EVE, groups=[5, ADMIN_GROUP]).create(UNIT).tenant == 'g'
    assert daemon.user(ALICE, groups=[ADMIN_GROUP]).create(UNIT).tenant == 'a'  # the first that matches
    assert used(daemon, 'g') == (2 * UNIT, 2)


def test_what_one_has_is_not_another_s_limit(daemon, refused):
    daemon.user(ALICE).create(8 * MIB)
    with refused('QUOTA_BYTES', asked=6 * MIB, limit=4 * MIB, used=0, subject='g'):
        daemon.user(EVE, gid=ADMIN_GROUP).create(6 * MIB)
    assert daemon.user(EVE, gid=ADMIN_GROUP).create(4 * MIB).size == 4 * MIB


def test_tenants_are_listed_with_their_limits(daemon):
    rows = daemon.tenants()
    assert list(rows) == ['a', 'b', 'g', 'default']
    a, b, default = rows['a'], rows['b'], rows['default']
    assert (a.bytes_max, a.percent, a.pools_max, a.pool_bytes_max) == (16 * MIB, 0, 4, 8 * MIB)
    assert (b.bytes_max, b.percent, b.pools_max, b.pool_bytes_max) == (NO_LIMIT, 0, 2 ** 32 - 1, NO_LIMIT)
    assert (default.bytes_max, default.percent, default.pools_max) == (0, 25, 3)


# -------------------------------------------------------------------------------------------------------- default

def test_default_has_a_quarter_of_each_store(start, kind, refused):
    daemon = start(broker(), store('one', kind, '64M'), store('two', kind, '32M'))
    user = daemon.user(DAVE)
    user.create(14 * MIB, store='one')
    with refused('QUOTA_BYTES', asked=4 * MIB, limit=16 * MIB, used=14 * MIB, subject='default'):
        user.create(4 * MIB, store='one')
    user.create(2 * MIB, store='one')
    with refused('QUOTA_BYTES', asked=10 * MIB, limit=8 * MIB, used=0, subject='default'):
        user.create(10 * MIB, store='two')
    user.create(8 * MIB, store='two')
    for name, limit in ('one', 16 * MIB), ('two', 8 * MIB):
        with refused('QUOTA_BYTES', asked=UNIT, limit=limit, used=limit, subject='default'):
            daemon.user(EVE).create(UNIT, store=name)
    row = daemon.tenants()['default']
    assert (row.bytes, row.pools, row.percent) == (24 * MIB, 3, 25)


def test_without_default_tenant_nobody_else_is_served(start, kind, refused):
    daemon = start(broker(DefaultTenant='no'), store('main', kind), tenant('a', User=ALICE, Bytes='8M'))
    with refused('NO_TENANT', errno=13):
        daemon.user(BOB).create(UNIT)
    with refused('NO_TENANT'):
        daemon.user(0).create(UNIT)
    assert daemon.user(ALICE).create(UNIT).tenant == 'a'
    assert list(daemon.tenants()) == ['a']


# --------------------------------------------------------------------------------------------------------- stores

@pytest.fixture
def three(start, kind):
    return start(
        broker(),
        store('small', kind, '16M'), store('large', kind, '32M'), store('secret', kind, '64M'),
        tenant('a', User=ALICE, Bytes='infinity', Stores='small large'),
        tenant('default', Bytes='infinity'))


def test_stores_of_others_are_unknown(three, refused):
    user = three.user(ALICE)
    with refused('STORE_UNKNOWN', errno=2, subject=''):
        user.create(UNIT, store='secret')
    with refused('STORE_UNKNOWN', subject=''):  # as one that there is not
        user.create(UNIT, store='nosuch')
    assert user.create(UNIT, store='small').store == 'small'
    assert three.user(BOB).create(UNIT, store='secret').store == 'secret'
    assert three.tenants()['a'].stores == 'small large'


def test_emptiest_store_is_taken_first(three, refused):
    user = three.user(ALICE)
    taken = [user.create(8 * MIB).store for _ in range(6)]
    assert sorted(taken) == ['large'] * 4 + ['small'] * 2
    assert taken[:2] == ['large'] * 2
    with refused('STORE_FULL', asked=UNIT):
        user.create(UNIT)
    assert three.user(BOB).create(UNIT).store == 'secret'


def test_store_with_room_is_found_even_if_not_the_emptiest(start, kind):
    daemon = start(
        broker(), store('one', kind, '32M'), store('two', kind, '32M'),
        tenant('a', User=ALICE, Bytes='25%'), tenant('default', Bytes='infinity'))
    user = daemon.user(ALICE)
    assert [user.create(8 * MIB).store for _ in range(2)] == ['one', 'two']


def test_absolute_and_relative_limits_hold_both(start, kind, refused):
    daemon = start(
        broker(), store('one', kind, '32M'), store('two', kind, '32M'), tenant('a', User=ALICE, Bytes='50% 20M'))
    user = daemon.user(ALICE)
    user.create(16 * MIB, store='one')
    with refused('QUOTA_BYTES', asked=UNIT, limit=16 * MIB, used=16 * MIB, subject='a'):
        user.create(UNIT, store='one')
    with refused('QUOTA_BYTES', asked=6 * MIB, limit=20 * MIB, used=16 * MIB, subject='a'):
        user.create(6 * MIB, store='two')
    assert user.create(4 * MIB, store='two').size == 4 * MIB
