# SPDX-License-Identifier: BSD-3-Clause
"""What a client can do with its descriptor and nobody's leave: never more than its limit, never at another's cost."""

import errno
import signal
import time

import pytest

from daemon import ALICE, BOB, IS_ROOT, broker, needs_root, store, tenant, wait_for
from pmbproto import GIB, MIB, UNIT, pb

SIZE = 8 * MIB


def daemon_of(start, kind):
    return start(broker(), store('main', kind, '1G'), tenant('default', Bytes='infinity'))


# ---------------------------------------------------------------------------------------------------------- tmpfs

class Pair:
    """A client that cheats, and one whose pool must not notice."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.cheat, self.other = daemon.user(ALICE), daemon.user(BOB)
        self.pool, self.others = self.cheat.create(SIZE, max=GIB).pool, self.other.create(SIZE).pool
        self.other.fill(self.others, 3)

    def holds(self):
        """Nobody has more than its size; the other has all that is its own."""
        for row in self.daemon.pools():
            assert row.used <= row.size == SIZE
        assert self.cheat.stat(self.pool)[1] <= SIZE
        assert self.other.is_filled(self.others, 3)
        assert self.daemon.stores()['main'].charged == 2 * SIZE


@pytest.fixture
def pair(start):
    if not IS_ROOT:
        pytest.skip('needs root: tmpfs stores')
    pair = Pair(daemon_of(start, 'tmpfs'))
    yield pair
    pair.holds()


def test_all_of_the_size_can_be_used(pair):
    pair.cheat.fill(pair.pool, 1)
    assert pair.cheat.is_filled(pair.pool, 1)
    assert pair.cheat.stat(pair.pool) == (SIZE, SIZE)
    assert {row.used for row in pair.daemon.pools()} == {SIZE}


@pytest.mark.parametrize('before', [0, SIZE // 2, SIZE], ids=['empty', 'half', 'full'])
def test_write_ends_at_the_size(pair, before):
    pair.cheat.pwrite(pair.pool, 0, before)
    done, error = pair.cheat.pwrite(pair.pool, 0, 4 * SIZE)
    assert (done, error) == (SIZE, errno.ENOSPC)


@pytest.mark.parametrize('offset', [SIZE, 4 * SIZE, GIB])
def test_write_behind_the_end_is_room_of_the_same_size(pair, offset):
    pair.cheat.fill(pair.pool, 1)
    assert pair.cheat.pwrite(pair.pool, offset, 4096) == (0, errno.ENOSPC)
    assert pair.cheat.is_filled(pair.pool, 1, 0, SIZE // UNIT)


def test_fallocate_ends_at_the_size(pair):
    assert pair.cheat.fallocate(pair.pool, 0, SIZE) == 0
    assert pair.cheat.fallocate(pair.pool, 0, SIZE + 4096) == errno.ENOSPC
    assert pair.cheat.fallocate(pair.pool, GIB, 4096) == errno.ENOSPC
    assert pair.cheat.fallocate(pair.pool, 0, GIB) == errno.ENOSPC


def test_longer_file_is_no_more_memory(pair):
    assert pair.cheat.ftruncate(pair.pool, GIB) == 0
    pair.cheat.map(pair.pool)
    assert pair.cheat.touch_pages(pair.pool, 0, SIZE) == 0
    assert pair.cheat.touch_pages(pair.pool, 0, SIZE + 4096) == signal.SIGBUS
    assert pair.cheat.touch(pair.pool, GIB - 1) == signal.SIGBUS
    assert pair.cheat.touch_pages(pair.pool, GIB - 4 * SIZE, 4 * SIZE) == signal.SIGBUS


def test_pages_spread_over_a_longer_file_are_counted(pair):
    """One page in each 2 MiB: huge pages may take all of it, but not a byte more."""
    assert pair.cheat.ftruncate(pair.pool, GIB) == 0
    pair.cheat.map(pair.pool)
    assert pair.cheat.touch(pair.pool, *range(0, GIB, 4096 * 64)) == signal.SIGBUS


def test_shorter_file_gives_back_what_it_had(pair):
    pair.cheat.fill(pair.pool, 1)
    assert pair.cheat.ftruncate(pair.pool, 0) == 0
    assert pair.cheat.touch(pair.pool, 0) == signal.SIGBUS
    assert pair.cheat.ftruncate(pair.pool, SIZE) == 0
    assert pair.cheat.touch_pages(pair.pool, 0, SIZE) == 0


def test_own_figures_cannot_be_talked_down(pair):
    """The file's holes make room for other pages of it, not for a grow that is not charged."""
    pair.cheat.fill(pair.pool, 1)
    assert pair.cheat.ftruncate(pair.pool, 0) == 0
    assert pair.cheat.pool(pair.pool).size == SIZE
    assert pair.daemon.status().bytes == 2 * SIZE


