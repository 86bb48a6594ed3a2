# SPDX-License-Identifier: BSD-3-Clause
"""What a crash, a stop and a new configuration leave alone, and what they end."""

import os
import signal
import subprocess
import time

import pytest

from daemon import ALICE, BOB, PMBROKERD, broker, needs_root, one_kind, processes_of, store, tenant, wait_for
from pmbproto import MIB, UNIT, Closed, Refused, pb


@pytest.fixture
def daemon(start, kind):
    return start(
        broker(ReconnectSec='2s', RequestsPerSecond=100000, RequestsBurst=100000),
        store('main', kind, '1G'),
        tenant('a', User=ALICE, Bytes='64M', Pools=100),
        tenant('default', Bytes='infinity'))


def kill(daemon, role, sig=signal.SIGKILL):
    """Kill one of the two processes; the supervisor starts it again."""
    daemon.may_crash = True
    pid = daemon.child(role)
    os.kill(pid, sig)
    wait_for(lambda: pid not in processes_of(str(daemon.state)), 2, f'the {role} is dead')


def is_lost(client):
    """The session has ended, sooner or later."""
    client.rest()


def again(daemon, user):
    """The same process connects again."""
    return user.process.reconnect(daemon.socket, user)


# --------------------------------------------------------------------------------------------------------- broker

def without_counters(rows):
    """What is counted from the start of the broker on."""
    for row in rows.values():
        for field in 'created', 'released', 'refused':
            if field in row.DESCRIPTOR.fields_by_name:
                row.ClearField(field)
    return rows


def test_broker_comes_back_and_clients_lose_nothing(daemon, refused):
    user = daemon.user(ALICE)
    grants = [user.create(4 * MIB, max=16 * MIB, name=f'n{i}') for i in range(8)]
    for i, g in enumerate(grants):
        user.fill(g.pool, i)
    user.give_back(grants[1].pool, (0, 1))
    user.resize(grants[2].pool, 8 * MIB)
    before, stores, tenants, status = daemon.pools(), daemon.stores(), daemon.tenants(), daemon.status()

    begin = time.monotonic()
    kill(daemon, 'broker')
    is_lost(user)
    daemon.wait_until_ready()
    assert time.monotonic() - begin < 2
    assert daemon.status().pid != status.pid

    user = again(daemon, user)
    order = {g.pool: i for i, g in enumerate(grants)}
    rows = sorted(user.resume(), key=lambda row: order[row.pool])
    assert [(r.pool, r.name, r.size, r.length, r.max) for r in rows] == \
        [(r.pool, r.name, r.size, r.length, r.max) for r in before]
    assert without_counters(daemon.stores()) == without_counters(stores)
    assert without_counters(daemon.tenants()) == without_counters(tenants)
    assert {r.pool: (r.uid, r.pid, r.tenant, r.state, r.used) for r in daemon.pools()} == \
        {r.pool: (r.uid, r.pid, r.tenant, r.state, r.used) for r in before}
    for i, g in enumerate(grants):
        assert user.is_filled(g.pool, i, 1, 1)

    # And all goes on as before.
    with refused('QUOTA_BYTES', limit=64 * MIB, used=34 * MIB, subject='a'):
        user.create(32 * MIB)
    assert user.create(30 * MIB).size == 30 * MIB
    assert user.give_back(grants[0].pool, (1, 1)).size == 2 * MIB
    assert user.resize(grants[0].pool, 4 * MIB).size == 4 * MIB
    user.drop(grants[3].pool)
    assert len(user.pools()) == 8


@one_kind
def test_owner_that_came_back_is_not_taken_for_one_that_did_not(daemon):
    user = daemon.user()
    pool = user.create(4 * MIB).pool
    kill(daemon, 'broker')
    daemon.wait_until_ready()
    user = again(daemon, user)
    time.sleep(3.2)
    assert [row.pool for row in user.resume()] == [pool]


@one_kind
def test_age_of_pools_goes_on(daemon):
    user = daemon.user()
    user.create(UNIT)
    time.sleep(1)
    kill(daemon, 'broker')
    daemon.wait_until_ready()
    assert 10 ** 6 < daemon.pools()[0].age_usec < 20 * 10 ** 6


