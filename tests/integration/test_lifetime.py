# SPDX-License-Identifier: BSD-3-Clause
"""A pool lives as long as the process that created it, however that ends, and belongs to nobody else. Every test ends
with all pools gone: Daemon.finish() sees to that."""

import os
import random
import signal
import time

import pytest

from daemon import ALICE, BOB, broker, needs_root, one_kind, store, tenant, wait_for
from pmbproto import MIB, UNIT, Client, Closed, Refused, pb


@pytest.fixture
def daemon(start, kind):
    return start(
        broker(RequestsPerSecond=100000, RequestsBurst=100000),
        store('main', kind, '2G'),
        tenant('default', Bytes='infinity', Pools='infinity'))


def gone(daemon, seconds=2):
    """All pools are released, and everything is charged back."""
    wait_for(lambda: daemon.status().pools == 0, seconds, 'all pools are gone')
    main = daemon.stores()['main']
    row = daemon.tenants()['default']
    assert (main.charged, main.pools, row.bytes, row.pools, daemon.status().bytes) == (0, 0, 0, 0, 0)
    assert [name for name in daemon.files() if name.startswith('s.d/records/') or name.startswith('store-')] == []


# ------------------------------------------------------------------------------------------------------- the end

@pytest.mark.parametrize('how', ['exit', 'SIGTERM', 'SIGKILL', 'SIGSEGV'])
def test_end_of_the_process_releases_its_pools(daemon, how):
    process = daemon.process()
    user = process.connect(daemon.socket)
    for size in 2 * MIB, 8 * MIB, 64 * MIB:
        user.fill(user.create(size).pool, 1, 0, 1)
    assert daemon.status().bytes == 74 * MIB
    daemon.forget(process)
    if how == 'exit':
        process.end()
    else:
        process.kill(getattr(signal, how))
        process.wait()
    gone(daemon)


def test_destroy_releases_at_once(daemon):
    user = daemon.user()
    pool = user.create(8 * MIB).pool
    user.fill(pool, 1)
    assert not user.drop(pool).releasing
    gone(daemon, 0)
    assert not user.destroy(pool).releasing


def test_destroy_of_one_leaves_the_others(daemon):
    user = daemon.user()
    pools = [user.create(4 * MIB).pool for _ in range(3)]
    for i, pool in enumerate(pools):
        user.fill(pool, 10 * i)
    user.drop(pools[1])
    assert [row.pool for row in user.pools()] == [pools[0], pools[2]]
    assert user.is_filled(pools[0], 0) and user.is_filled(pools[2], 20)
    assert daemon.status().bytes == 8 * MIB


def test_destroy_while_the_memory_is_held(daemon, kind):
    """tmpfs takes the memory back at once; a directory when it is let go: it stays charged, and nothing more comes."""
    user = daemon.user()
    pool = user.create(8 * MIB).pool
    user.fill(pool, 1)
    assert user.destroy(pool).releasing == (kind == 'dir')
    if kind == 'tmpfs':
        gone(daemon, 0)
    assert user.touch(pool, 0) == signal.SIGBUS
    if kind == 'dir':
        assert [row.state for row in daemon.pools()] == [pb.STATE_RELEASING]
        assert daemon.status().bytes == 8 * MIB
        user.give_up(pool)
        assert not user.destroy(pool).releasing
        gone(daemon, 0)


def test_capacity_comes_back_a_hundred_times(daemon):
    user = daemon.user()
    for _ in range(100):
        pool = user.create(2 << 30).pool
        user.write(pool, 1 << 30, b'x')
        assert not user.drop(pool).releasing
    gone(daemon, 0)


def test_new_pools_are_empty(daemon):
    user = daemon.user()
    for _ in range(5):
        pool = user.create(8 * MIB).pool
        assert user.read(pool, 0, 8 * MIB) == bytes(8 * MIB)
        user.fill(pool, 0xaa)
        user.drop(pool)


# ---------------------------------------------------------------------------------------------- without a session

def test_close_by_a_living_owner_releases_after_a_while(daemon):
    user = daemon.user()
    pool = user.create(4 * MIB).pool
    user.fill(pool, 1)
    user.close()
    time.sleep(0.7)
    assert daemon.status().pools == 1
    assert user.is_filled(pool, 1)
    wait_for(lambda: user.touch(pool, 0) == signal.SIGBUS, 3, 'the memory is taken back')
    user.give_up(pool)
    gone(daemon, 3)