@needs_root
def test_store_is_never_overdrawn(start):
    """All pools of a full store filled by cheats that try for more."""
    daemon = start(broker(), store('main', 'tmpfs', '64M'), tenant('default', Bytes='infinity'))
    users = [daemon.user(uid) for uid in (ALICE, BOB)]
    pools = [(user, user.create(16 * MIB).pool) for user in users for _ in range(2)]
    for user, pool in pools:
        assert user.pwrite(pool, 0, 64 * MIB) == (16 * MIB, errno.ENOSPC)
    rows = daemon.pools()
    assert [row.used for row in rows] == [16 * MIB] * 4
    assert sum(row.used for row in rows) == daemon.stores()['main'].capacity


# ------------------------------------------------------------------------------------------------------------ dir

@pytest.fixture
def audited(start):
    return daemon_of(start, 'dir')


def caught(daemon, user, pool):
    """Within two seconds the cheat is told, listed as such, and its file is empty."""
    begin = time.monotonic()
    event = user.event('revoked', 2)
    assert event is not None, 'not found in 2 s'
    assert (event.pool, event.reason) == (pool, pb.REVOKED_OVER_LIMIT)
    wait_for(lambda: user.stat(pool) == (0, 0), 2 - (time.monotonic() - begin), 'the file is empty')
    rows = [row for row in daemon.pools() if row.pool == pool]
    assert [(row.state, row.audited, row.size) for row in rows] == [(pb.STATE_RELEASING, True, SIZE)]


CHEATS = {
    'write': lambda user, pool: user.pwrite(pool, 0, 4 * SIZE),
    'write-behind': lambda user, pool: user.pwrite(pool, GIB, 2 * SIZE),
    'fallocate': lambda user, pool: user.fallocate(pool, 0, 4 * SIZE),
    'store': lambda user, pool: (user.ftruncate(pool, 4 * SIZE), user.map(pool),
                                 user.touch_pages(pool, 0, 4 * SIZE)),
}


@pytest.mark.parametrize('how', CHEATS)
def test_cheat_is_caught_and_charged_until_it_ends(audited, how):
    process = audited.process()
    user, other = process.connect(audited.socket), audited.user(BOB)
    pool, others = user.create(SIZE).pool, other.create(SIZE).pool
    other.fill(others, 3)
    CHEATS[how](user, pool)
    caught(audited, user, pool)
    assert audited.status().bytes == 2 * SIZE
    for _ in range(2):  # again and again: it is emptied again, and stays charged
        assert user.pwrite(pool, 0, 2 * SIZE)[1] == 0
        wait_for(lambda: user.stat(pool) == (0, 0), 2, 'the file is empty again')
        assert audited.status().bytes == 2 * SIZE
    assert other.is_filled(others, 3)
    audited.forget(process)
    process.kill()
    process.wait()
    wait_for(lambda: audited.status().bytes == SIZE, 2, 'the cheat is not charged any more')


def test_long_lived_cheat_is_released_soon_after_its_end(audited):
    """However long it has held out, whoever waits for its capacity waits no longer than for others'."""
    process = audited.process()
    user = process.connect(audited.socket)
    pool = user.create(SIZE).pool
    user.pwrite(pool, 0, 4 * SIZE)
    caught(audited, user, pool)
    time.sleep(5)
    assert audited.status().bytes == SIZE
    audited.forget(process)
    process.kill()
    process.wait()
    wait_for(lambda: audited.status().bytes == 0, 2, 'the cheat is not charged any more')


def test_cheat_may_have_other_pools(audited):
    user = audited.user()
    pool, honest = user.create(SIZE).pool, user.create(SIZE).pool
    user.fill(honest, 4)
    user.pwrite(pool, 0, 4 * SIZE)
    caught(audited, user, pool)
    assert user.is_filled(honest, 4)
    assert user.resize(honest, SIZE).size == SIZE


def test_revoked_pool_is_nobody_s(audited, refused):
    user = audited.user()
    pool = user.create(SIZE, max=4 * SIZE).pool
    user.pwrite(pool, 0, 4 * SIZE)
    caught(audited, user, pool)
    with refused('BUSY'):
        user.resize(pool, 2 * SIZE)
    assert user.destroy(pool).releasing
    user.give_up(pool)
    assert not user.destroy(pool).releasing
    assert audited.status().bytes == 0


def test_full_pool_is_no_cheat(audited):
    user = audited.user()
    pool = user.create(64 * MIB).pool
    user.fill(pool, 1)
    assert user.ftruncate(pool, 4 * GIB) == 0  # a long file of no more blocks is none either
    time.sleep(2.5)
    assert user.event('revoked', 0) is None
    assert user.is_filled(pool, 1, 0, 32)
    assert audited.pools()[0].state == pb.STATE_READY


def test_audited_pools_are_listed_as_such(start):
    kinds = ['dir', 'tmpfs'] if IS_ROOT else ['dir']
    daemon = start(broker(), *[store(kind, kind) for kind in kinds])
    for kind, row in daemon.stores().items():
        assert row.enforced_by == ('audit' if kind == 'dir' else 'kernel')
        pool = daemon.user().create(UNIT, store=kind).pool
        assert [r.audited for r in daemon.pools() if r.pool == pool] == [kind == 'dir']