def test_pools_of_owners_that_died_meanwhile_are_released(daemon):
    dead, alive = daemon.user(ALICE), daemon.user(ALICE)
    dead.create(8 * MIB)
    pool = alive.create(4 * MIB).pool
    alive.fill(pool, 3)
    os.kill(daemon.child('broker'), signal.SIGSTOP)
    daemon.forget(dead.process)
    dead.process.kill()
    dead.process.wait()
    kill(daemon, 'broker')
    daemon.wait_until_ready()
    wait_for(lambda: [row.pool for row in daemon.pools()] == [pool], 2, 'the pool of the dead is gone')
    assert daemon.tenants()['a'].bytes == 4 * MIB
    alive = again(daemon, alive)
    assert [row.pool for row in alive.resume()] == [pool]
    assert alive.is_filled(pool, 3)


def test_owner_that_dies_after_the_restart_is_noticed(daemon):
    """Without ever having connected to the new broker."""
    user = daemon.user()
    user.create(8 * MIB)
    kill(daemon, 'broker')
    daemon.wait_until_ready()
    daemon.forget(user.process)
    user.process.kill()
    user.process.wait()
    wait_for(lambda: daemon.status().pools == 0, 1.5, 'the pool is gone')


def test_owner_that_does_not_come_back_loses_its_pools(daemon):
    user = daemon.user()
    pool = user.create(8 * MIB).pool
    user.fill(pool, 1)
    kill(daemon, 'broker')
    daemon.wait_until_ready()
    time.sleep(1)
    assert user.is_filled(pool, 1)
    wait_for(lambda: user.touch(pool, 0) == signal.SIGBUS, 4, 'the memory is taken back')


def test_create_that_was_cut_off_leaves_nothing_behind(daemon):
    """Kills between requests and answers: what the client did not hear of is its pool, or there is none."""
    user = daemon.user(BOB)
    for _ in range(5):
        for _ in range(8):
            user.send('create_pool', size=4 * MIB)
        kill(daemon, 'broker')
        is_lost(user)
        daemon.wait_until_ready()
        user = again(daemon, user)
        rows = user.resume()
        wait_for(daemon.is_consistent)
        assert {row.pool for row in rows} == {row.pool for row in daemon.pools()}
        for row in rows:
            assert (row.size, row.length) == (4 * MIB, 4 * MIB)
            user.drop(row.pool)
        wait_for(lambda: daemon.status().pools == 0, 3, 'all are gone')


def test_resize_that_was_cut_off_has_happened_or_not(daemon):
    user = daemon.user(BOB)
    pool = user.create(4 * MIB, max=256 * MIB).pool
    user.fill(pool, 1)
    for i in range(5):
        size = (i + 3) * 4 * MIB
        user.send('resize_pool', pool=pool, size=size)
        kill(daemon, 'broker')
        daemon.wait_until_ready()
        user = again(daemon, user)
        row, = user.resume()
        assert row.size in (size, size - 4 * MIB, 4 * MIB)
        assert user.resize(pool, size).size == size  # absolute: asking again sets it right
        assert daemon.status().bytes == size
    user.map(pool)
    assert user.is_filled(pool, 1, 0, 2)


def test_target_of_a_shrink_is_forgotten(daemon):
    user = daemon.user()
    pool = user.create(16 * MIB, max=32 * MIB).pool
    daemon.admin.send('resize_pool', pool=pool, size=8 * MIB)
    user.event('reclaim')
    kill(daemon, 'broker')
    daemon.wait_until_ready()
    user = again(daemon, user)
    row, = user.resume()
    assert (row.size, row.target, row.state) == (16 * MIB, 0, pb.STATE_READY)
    assert user.resize(pool, 32 * MIB).size == 32 * MIB


def test_many_restarts(daemon):
    user = daemon.user()
    pool = user.create(8 * MIB).pool
    user.fill(pool, 1)
    for _ in range(5):
        kill(daemon, 'broker')
        daemon.wait_until_ready()
        user = again(daemon, user)
        assert [row.pool for row in user.resume()] == [pool]
    assert user.is_filled(pool, 1)
    assert daemon.status().bytes == 8 * MIB


