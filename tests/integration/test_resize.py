# SPDX-License-Identifier: BSD-3-Clause
"""Pools that grow and shrink: data stays, the kernel's figure follows, an administrator's wish reaches the owner."""

import signal
import time

import pytest

from daemon import ADMIN_GROUP, ALICE, BOB, broker, needs_root, one_kind, store, tenant, wait_for
from pmbproto import MIB, UNIT, pb


@pytest.fixture
def daemon(start, kind):
    return start(
        broker(AdminGroup=ADMIN_GROUP, ShrinkTimeoutSec='1s'),
        store('main', kind, '1G'),
        tenant('default', Bytes='infinity'))


def charged(daemon):
    assert daemon.is_consistent()
    return daemon.status().bytes


def figures(answer):
    return answer.size, answer.length, answer.target


# -------------------------------------------------------------------------------------------------- by the owner

def test_grow_keeps_data_and_adds_empty_units(daemon):
    user = daemon.user()
    pool = user.create(4 * MIB, max=64 * MIB).pool
    user.fill(pool, 1)
    assert figures(user.resize(pool, 16 * MIB)) == (16 * MIB, 16 * MIB, 16 * MIB)
    user.map(pool)
    assert user.is_filled(pool, 1, 0, 2)
    assert user.read(pool, 4 * MIB, 12 * MIB) == bytes(12 * MIB)
    user.fill(pool, 1)
    assert user.is_filled(pool, 1)
    assert charged(daemon) == 16 * MIB


def test_give_back_keeps_the_other_units(daemon):
    user = daemon.user()
    pool = user.create(16 * MIB).pool
    user.fill(pool, 1)
    assert user.pool(pool).used == 16 * MIB
    assert figures(user.give_back(pool, (1, 2), (5, 1))) == (10 * MIB, 16 * MIB, 10 * MIB)
    for first, count in (0, 1), (3, 2), (6, 2):
        assert user.is_filled(pool, 1, first, count)
    for unit in 1, 2, 5:
        assert user.pread(pool, unit * UNIT, UNIT) == bytes(UNIT)
    row = user.pool(pool)
    assert (row.size, row.length, row.used, row.state) == (10 * MIB, 16 * MIB, 10 * MIB, pb.STATE_READY)
    assert charged(daemon) == 10 * MIB


def test_grow_backs_the_lowest_units_first(daemon):
    user = daemon.user()
    pool = user.create(16 * MIB, max=32 * MIB).pool
    user.fill(pool, 1)
    user.give_back(pool, (1, 2), (6, 2))
    assert figures(user.resize(pool, 12 * MIB)) == (12 * MIB, 16 * MIB, 12 * MIB)
    user.fill(pool, 50, 1, 2)
    assert user.is_filled(pool, 1, 3, 3) and user.is_filled(pool, 50, 1, 2)
    assert figures(user.resize(pool, 20 * MIB)) == (20 * MIB, 20 * MIB, 20 * MIB)
    user.map(pool)
    user.fill(pool, 90, 6, 4)
    assert user.is_filled(pool, 90, 6, 4) and user.is_filled(pool, 1, 3, 3)


@needs_root
def test_units_given_back_are_no_memory_any_more(start):
    """tmpfs holds the new limit: whoever fills the hole again goes without elsewhere."""
    daemon = start(broker(), store('main', 'tmpfs'), tenant('default', Bytes='infinity'))
    user = daemon.user()
    pool = user.create(16 * MIB).pool
    user.fill(pool, 1)
    user.give_back(pool, (4, 4))
    assert user.touch(pool, 4 * UNIT) == signal.SIGBUS
    assert user.is_filled(pool, 1, 0, 4)
    assert user.stat(pool)[1] == 8 * MIB


@needs_root
def test_give_back_of_a_pool_that_uses_more_than_it_says(start, refused):
    """The units named are gone, yet more is in use than would be left: refused, and the size stays."""
    daemon = start(broker(), store('main', 'tmpfs'), tenant('default', Bytes='infinity'))
    user = daemon.user()
    pool = user.create(8 * MIB, max=16 * MIB).pool
    user.fill(pool, 1)
    user.give_back(pool, (3, 1))
    with refused('BUSY', errno=16):
        user.give_back(pool, (3, 1))  # nothing was there to be given back
    assert user.pool(pool).size == 6 * MIB
    assert user.is_filled(pool, 1, 0, 3)
    assert user.resize(pool, 8 * MIB).size == 8 * MIB


