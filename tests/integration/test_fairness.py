# SPDX-License-Identifier: BSD-3-Clause
"""What one user does with all his might costs another one milliseconds at most: each has his share of sessions and of
the daemon's time, and an administrator always gets in.

Daemon and bystander run before everybody else on the machine, and the best of three measurements counts: what the
machine does besides is in one and not in another, what the daemon makes a bystander wait for is in all.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time

import pytest

from daemon import ALICE, BOB, CAROL, DAVE, IS_SANITIZED, broker, needs_root, processes_of, store
from pmbproto import UNIT

pytestmark = needs_root


@pytest.fixture
def memory_store(kind):
    """A store of 4 GiB. That of files is in memory too: a disk, and what others do with it, is not what is measured."""
    if kind == 'tmpfs':
        yield store('main', kind, '4G')
        return
    directory = pathlib.Path(tempfile.mkdtemp(prefix='pmb-', dir='/dev/shm'))
    yield f'[Store main]\nType=dir\nSize=4G\nPath={directory}/store\n'
    shutil.rmtree(directory)


P99 = 0.010 if not IS_SANITIZED else 0.100
QUICK = dict(RequestsPerSecond=100000, RequestsBurst=100000)


def prefer(*pids):
    """Before everybody else on the machine."""
    for pid in pids:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


def percentile(seconds, percent):
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


@contextlib.contextmanager
def flooding(daemon, process, *what, **fields):
    """The process does it until the block ends."""
    process.start(0, *what, **fields)
    time.sleep(0.3)
    try:
        yield
        assert os.waitpid(process.pid, os.WNOHANG) == (0, 0), 'the flood has ended before the test'
    finally:
        process.kill()
        process.wait()
        daemon.forget(process)


def bystander(daemon, uid=BOB):
    user = daemon.user(uid)
    prefer(user.process.pid, *processes_of(str(daemon.state)))  # with the workers that are there
    user.measure('get_status', 20)  # warm
    return user


def describe(figures):
    return ', '.join(f'{k} ' + ' / '.join(
        f'{percentile(v, p) * 1e3:.2f}' for p in (50, 95, 99)) + ' ms' for k, v in figures.items())


def is_quick(verb, seconds):
    """99 of 100 take less than P99. Of releases and connects 95: a release ends in kernel threads (a mount waits for a
    grace period, a file for its writeback) and a connect in the backlog, which fills up while the daemon is stopped for
    its use of real time (50 ms of each second)."""
    return percentile(seconds, 95 if verb in ('destroy', 'connect') else 99) < P99


def assert_quick(name, measure_once):
    for _ in range(3):
        figures = measure_once()
        print(f'fairness: {name}: median / p95 / p99: {describe(figures)}')
        if all(is_quick(verb, seconds) for verb, seconds in figures.items()):
            return
    pytest.fail(f'{name}: {describe(figures)}')


def measure(user):
    return {'status': user.measure('get_status', 500), **dict(zip(('create', 'destroy'), user.measure_pools(UNIT, 300)))}


# ---------------------------------------------------------------------------------------------------- request time

@pytest.mark.parametrize('body', ['list_pools', 'resume_pools', 'get_status', 'destroy_pool', 'get_pool'])
def test_requests_without_end(memory_store, start, body):
    """Two hundred sessions of a user that has many pools ask as fast as the daemon takes it."""
    daemon = start(broker(**QUICK), memory_store)
    flooder = daemon.process(ALICE)
    holder = flooder.connect(daemon.socket)
    for _ in range(450):
        holder.create(UNIT)
    user = bystander(daemon)
    assert_quick('nothing', lambda: measure(user))
    with flooding(daemon, flooder, 'flood', daemon.socket, body, 200):
        assert_quick(body, lambda: measure(user))


def test_pools_made_and_dropped_without_end(memory_store, start):
    daemon = start(broker(**QUICK), memory_store)
    flooder = daemon.process(ALICE)
    user = bystander(daemon)
    with flooding(daemon, flooder, 'storm', daemon.socket, 32, size=UNIT):
        assert_quick('a storm of create and destroy', lambda: measure(user))


def test_connections_without_end(start):
    daemon = start(broker(**QUICK), store('main', 'dir', '4G'))
    user = bystander(daemon)
    with flooding(daemon, daemon.process(ALICE), 'storm_of_connections', daemon.socket):
        assert_quick('connections', lambda: {
            **measure(user), 'connect': user.process.call(0, 'measure_connect', daemon.socket, 500)})


def test_three_who_flood_at_once(start):
    daemon = start(broker(**QUICK), store('main', 'dir', '4G'))
    flooders = [daemon.process(uid) for uid in (ALICE, CAROL, DAVE)]
    user = bystander(daemon)
    with contextlib.ExitStack() as stack:
        for flooder, body in zip(flooders, ('list_pools', 'get_status', 'destroy_pool')):
            stack.enter_context(flooding(daemon, flooder, 'flood', daemon.socket, body, 50))
        assert_quick('three floods', lambda: measure(user))