# ---------------------------------------------------------------------------------------------------- provisioner

def test_pools_of_a_directory_survive_the_provisioner(start):
    daemon = start(broker(), store('main', 'dir', '1G'), tenant('default', Bytes='infinity'))
    user = daemon.user()
    pool = user.create(8 * MIB, max=16 * MIB).pool
    user.fill(pool, 1)
    before = daemon.pools(), daemon.stores()
    broker_pid = daemon.status().pid
    kill(daemon, 'provisioner')
    daemon.wait_until_ready()
    assert daemon.status().pid == broker_pid
    assert user.status().pid == broker_pid  # the same session
    after = daemon.pools()
    for row in before[0] + after:
        row.age_usec = 0
    assert (after, daemon.stores()) == before
    assert user.is_filled(pool, 1)
    assert user.resize(pool, 16 * MIB).size == 16 * MIB
    assert user.give_back(pool, (0, 1)).size == 14 * MIB
    user.map(pool)
    assert user.is_filled(pool, 1, 1, 3)
    user.drop(pool)
    assert daemon.status().bytes == 0


@needs_root
def test_pools_of_tmpfs_end_with_the_provisioner(start, refused):
    daemon = start(broker(), store('main', 'tmpfs', '64M'), tenant('default', Bytes='infinity'))
    user, other = daemon.user(ALICE), daemon.user(BOB)
    pool = user.create(64 * MIB).pool
    user.fill(pool, 1)
    kill(daemon, 'provisioner')
    daemon.wait_until_ready()
    event = user.event('revoked', 3)
    assert (event.pool, event.reason) == (pool, pb.REVOKED_LOST)
    wait_for(daemon.is_consistent)
    for request in lambda: user.pool(pool), lambda: user.resize(pool, 64 * MIB):
        with refused('NOT_FOUND'):
            request()
    user.give_up(pool)
    new = other.create(64 * MIB).pool
    other.fill(new, 2)
    assert other.is_filled(new, 2)
    assert daemon.status().bytes == 64 * MIB
    assert daemon.is_consistent()


def test_changes_that_the_end_of_the_provisioner_cuts_off(daemon, kind):
    """Each is answered, and what became of it is what the lists say."""
    user = daemon.user(BOB)
    for _ in range(5):
        pool = user.create(4 * MIB, max=64 * MIB).pool
        serials = [user.send('create_pool', size=4 * MIB) for _ in range(8)]
        serials += [user.send('resize_pool', pool=pool, size=16 * MIB), user.send('destroy_pool', pool=1)]
        kill(daemon, 'provisioner')
        for serial in serials:
            try:
                user.answer(serial)
            except Refused as e:
                assert e.code in ('RETRY', 'BUSY', 'NOT_FOUND')
        daemon.wait_until_ready()
        wait_for(daemon.is_consistent)
        for row in user.resume():
            assert row.size in (4 * MIB, 16 * MIB) and row.length >= row.size
            if user.has_fd(row.pool) and kind == 'dir':
                assert user.stat(row.pool)[0] >= row.length  # longer after half a grow: no unit more for that
            if user.has_fd(row.pool):
                user.give_up(row.pool)
            user.destroy(row.pool)
        wait_for(lambda: daemon.status().bytes == 0, 3, 'all are gone')


def test_requests_while_the_provisioner_is_away_are_to_be_tried_again(daemon, kind):
    user = daemon.user()
    pool = user.create(UNIT).pool
    user.fill(pool, 1)
    os.kill(daemon.supervisor.pid, signal.SIGSTOP)  # nobody starts it again for now
    try:
        kill(daemon, 'provisioner')
        wait_for(lambda: not daemon.stores()['main'].available, 2, 'the broker knows')
        for _ in range(3):
            with pytest.raises(Refused, match='RETRY'):
                user.create(UNIT)
        row, = user.pools()
        assert (row.pool, row.used_known) == (pool, False)
        cpu = daemon.cpu_seconds()
        time.sleep(0.5)
        assert daemon.cpu_seconds() - cpu < 0.1
    finally:
        os.kill(daemon.supervisor.pid, signal.SIGCONT)
    daemon.wait_until_ready()
    assert user.create(UNIT).size == UNIT
    if kind == 'dir':
        row = user.pool(pool)
        assert (row.used, row.used_known) == (UNIT, True)
        assert user.is_filled(pool, 1)


