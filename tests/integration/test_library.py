# SPDX-License-Identifier: BSD-3-Clause
"""libpmbroker on the real daemon: library.c does the work, the daemon is pushed around."""

import os
import signal
import subprocess
import time

import pytest

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
