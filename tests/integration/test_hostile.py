# SPDX-License-Identifier: BSD-3-Clause
"""Whatever a client does on its socket: the broker is the same process afterwards, with as many descriptors and as much
memory, and a bystander has hardly noticed. How it answers is in test_protocol.py, floods of good requests are in
test_fairness.py. With PMBROKER_FULL=1 each attack is a hundred thousand packets, the random ones are a million."""

import os
import pathlib
import signal
import time

import pytest

from daemon import ALICE, BOB, broker, needs_root, processes_of, store, tenant, wait_for
from pmbproto import ATTACKS, Refused
from test_fairness import assert_quick, prefer

pytestmark = needs_root
FULL = os.environ.get('PMBROKER_FULL')
ENOUGH = 20  # packets after which the broker has whatever memory it takes


@pytest.fixture(scope='module')
def daemon(start_shared):
    return start_shared(
        broker(HelloTimeoutSec='1s', UnreadTimeoutSec='1s', RequestsPerSecond=100000, RequestsBurst=100000),
        store('main', 'dir', '1G'), tenant('default', Bytes='infinity', Pools='infinity'))


@pytest.fixture
def bystander(daemon):
    user = daemon.user(BOB)
    prefer(user.process.pid, *processes_of(str(daemon.state)))
    user.measure('get_status', 20)
    return user


def attacker(daemon, name, n):
    process = daemon.process(ALICE)
    process.start(0, 'attack', daemon.socket, name, n)
    return process


def end(daemon, process):
    process.kill()
    process.wait()
    daemon.forget(process)


@pytest.mark.parametrize('name', ATTACKS)
def test_attack(daemon, bystander, name):
    warm = attacker(daemon, name, ENOUGH)
    warm.finish()
    end(daemon, warm)
    if FULL:
        signal.alarm(1200)
    fds = daemon.idle_fds()
    with daemon.unharmed(fds):
        process = attacker(daemon, name, (1000000 if name == 'random_bytes' else 100000) if FULL else 0)
        time.sleep(0.1)
        assert_quick(name, lambda: {'status': bystander.measure('get_status', 300)})
        if FULL:
            process.finish(1100)
        end(daemon, process)


def test_who_is_stopped_in_the_middle(daemon, bystander):
    """His requests are under way, his answers lie unread: nobody waits for him, and his memory stays his."""
    fds = daemon.idle_fds()
    with daemon.unharmed(fds):
        process = daemon.process(ALICE)
        user = process.connect(daemon.socket)
        pool = user.create(2 << 20).pool
        user.fill(pool, 7)
        for _ in range(16):
            user.send('create_pool', size=2 << 20)
        process.kill(signal.SIGSTOP)
        assert_quick('stopped', lambda: {'status': bystander.measure('get_status', 300)})
        process.kill(signal.SIGCONT)
        assert user.is_filled(pool, 7)
        end(daemon, process)
        daemon.admin.status()


def test_nobody_is_a_user_like_others(daemon):
    """The uid that the kernel shows for those it cannot name, and that the broker has here, opens no door."""
    victim, nobody = daemon.user(ALICE), daemon.user(65534)
    pool = victim.create(2 << 20).pool
    assert not nobody.hello().admin and nobody.pools() == [] and nobody.resume() == []
    with pytest.raises(Refused, match='DENIED'):
        nobody.revoke(pool)
    with pytest.raises(Refused, match='NOT_FOUND'):
        nobody.pool(pool)
    assert victim.pool(pool).uid == ALICE


def reuse_pid(daemon, pid):
    """A process that has this pid, which nobody has any more."""
    for _ in range(200):
        pathlib.Path('/proc/sys/kernel/ns_last_pid').write_text(str(pid - 1))
        process = daemon.process(ALICE)
        if process.pid == pid:
            return process
        end(daemon, process)
    pytest.skip('others were always quicker to take the pid')


def test_another_process_of_the_same_pid_gets_nothing(daemon):
    """The broker stands still meanwhile, and has not seen that the owner is dead."""
    victim = daemon.user(ALICE)
    pool, pid = victim.create(2 << 20).pool, victim.process.pid
    broker_pid = daemon.status().pid
    os.kill(broker_pid, signal.SIGSTOP)
    try:
        end(daemon, victim.process)
        other = reuse_pid(daemon, pid)
        session = other.connect(daemon.socket, hello=False)
        serials = [session.send('hello', major=1), session.send('resume_pools'), session.send('resize_pool', pool=pool, size=4 << 20)]
    finally:
        os.kill(broker_pid, signal.SIGCONT)
    session.answer(serials[0])
    assert len(session.answer(serials[1]).rows) == 0
    with pytest.raises(Refused, match='DENIED|NOT_FOUND'):  # not his, or gone by now
        session.answer(serials[2])
    wait_for(lambda: pool not in {row.pool for row in daemon.pools()})