def test_reconnect_in_time_keeps_everything(daemon):
    process = daemon.process()
    old = process.connect(daemon.socket)
    grants = [old.create(4 * MIB, max=16 * MIB, name=f'n{i}') for i in range(70)]  # more than a page
    old.fill(grants[3].pool, 7)
    old.give_back(grants[5].pool, (0, 1))
    old.resize(grants[6].pool, 8 * MIB)
    old.close()
    time.sleep(0.5)
    user = process.reconnect(daemon.socket, old)
    rows = user.resume()
    assert [(row.pool, row.max, row.name) for row in rows] == [(g.pool, g.max, f'n{i}') for i, g in enumerate(grants)]
    sizes = {i: (4 * MIB, 4 * MIB) for i in range(70)} | {5: (2 * MIB, 4 * MIB), 6: (8 * MIB, 8 * MIB)}
    assert {i: (row.size, row.length) for i, row in enumerate(rows)} == sizes
    time.sleep(1.3)  # the time is over, and it does not count any more
    assert user.is_filled(grants[3].pool, 7)
    assert len(user.resume()) == 70
    assert user.resize(grants[3].pool, 6 * MIB).size == 6 * MIB


@one_kind
def test_second_session_keeps_the_pools_of_the_first(daemon):
    process = daemon.process()
    first, second = process.connect(daemon.socket), process.connect(daemon.socket)
    pool = first.create(4 * MIB).pool
    assert [row.pool for row in second.resume()] == [pool]
    first.close()
    time.sleep(1.5)
    assert [row.pool for row in second.resume()] == [pool]
    assert second.resize(pool, 4 * MIB).size == 4 * MIB


def test_resume_of_nothing(daemon):
    assert daemon.user().resume() == []


def test_resume_has_the_caller_s_pools_only(daemon):
    """Not even an administrator's shows more."""
    alice = daemon.user(ALICE)
    alice.create(UNIT)
    assert daemon.user(ALICE).resume() == []
    assert daemon.admin.resume() == []
    assert len(daemon.admin.pools()) == 1


def test_session_that_was_malformed_keeps_the_pools(daemon):
    process = daemon.process()
    old = process.connect(daemon.socket)
    pool = old.create(4 * MIB).pool
    old.fill(pool, 5)
    old.send_raw(b'\xff')
    assert len(old.rest()) == 1
    user = process.reconnect(daemon.socket, old)
    assert [row.pool for row in user.resume()] == [pool]
    assert user.is_filled(pool, 5)


# --------------------------------------------------------------------------------------------------------- others

@needs_root
@pytest.mark.parametrize('uid', [ALICE, BOB], ids=['same-user', 'other-user'])
def test_others_cannot_touch_a_pool(daemon, refused, uid):
    """A user's processes see each other's pools, as they see each other; no user sees another's."""
    alice, other = daemon.user(ALICE), daemon.user(uid)
    pool = alice.create(8 * MIB, max=16 * MIB).pool
    alice.fill(pool, 1)
    assert other.resume() == []
    if uid == ALICE:
        assert [row.pool for row in other.pools()] == [pool] and other.pool(pool).pid == alice.process.pid
    else:
        assert other.pools() == []
        with refused('NOT_FOUND', asked=0, limit=0, used=0, subject=''):
            other.pool(pool)
    for body, fields in [('resize_pool', {'size': 16 * MIB}), ('resize_pool', {'size': 4 * MIB}),
                         ('give_back', {'units': [(0, 1)]})]:
        with refused('DENIED' if uid == ALICE else 'NOT_FOUND', asked=0, limit=0, used=0, subject=''):
            other.ask(body, pool=pool, **fields)
    with refused('DENIED'):
        other.revoke(pool)
    assert not other.destroy(pool).releasing  # the answer that any stranger's number gets
    assert alice.is_filled(pool, 1)
    assert alice.pool(pool).size == 8 * MIB
    assert daemon.status().pools == 1


@needs_root
def test_pool_after_its_end_is_not_found_by_anybody(daemon, refused):
    alice = daemon.user(ALICE)
    pool = alice.create(UNIT).pool
    alice.drop(pool)
    for who in alice, daemon.user(BOB), daemon.admin:
        with refused('NOT_FOUND'):
            who.pool(pool)


@needs_root
def test_forked_child_is_another_process(daemon):
    process = daemon.process()
    user = process.connect(daemon.socket)
    pool = user.create(4 * MIB).pool
    assert process.call(0, 'fork', daemon.socket) == 0
    assert [row.pool for row in user.resume()] == [pool]


def test_child_that_holds_the_descriptor_does_not_keep_the_pool(daemon, kind):
    """The owner's end takes the memory away from the child that it left behind; a directory's pool stays charged
    while somebody could fill it."""
    process = daemon.process()
    user = process.connect(daemon.socket)
    pool = user.create(4 * MIB).pool
    user.fill(pool, 1)
    child = process.call(0, 'fork_holder')
    daemon.forget(process)
    process.kill()
    process.wait()
    if kind == 'tmpfs':
        gone(daemon)
        os.kill(child, signal.SIGKILL)
    else:
        wait_for(lambda: [row.state for row in daemon.pools()] == [pb.STATE_RELEASING])
        time.sleep(0.2)
        assert daemon.status().bytes == 4 * MIB
        os.kill(child, signal.SIGKILL)
        gone(daemon, 5)


