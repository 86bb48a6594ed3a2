# SPDX-License-Identifier: BSD-3-Clause
"""Both sides of every bound on sizes, unit ranges and names. A refused request changes nothing."""

import pytest

from daemon import broker, store, tenant
from pmbproto import GIB, MIB, UNIT

LARGEST = 1 << 46
OF_QUOTA = 2 ** 64 - 1  # as much as the quota permits
NO_SIZES = [0, 1, UNIT - 1, UNIT + 1, 3 * UNIT - 1, LARGEST + 1, LARGEST + UNIT, 2 ** 63, 2 ** 64 - UNIT, 2 ** 64 - 1]


@pytest.fixture(scope='module')
def shared(start_shared):
    return start_shared(
        broker(RequestsPerSecond=100000, RequestsBurst=100000),
        store('main', 'dir', '4G'),
        tenant('default', Bytes='infinity', Pools='infinity'))


@pytest.fixture
def user(shared):
    yield shared.user()
    assert shared.is_consistent()
    shared.dismiss()


@pytest.fixture
def pool(user):
    """A pool of 8 units that may grow to 16."""
    grant = user.create(8 * UNIT, max=16 * UNIT)
    yield grant.pool
    assert user.pool(grant.pool).size == 8 * UNIT


# --------------------------------------------------------------------------------------------------------- create

@pytest.mark.parametrize('size', NO_SIZES)
def test_create_of_no_size_is_invalid(user, refused, size):
    with refused('INVALID', asked=size, errno=22):
        user.create(size)
    assert user.pools() == []


@pytest.mark.parametrize('size', [UNIT, 2 * UNIT, 3 * UNIT, 4 * GIB])
def test_create_of_whole_units(user, size):
    grant = user.create(size)
    assert (grant.size, grant.length, grant.max) == (size, size, size)
    assert (grant.store, grant.tenant, grant.page_size) == ('main', 'default', 4096)
    assert user.stat(grant.pool)[0] == size
    assert user.pool(grant.pool).size == size


def test_create_of_the_largest_size_is_only_too_much(user, refused):
    with refused('STORE_FULL', asked=LARGEST, limit=4 * GIB, used=0, subject='main', errno=28):
        user.create(LARGEST)


@pytest.mark.parametrize('limit', [n for n in NO_SIZES if n not in (0, OF_QUOTA)] + [UNIT])
def test_max_out_of_range_or_below_size_is_invalid(user, refused, limit):
    with refused('INVALID', asked=limit):
        user.create(2 * UNIT, max=limit)


@pytest.mark.parametrize('limit', [2 * UNIT, 3 * UNIT, LARGEST])
def test_max_is_kept(user, limit):
    grant = user.create(2 * UNIT, max=limit)
    assert grant.max == limit
    assert user.pool(grant.pool).max == limit


def test_max_of_the_quota(start, kind):
    daemon = start(broker(), store('main', kind, '128M'), tenant('default', Bytes='64M', PoolBytes='33M'))
    grant = daemon.user().create(2 * UNIT, max=OF_QUOTA)
    assert (grant.size, grant.max) == (2 * UNIT, 16 * UNIT)


# --------------------------------------------------------------------------------------------------------- resize

@pytest.mark.parametrize('size', NO_SIZES + [UNIT, 7 * UNIT])
def test_owner_cannot_resize_to_less_or_to_no_size(user, refused, pool, size):
    with refused('INVALID', asked=size):
        user.resize(pool, size)


@pytest.mark.parametrize('size', [17 * UNIT, LARGEST])
def test_resize_beyond_max(user, refused, pool, size):
    with refused('POOL_MAX', asked=size, limit=16 * UNIT, errno=122):
        user.resize(pool, size)


def test_resize_to_the_same_size_is_a_success(user, pool):
    answer = user.resize(pool, 8 * UNIT)
    assert (answer.pool, answer.size, answer.length, answer.target) == (pool, 8 * UNIT, 8 * UNIT, 8 * UNIT)


def test_resize_to_max(user):
    pool = user.create(UNIT, max=3 * UNIT).pool
    assert user.resize(pool, 3 * UNIT).size == 3 * UNIT
    assert user.stat(pool)[0] == 3 * UNIT


@pytest.mark.parametrize('request_of', ['resize_pool', 'give_back', 'get_pool'])
@pytest.mark.parametrize('other', [0, 1, 2 ** 64 - 1])
def test_no_such_pool(user, refused, request_of, other):
    with refused('NOT_FOUND', errno=2):
        user.ask(request_of, pool=other)


