# SPDX-License-Identifier: BSD-3-Clause
"""libpmbroker on the real daemon: library.c does the work, the daemon is pushed around."""

import os
import queue
import signal
import subprocess
import threading
import time

import pytest

from ctlrun import CTL
from daemon import BUILD, broker, store, tenant, wait_for
from pmbproto import MIB

LIBRARY = BUILD / 'tests/integration/library'


@pytest.fixture
def daemon(start, kind):
    return start(broker(), store('main', kind, '128M'), tenant('default', Bytes='64M'))


def run(daemon, *args, **how):
    return subprocess.Popen([str(LIBRARY), *args], env={**os.environ, 'PMBROKER_SOCKET': daemon.socket},
                            stdout=subprocess.PIPE, text=True, **how)


@pytest.mark.parametrize('what', ['life', 'grow'])
def test_life_of_a_pool(daemon, what):
    process = run(daemon, what)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    assert daemon.status().bytes == 0


def test_broker_dies_again_and_again(daemon):
    daemon.may_crash = True
    process = run(daemon, 'churn', stdin=subprocess.PIPE)
    for _ in range(6):
        time.sleep(0.7)
        os.kill(daemon.child('broker'), signal.SIGKILL)
        daemon.wait_until_ready()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    assert int(out.split()[1]) >= 3  # two in a row may be told as one
    wait_for(lambda: daemon.status().pools == 0, 5, 'the pool is gone')


class Holder:
    """A process with 10 MiB in use, in a pool of 32."""

    def __init__(self, daemon):
        self.process = run(daemon, 'hold', stdin=subprocess.PIPE)
        assert self.process.stdout.readline() == 'ready\n'

    def look(self):
        """alive or revoked, MiB, and how often it was told: resized, reclaim, revoked."""
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        line = self.process.stdout.readline().split()
        return (line[0], *map(int, line[1:]))

    def end(self):
        self.process.communicate(timeout=10)
        return self.process.returncode


def test_resized_and_revoked(daemon):
    holder = Holder(daemon)
    assert holder.look() == ('alive', 32, 0, 0, 0)
    row, = daemon.pools()
    daemon.admin.resize(row.pool, 48 * MIB)
    wait_for(lambda: holder.look() == ('alive', 48, 1, 0, 0))
    daemon.admin.resize(row.pool, 16 * MIB)  # is answered when the library has given enough back
    wait_for(lambda: holder.look()[:3] == ('alive', 16, 1))
    assert holder.look()[3] >= 1
    daemon.admin.revoke(row.pool)
    wait_for(lambda: holder.look()[0] == 'revoked')
    wait_for(lambda: holder.look()[4] == 1)
    assert holder.end() == 0


def test_fault_has_a_name(daemon):
    """Whose memory a SIGBUS is of."""
    process = run(daemon, 'touch', stdin=subprocess.PIPE)
    assert process.stdout.readline() == 'ready\n'

    def touch(offset):
        process.stdin.write(f'{offset}\n')
        process.stdin.flush()
        return process.stdout.readline().split()

    row, = daemon.pools()
    assert touch(10 * MIB) == ['well']
    daemon.admin.revoke(row.pool)
    wait_for(lambda: touch(10 * MIB) == ['fault', f'{row.pool:016x}', f'{10 * MIB}'])
    assert touch(20 * MIB + 5) == ['fault', f'{row.pool:016x}', f'{20 * MIB + 5}']
    process.communicate(timeout=10)
    assert process.returncode == 0


# --------------------------------------------------------------------------------------------------------- events

class Listener:
    """A process that prints what it is told, one event a line."""

    def __init__(self, daemon, *how):
        self.process = run(daemon, 'events', *how, stdin=subprocess.PIPE)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        assert self.next() == 'ready'

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    def next(self, seconds=10):
        return self.lines.get(timeout=seconds)

    def rest(self):
        """What else was told until the end."""
        return list(iter(self.next, None))

    def end(self):
        self.process.stdin.close()
        return self.process.wait(10)


@pytest.fixture
def patient(start, kind):
    return start(broker(ShrinkTimeoutSec='1s'), store('main', kind, '128M'), tenant('default', Bytes='64M'))


@pytest.fixture(params=['thread', 'poll'])
def listener(request, patient):
    listener = Listener(patient, request.param)
    yield listener
    assert listener.end() == 0
    assert listener.rest() == []


def ctl(daemon, *args):
    done = subprocess.run([str(CTL), '--socket', daemon.socket, *args], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=20)
    return done.returncode, done.stdout


def test_told_of_a_new_limit(patient, listener):
    assert ctl(patient, 'resize', 'events', '48M')[0] == 0
    assert listener.next() == 'resized 48 0'


def test_told_of_a_reclaim(patient, listener):
    assert ctl(patient, 'resize', 'events', '16M')[0] == 0
    assert listener.next() == 'reclaim 16 16'


def test_told_of_a_reclaim_that_is_too_much(patient, listener):
    code, said = ctl(patient, 'resize', 'events', '4M')
    assert code != 0 and '10M' in said
    assert listener.next() == 'reclaim 10 4'
    listener.end()
    assert set(listener.rest()) <= {'reclaim 10 4'}  # the daemon may ask again
    listener.lines.put(None)


@pytest.mark.parametrize('how', ['thread', 'poll'])
def test_raw_pool_gives_back_in_the_handler(patient, how):
    listener = Listener(patient, how, 'raw')
    assert ctl(patient, 'resize', 'events', '6M')[0] == 0
    assert listener.next() == 'reclaim 32 6'
    row, = patient.pools()
    assert row.size == 6 * MIB
    assert listener.end() == 0


def test_told_of_a_revocation(patient, listener):
    assert ctl(patient, 'revoke', 'events')[0] == 0
    assert listener.next().startswith('revoked')


def test_told_of_a_reconnect(patient, listener):
    patient.may_crash = True
    os.kill(patient.child('broker'), signal.SIGKILL)
    assert listener.next() == 'reconnected 0 0'


def test_told_of_closing(patient, listener):
    patient.may_crash = True
    os.kill(patient.child('broker'), signal.SIGTERM)
    assert listener.next() == 'closing 0 0'
    assert listener.next() == 'reconnected 0 0'