def test_owner_that_ends_while_the_provisioner_is_away(daemon):
    user = daemon.user()
    user.create(8 * MIB)
    os.kill(daemon.supervisor.pid, signal.SIGSTOP)
    try:
        kill(daemon, 'provisioner')
        daemon.forget(user.process)
        user.process.kill()
        user.process.wait()
        time.sleep(0.3)
        assert daemon.status().bytes == 8 * MIB  # charged as long as the memory may be there
    finally:
        os.kill(daemon.supervisor.pid, signal.SIGCONT)
    daemon.wait_until_ready()
    wait_for(lambda: daemon.status().bytes == 0, 3, 'the memory is back')


def test_both_at_once(daemon, kind):
    user = daemon.user()
    pool = user.create(8 * MIB).pool
    user.fill(pool, 1)
    daemon.may_crash = True
    for role in 'broker', 'provisioner':
        os.kill(daemon.child(role), signal.SIGKILL)
    is_lost(user)
    daemon.wait_until_ready()
    user = again(daemon, user)
    assert [row.pool for row in user.resume()] == ([pool] if kind == 'dir' else [])
    assert daemon.is_consistent()
    if kind == 'dir':
        assert user.is_filled(pool, 1)
    assert user.create(UNIT).size == UNIT


# ------------------------------------------------------------------------------------------------- stop and start

def test_stop_says_so_and_the_next_start_finds_what_can_be_found(daemon, kind):
    """A stop and a restart are the same to the daemon: what outlives it is there for a client that lives."""
    user = daemon.user()
    pool = user.create(8 * MIB).pool
    user.fill(pool, 1)
    daemon.supervisor.terminate()
    assert user.event('closing') is not None
    with pytest.raises(Closed):
        user.recv()
    assert daemon.supervisor.wait(5) == 0
    wait_for(lambda: processes_of(str(daemon.state)) == [], 1, 'all have ended')
    daemon.start()
    user = again(daemon, user)
    assert [row.pool for row in user.resume()] == ([pool] if kind == 'dir' else [])
    assert user.is_filled(pool, 1)  # a stop takes nobody's memory
    assert daemon.is_consistent()


def test_stop_with_dead_owners_leaves_nothing_after_the_next_start(daemon):
    user = daemon.user()
    user.create(8 * MIB)
    daemon.supervisor.terminate()
    assert daemon.supervisor.wait(5) == 0
    daemon.forget(user.process)
    user.process.kill()
    user.process.wait()
    daemon.start()
    wait_for(lambda: daemon.status().pools == 0, 2, 'the pool is gone')
    assert daemon.status().bytes == 0


def test_children_end_with_the_supervisor(daemon):
    """kill -9 of the parent leaves no orphans behind, and the next start takes over socket and directory."""
    user = daemon.user()
    user.create(8 * MIB)
    daemon.may_crash = True
    daemon.supervisor.kill()
    daemon.supervisor.wait()
    wait_for(lambda: processes_of(str(daemon.state)) == [], 3, 'the children have ended')
    daemon.start()
    assert daemon.user(BOB).create(UNIT).size == UNIT


@pytest.mark.parametrize('delay', [0.003, 0.01, 0.03, 0.1])
def test_stop_at_any_moment_of_the_start(start, kind, delay):
    """finish() holds it to its exit code, and to leave nothing behind."""
    daemon = start(broker(), store('main', kind, '1G'), ready=False)
    time.sleep(delay)
    daemon.supervisor.terminate()
    assert daemon.supervisor.wait(3) == (0 if daemon.log_lines() else -signal.SIGTERM)
    daemon.start()
    assert daemon.user().create(UNIT).size == UNIT


def test_second_daemon_on_the_same_socket_does_not_start(daemon):
    argv = [str(PMBROKERD), '--socket', daemon.socket, '--config', str(daemon.config), '--user', 'nobody']
    result = subprocess.run(argv, capture_output=True, text=True, timeout=5)
    assert result.returncode == 1
    assert 'another pmbrokerd serves' in result.stderr
    assert daemon.status().pid > 0
    assert daemon.user().create(UNIT).size == UNIT