def test_destroy_of_no_such_pool_is_a_success(user):
    assert not user.destroy(1).releasing


# ------------------------------------------------------------------------------------------------------ give back

BAD_RANGES = {
    'none': [],
    'empty': [(0, 0)],
    'empty-between': [(0, 1), (2, 0), (4, 1)],
    'empty-at-the-end': [(8, 0)],
    'same-twice': [(3, 1), (3, 1)],
    'overlapping': [(2, 2), (3, 2)],
    'inside': [(2, 4), (3, 1)],
    'descending': [(4, 1), (2, 1)],
    'next-to-the-end': [(8, 1)],
    'beyond': [(7, 2)],
    'far-beyond': [(1 << 20, 1)],
    'sum-overflows': [(2 ** 32 - 1, 2)],
    'sum-overflows-to-one': [(2, 2 ** 32 - 1)],
    'largest': [(2 ** 32 - 1, 2 ** 32 - 1)],
    'good-then-beyond': [(0, 1), (7, 1), (8, 1)],
    '129': [(0, 1)] + [(i, 1) for i in range(128)],
}


@pytest.mark.parametrize('name', BAD_RANGES)
def test_bad_ranges_change_nothing(user, refused, pool, name):
    user.fill(pool, 1)
    with refused('UNITS_INVALID', errno=22):
        user.give_back(pool, *BAD_RANGES[name])
    assert user.is_filled(pool, 1)


@pytest.mark.parametrize('units', [[(0, 8)], [(i, 1) for i in range(8)], [(0, 4), (4, 4)]])
def test_last_unit_cannot_be_given_back(user, refused, pool, units):
    with refused('INVALID', asked=8):
        user.give_back(pool, *units)


@pytest.mark.parametrize('units,left', [
    ([(0, 1)], 7), ([(7, 1)], 7), ([(0, 7)], 1), ([(1, 7)], 1), ([(0, 1), (1, 1)], 6), ([(0, 2), (4, 2), (7, 1)], 3)])
def test_good_ranges(user, units, left):
    pool = user.create(8 * UNIT).pool
    answer = user.give_back(pool, *units)
    assert (answer.pool, answer.size, answer.length) == (pool, left * UNIT, 8 * UNIT)
    assert user.pool(pool).size == left * UNIT


def test_128_ranges_are_the_most(user, refused):
    pool = user.create(260 * UNIT).pool
    with refused('UNITS_INVALID'):
        user.give_back(pool, *[(2 * i, 1) for i in range(129)])
    assert user.pool(pool).size == 260 * UNIT
    assert user.give_back(pool, *[(2 * i, 1) for i in range(128)]).size == 132 * UNIT


def test_units_outside_the_present_length_are_outside_the_file(user, refused):
    pool = user.create(2 * UNIT, max=4 * UNIT).pool
    with refused('UNITS_INVALID'):
        user.give_back(pool, (2, 1))
    user.resize(pool, 4 * UNIT)
    assert user.give_back(pool, (2, 1)).size == 3 * UNIT


# ---------------------------------------------------------------------------------------------------------- names

@pytest.mark.parametrize('name', ['a', '0', 'a' * 32, 'a.b_c-d', '-', '.', '..', '.a', 'a-', '0123456789'])
def test_good_name_is_shown(user, name):
    pool = user.create(UNIT, name=name).pool
    assert user.pool(pool).name == name


@pytest.mark.parametrize('name', ['a' * 33, 'a' * 64, 'A', 'aB', 'a/b', '/', '../x', 'a b', ' ', 'a:b', 'a,b', 'a%n',
                                  '%s%s%s', 'ä', '\u202e', "'", '"', '<b>', '$(id)', 'a\\b', '*'])
def test_bad_name_is_invalid(user, refused, name):
    with refused('INVALID'):
        user.create(UNIT, name=name)
    assert user.pools() == []


@pytest.mark.parametrize('name', ['', 'nosuch', 'mai', 'maina', 'MAIN', '../main', 'main/', 'a' * 64])
def test_store_by_name(user, refused, name):
    if name == '':
        assert user.create(UNIT, store=name).store == 'main'
    else:
        with refused('STORE_UNKNOWN', errno=2):
            user.create(UNIT, store=name)


def test_names_need_not_be_unique(user):
    assert user.create(UNIT, name='twin').pool != user.create(UNIT, name='twin').pool


def test_file_is_as_long_as_the_grant_says_and_empty(user):
    grant = user.create(4 * MIB)
    assert user.read(grant.pool, 0, 4 * MIB) == bytes(4 * MIB)