# ------------------------------------------------------------------------------------------------------ many ends

@needs_root
def test_250_kills_at_once(daemon):
    processes = [daemon.process(ALICE + i % 5) for i in range(250)]
    users = [process.connect(daemon.socket) for process in processes]
    for user in users:
        user.later('create', 4 * MIB)
    pools = [process.finish().pool for process in processes]
    assert len(set(pools)) == 250
    assert daemon.status().bytes == 1000 * MIB
    for process in processes:
        process.kill()
    begin = time.monotonic()
    for process in processes:
        process.wait()
    daemon.processes.clear()
    gone(daemon, 3)
    print(f'lifetime: 250 pools of 250 killed processes gone in {(time.monotonic() - begin) * 1e3:.0f} ms')


@needs_root
def test_ends_at_any_moment(daemon):
    """Processes that are killed while they create, grow, give back and destroy."""
    rng = random.Random(1)
    for _ in range(60):
        process = daemon.process(ALICE + rng.randrange(5))
        user = process.connect(daemon.socket)
        pool = user.create(4 * MIB, max=64 * MIB).pool
        for _ in range(rng.randrange(4)):
            what = rng.randrange(4)
            if what == 0:
                user.send('create_pool', size=6 * MIB)
            elif what == 1:
                user.send('resize_pool', pool=pool, size=32 * MIB)
            elif what == 2:
                user.send('give_back', pool=pool, units=[(1, 1)])
            else:
                user.send('destroy_pool', pool=pool)
        daemon.forget(process)
        process.kill()
        process.wait()
        wait_for(daemon.is_consistent, 2, 'every list tells the same')
    gone(daemon)


def test_grant_that_nobody_takes(daemon):
    """The process ends between the request and the answer."""
    for _ in range(20):
        process = daemon.process()
        user = process.connect(daemon.socket)
        user.send('create_pool', size=4 * MIB)
        daemon.forget(process)
        process.kill()
        process.wait()
    gone(daemon)


# ---------------------------------------------------------------------------------------------------------- exec

def test_program_that_another_replaces_is_the_same_process(daemon):
    """exec closes session and mapping; the program that comes after may have the pools, or lose them in time."""
    process = daemon.process(None)
    user = process.connect(daemon.socket)
    kept, pool = user.create(4 * MIB).pool, user.create(4 * MIB).pool
    assert process.call(0, 'exec_again') == process.pid
    user = process.connect(daemon.socket)
    assert [row.pool for row in user.resume()] == [kept, pool]
    assert not user.destroy(pool).releasing
    assert [row.pool for row in user.resume()] == [kept]
    assert process.call(0, 'exec_again') == process.pid
    wait_for(lambda: daemon.status().pools == 0, 3, 'nobody came for it')


# ---------------------------------------------------------------------------------------------- foreign processes

@needs_root
def test_process_of_a_foreign_pid_namespace_has_pools_by_connection(start, kind, refused):
    """The daemon cannot see its clients' pids: each connection is an owner of its own, and the end of it all."""
    daemon = start(
        broker(), store('main', kind, '1G'), tenant('default', Bytes='infinity'),
        prefix=['unshare', '--pid', '--fork', '--kill-child'])
    process = daemon.process()
    first, second = process.connect(daemon.socket), process.connect(daemon.socket)
    pool, others = first.create(4 * MIB).pool, second.create(8 * MIB).pool
    first.fill(pool, 1)
    assert [(row.pool, row.pid) for row in first.resume()] == [(pool, 0)]
    assert [row.pool for row in second.resume()] == [others]
    with refused('DENIED'):
        second.resize(pool, 4 * MIB)
    assert first.is_filled(pool, 1)
    first.close()
    first.give_up(pool)
    wait_for(lambda: [row.pool for row in daemon.pools()] == [others], 3, 'the pool is gone with its connection')
    assert process.connect(daemon.socket).resume() == []
    daemon.forget(process)
    process.kill()
    process.wait()
    gone(daemon)


def test_children_of_the_dead_get_nothing(daemon):
    """A child that goes on using its dead parent's connection is nobody: it gets no pool that nobody would release."""
    told, tell = os.pipe()
    parent = os.fork()
    if parent == 0:
        user = Client(daemon.socket)
        user.create(4 * MIB)  # the child holds its memory: in a directory the release has to wait
        if os.fork() == 0:
            time.sleep(0.5)
            try:
                user.create(2 * MIB)
                os.write(tell, b'a pool')
            except (Refused, Closed, OSError):
                os.write(tell, b'nothing')
        os._exit(0)
    os.waitpid(parent, 0)
    os.close(tell)
    assert os.read(told, 16) == b'nothing'
    os.close(told)
    wait_for(lambda: daemon.status().pools == 0)