# ---------------------------------------------------------------------------------------------------------- SIGHUP

def reload(daemon, *sections, good=True):
    """A new configuration; waits until both processes have read it."""
    word = 'configuration read again' if good else 'the old one stays'
    count = sum(word in line for line in daemon.log_lines())
    daemon.configure(*sections)
    daemon.hangup()
    # What the broker cannot use the provisioner is not asked to.
    wait_for(lambda: sum(word in line for line in daemon.log_lines()) >= count + 1 + good, 3, f'they say "{word}"')
    daemon.wait_until_ready()


def test_one_reload_is_one(daemon, kind):
    """Each process reads the configuration once, however the reload is asked for."""
    def times():
        return sum('configuration read again' in line for line in daemon.log_lines())

    for i, ask in enumerate([daemon.hangup, lambda: daemon.admin.ask('reload'), daemon.hangup], 1):
        ask()
        wait_for(lambda: times() >= 2 * i, 3, 'both have read it')
        time.sleep(0.3)
        assert times() == 2 * i


def test_a_reload_is_both_processes_or_neither(daemon, kind):
    """The provisioner cannot part with a store that has a pool: then the broker's tenants stay as they are, too."""
    user = daemon.user(ALICE)
    user.create(UNIT)
    before = daemon.tenants(), set(daemon.stores())
    daemon.configure(broker(), store('other', 'dir', '64M'), tenant('a', User=ALICE, Bytes='10M'))
    daemon.hangup()
    wait_for(lambda: any('the old configuration stays' in line for line in daemon.log_lines()), 3, 'the broker says so')
    assert (daemon.tenants(), set(daemon.stores())) == before
    assert user.create(UNIT).store == 'main'


def test_limits_change_with_a_reload(daemon, kind, refused):
    user = daemon.user(ALICE)
    pool = user.create(8 * MIB, max=16 * MIB).pool
    user.fill(pool, 1)
    reload(daemon, broker(), store('main', kind, '1G'), tenant('a', User=ALICE, Bytes='10M', Pools=2))
    assert daemon.tenants()['a'].bytes_max == 10 * MIB
    with refused('QUOTA_BYTES', asked=4 * MIB, limit=10 * MIB, used=8 * MIB, subject='a'):
        user.create(4 * MIB)
    user.create(2 * MIB)
    with refused('QUOTA_POOLS', limit=2, used=2):
        user.create(2 * MIB)
    reload(daemon, broker(), store('main', kind, '1G'), tenant('a', User=ALICE, Bytes='4M'))
    with refused('QUOTA_BYTES', asked=2 * MIB, limit=4 * MIB, used=10 * MIB, subject='a'):
        user.create(2 * MIB)  # below what is in use: nothing is taken away, nothing more is given
    assert user.is_filled(pool, 1)
    reload(daemon, broker(), store('main', kind, '1G'), tenant('a', User=ALICE, Bytes='64M'))
    assert user.resize(pool, 16 * MIB).size == 16 * MIB


@pytest.mark.parametrize('wrong,line', [
    ('[Tenant a]\nUser=1\nBytes=lots\n', 3),
    ('[Tenant a]\nUser=1\nNoSuch=1\n', 3),
    ('[Tennant a]\n', 1),
    ('[Broker]\nSessionsMax=0\n', 2),
    ('[Tenant a]\nUser=1\nStores=nosuch\n', 3),
    ('nonsense\n', 1),
], ids=['value', 'key', 'section', 'range', 'reference', 'syntax'])
def test_bad_configuration_leaves_the_old_one_running(start, refused, wrong, line):
    daemon = start(broker(), store('main', 'dir', '64M'), tenant('a', User=ALICE, Bytes='8M'))
    before = daemon.tenants(), daemon.stores()
    reload(daemon, wrong, store('main', 'dir', '64M'), good=False)
    assert sum(f'{daemon.config}:{line}:' in said for said in daemon.log_lines()) == 1
    assert (daemon.tenants(), daemon.stores()) == before
    user = daemon.user(ALICE)
    with refused('QUOTA_BYTES', limit=8 * MIB):
        user.create(10 * MIB)
    pool = user.create(4 * MIB).pool
    reload(daemon, broker(), store('main', 'dir', '64M'), tenant('a', User=ALICE, Bytes='16M'))
    assert user.create(12 * MIB).tenant == 'a'
    assert user.pool(pool).size == 4 * MIB