def test_grow_is_absolute_and_repeatable(daemon):
    user = daemon.user()
    pool = user.create(4 * MIB, max=64 * MIB).pool
    for _ in range(3):
        assert figures(user.resize(pool, 8 * MIB)) == (8 * MIB, 8 * MIB, 8 * MIB)
    assert charged(daemon) == 8 * MIB


def test_many_steps_end_where_they_began(daemon):
    user = daemon.user()
    pool = user.create(8 * MIB, max=64 * MIB).pool
    user.fill(pool, 1, 0, 1)
    for i in range(25):
        size = (5 + i % 15) * UNIT
        user.resize(pool, size)
        user.map(pool)
        user.fill(pool, 9, 1, size // UNIT - 1)
        user.give_back(pool, (2, size // UNIT - 4), (size // UNIT - 1, 1))
        assert user.pool(pool).size == 3 * UNIT
        assert user.resize(pool, size).size == size
        user.give_back(pool, (1, size // UNIT - 1))
    assert user.is_filled(pool, 1, 0, 1)
    assert charged(daemon) == UNIT
    assert user.pool(pool).used <= UNIT


def test_two_changes_of_one_pool_at_a_time(daemon):
    """The second of two pipelined changes is BUSY, or comes after the first: never both at once."""
    user = daemon.user()
    pool = user.create(4 * MIB, max=64 * MIB).pool
    serials = [user.send('resize_pool', pool=pool, size=(i + 3) * UNIT) for i in range(10)]
    reached = 4 * MIB
    for i, serial in enumerate(serials):
        try:
            reached = user.answer(serial).size
            assert reached == (i + 3) * UNIT
        except Exception as e:
            assert e.code == 'BUSY'
    assert user.pool(pool).size == reached > 4 * MIB
    assert charged(daemon) == reached


# ----------------------------------------------------------------------------------------- by an administrator

def test_shrink_by_an_administrator_asks_the_owner(daemon):
    user = daemon.user()
    pool = user.create(16 * MIB, max=32 * MIB).pool
    user.fill(pool, 1)
    serial = daemon.admin.send('resize_pool', pool=pool, size=8 * MIB)
    event = user.event('reclaim')
    assert (event.pool, event.target) == (pool, 8 * MIB)
    row = user.pool(pool)
    assert (row.state, row.target, row.size) == (pb.STATE_RESIZING, 8 * MIB, 16 * MIB)
    assert not daemon.admin.is_answered(serial, 0.2)
    assert figures(user.give_back(pool, (0, 2))) == (12 * MIB, 16 * MIB, 12 * MIB)
    assert not daemon.admin.is_answered(serial, 0.2)
    user.give_back(pool, (6, 2))
    assert figures(daemon.admin.answer(serial)) == (8 * MIB, 16 * MIB, 8 * MIB)
    row = user.pool(pool)
    assert (row.state, row.target, row.size) == (pb.STATE_READY, 0, 8 * MIB)
    assert user.is_filled(pool, 1, 2, 4)
    assert charged(daemon) == 8 * MIB
    assert user.resize(pool, 32 * MIB).size == 32 * MIB


def test_shrink_may_go_below_its_target(daemon):
    user = daemon.user()
    pool = user.create(16 * MIB).pool
    serial = daemon.admin.send('resize_pool', pool=pool, size=12 * MIB)
    user.give_back(pool, (0, 4))
    assert figures(daemon.admin.answer(serial)) == (8 * MIB, 16 * MIB, 12 * MIB)


def test_shrink_that_the_owner_ignores_ends_where_it_is(daemon):
    user = daemon.user()
    pool = user.create(16 * MIB).pool
    user.fill(pool, 1)
    serial = daemon.admin.send('resize_pool', pool=pool, size=4 * MIB)
    begin = time.monotonic()
    user.give_back(pool, (7, 1))
    assert figures(daemon.admin.answer(serial)) == (14 * MIB, 16 * MIB, 4 * MIB)
    assert 0.9 < time.monotonic() - begin < 3.2
    row = user.pool(pool)
    assert (row.state, row.target, row.size) == (pb.STATE_READY, 0, 14 * MIB)
    assert user.is_filled(pool, 1, 0, 7)
    assert user.resize(pool, 16 * MIB).size == 16 * MIB


@one_kind
def test_shrink_goes_on_while_the_owner_gives(daemon):
    """The time counts from the last unit that came."""
    user = daemon.user()
    pool = user.create(16 * MIB).pool
    serial = daemon.admin.send('resize_pool', pool=pool, size=4 * MIB)
    for unit in range(6):
        time.sleep(0.5)
        assert serial not in daemon.admin.answers
        user.give_back(pool, (unit, 1))
    assert figures(daemon.admin.answer(serial)) == (4 * MIB, 16 * MIB, 4 * MIB)


@needs_root
def test_grow_is_refused_while_a_target_is_set(daemon, refused):
    user = daemon.user()
    pool = user.create(16 * MIB, max=64 * MIB).pool
    serial = daemon.admin.send('resize_pool', pool=pool, size=8 * MIB)
    user.event('reclaim')
    for who in user, daemon.user(BOB, groups=[ADMIN_GROUP]):
        with refused('BUSY', errno=16):
            who.resize(pool, 32 * MIB)
    with refused('BUSY'):
        daemon.user(BOB, groups=[ADMIN_GROUP]).resize(pool, 4 * MIB)
    user.give_back(pool, (0, 4))
    assert daemon.admin.answer(serial).size == 8 * MIB
    assert user.resize(pool, 32 * MIB).size == 32 * MIB


@one_kind
def test_owner_is_reminded(start, kind):
    """A client that connects while a shrink waits hears of it too."""
    patient = start(broker(ShrinkTimeoutSec='10s'), store('main', kind, '1G'), tenant('default', Bytes='infinity'))
    process = patient.process()
    old = process.connect(patient.socket)
    pool = old.create(16 * MIB).pool
    serial = patient.admin.send('resize_pool', pool=pool, size=8 * MIB)
    old.close()
    user = process.reconnect(patient.socket, old)
    event = user.event('reclaim', 3)
    assert (event.pool, event.target) == (pool, 8 * MIB)
    user.give_back(pool, (4, 4))
    assert patient.admin.answer(serial).size == 8 * MIB


def test_shrink_of_a_pool_that_ends(daemon, refused):
    user = daemon.user()
    pool = user.create(16 * MIB).pool
    serial = daemon.admin.send('resize_pool', pool=pool, size=8 * MIB)
    user.event('reclaim')
    user.drop(pool)
    with refused('NOT_FOUND'):
        daemon.admin.answer(serial)
    assert charged(daemon) == 0


@one_kind
@needs_root
def test_shrink_whose_administrator_goes_still_ends(daemon):
    user, admin = daemon.user(), daemon.user(BOB, groups=[ADMIN_GROUP])
    pool = user.create(16 * MIB).pool
    admin.send('resize_pool', pool=pool, size=8 * MIB)
    user.event('reclaim')
    admin.close()
    wait_for(lambda: user.pool(pool).target == 0, 3, 'the shrink ends')
    assert user.pool(pool).state == pb.STATE_READY


def test_grow_by_an_administrator_tells_the_owner(daemon):
    user = daemon.user()
    pool = user.create(4 * MIB, max=16 * MIB).pool
    user.fill(pool, 1)
    assert figures(daemon.admin.resize(pool, 12 * MIB)) == (12 * MIB, 12 * MIB, 12 * MIB)
    event = user.event('resized')
    assert (event.pool, event.size, event.length, event.target) == (pool, 12 * MIB, 12 * MIB, 12 * MIB)
    user.map(pool)
    user.fill(pool, 2, 2, 4)
    assert user.is_filled(pool, 1, 0, 2) and user.is_filled(pool, 2, 2, 4)
    assert charged(daemon) == 12 * MIB


def test_own_grow_makes_no_event(daemon):
    user = daemon.user()
    pool = user.create(4 * MIB, max=16 * MIB).pool
    user.resize(pool, 8 * MIB)
    assert user.event('resized', 0.1) is None


def test_max_holds_for_administrators_too(daemon, refused):
    pool = daemon.user().create(4 * MIB, max=8 * MIB).pool
    with refused('POOL_MAX', asked=10 * MIB, limit=8 * MIB):
        daemon.admin.resize(pool, 10 * MIB)


@pytest.mark.parametrize('size', [0, 1, UNIT + 1, 1 << 63])
def test_administrators_sizes_are_checked_too(daemon, refused, size):
    pool = daemon.user().create(4 * MIB).pool
    with refused('INVALID', asked=size):
        daemon.admin.resize(pool, size)


def test_administrator_cannot_give_back_for_the_owner(daemon, refused):
    pool = daemon.user(ALICE).create(4 * MIB).pool
    with refused('DENIED'):
        daemon.admin.give_back(pool, (0, 1))