def test_configuration_that_is_gone_leaves_the_old_one_running(start):
    daemon = start(broker(), store('main', 'dir', '64M'))
    daemon.config.unlink()
    daemon.hangup()
    wait_for(lambda: any('the old one stays' in line for line in daemon.log_lines()), 3, 'it says so')
    assert daemon.user().create(UNIT).size == UNIT
    daemon.configure(broker(), store('main', 'dir', '64M'))


def test_store_that_a_reload_adds_is_served(daemon, kind, refused):
    user = daemon.user(BOB)
    with refused('STORE_UNKNOWN'):
        user.create(UNIT, store='more')
    pool = user.create(8 * MIB).pool
    user.fill(pool, 1)
    reload(daemon, broker(), store('main', kind, '1G'), store('more', kind, '32M'), tenant('default', Bytes='infinity'))
    wait_for(lambda: 'more' in daemon.stores() and daemon.stores()['more'].available, 3, 'the new store is served')
    assert user.create(32 * MIB, store='more').store == 'more'
    with refused('STORE_FULL', asked=UNIT, limit=32 * MIB, used=32 * MIB, subject='more'):
        user.create(UNIT, store='more')
    assert user.is_filled(pool, 1)
    assert [row.pool for row in user.pools()][0] == pool


def test_store_that_changes_its_size(daemon, kind, refused):
    user = daemon.user(BOB)
    user.create(8 * MIB)
    reload(daemon, broker(), store('main', kind, '16M'), tenant('default', Bytes='infinity'))
    wait_for(lambda: daemon.stores()['main'].capacity == 16 * MIB, 3, 'the new size counts')
    daemon.wait_until_ready()
    with refused('STORE_FULL', asked=10 * MIB, limit=16 * MIB, used=8 * MIB, subject='main'):
        user.create(10 * MIB)
    assert user.create(8 * MIB).size == 8 * MIB


def test_store_without_pools_can_go(daemon, kind, refused):
    reload(daemon, broker(), store('main', kind, '1G'), store('more', kind, '32M'))
    wait_for(lambda: 'more' in daemon.stores(), 3, 'the new store is known')
    reload(daemon, broker(), store('main', kind, '1G'))
    wait_for(lambda: 'more' not in daemon.stores(), 3, 'the store is gone')
    daemon.wait_until_ready()
    with refused('STORE_UNKNOWN'):
        daemon.user().create(UNIT, store='more')


def test_store_with_pools_stays(daemon, kind):
    """The provisioner keeps all of its old configuration, and says which store is in the way."""
    user = daemon.user(BOB)
    pool = user.create(8 * MIB, store='main').pool
    user.fill(pool, 1)
    daemon.configure(broker(), store('other', kind, '32M'))
    daemon.hangup()
    wait_for(lambda: any('main' in line and 'the old one stays' in line for line in daemon.log_lines()), 3)
    assert user.is_filled(pool, 1)
    assert 'main' in daemon.stores()
    user.drop(pool)
    daemon.configure(broker(), store('main', kind, '1G'))


@needs_root
def test_tenant_that_is_gone_keeps_what_it_has(daemon, kind, refused):
    user = daemon.user(ALICE)
    pool = user.create(8 * MIB, max=16 * MIB).pool
    user.fill(pool, 1)
    reload(daemon, broker(), store('main', kind, '1G'), tenant('default', Bytes='infinity'))
    assert daemon.tenants()['a'].bytes == 8 * MIB
    with refused('QUOTA_BYTES', limit=0, used=8 * MIB, subject='a'):
        user.resize(pool, 16 * MIB)
    assert user.create(UNIT).tenant == 'default'
    assert user.is_filled(pool, 1)
    user.drop(pool)
    assert list(daemon.tenants()) == ['default']
