# SPDX-License-Identifier: BSD-3-Clause
"""Whatever happens to the two processes: pools, their bytes, their limits and their owners stay."""

import errno
import os
import pathlib
import re
import signal

import pytest

from daemon import wait_for
from pmbproto import MIB, pb
from system import (ALICE, BOB, BROKER, EXAMPLES, PROVISIONER, SECONDS, SERVICES, SOCKET, ctl, drop_in, journal,
                    main_pid, processes, show, systemctl)


def namespace():
    return os.stat(f'/proc/{main_pid(PROVISIONER)}/ns/mnt').st_ino


def listing():
    """What administrators see, without what changes by itself."""
    return sorted(ctl('list', '--output', 'id,name,tenant,user,pid,store,limit,used,state').splitlines())


def said(system):
    """All that was logged in this test."""
    return '\n'.join(message for _, _, message in journal(system.began))


def state(pid):
    """Of the process, as in ps(1)."""
    return pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]


class Users:
    """A program that uses the library, a session of another user, and what they have before."""

    def __init__(self, system):
        self.system = system
        self.holder = system.program(ALICE, 'nice', '-n', '19', EXAMPLES / 'holder', '--size', '4')
        wait_for(lambda: 'blocks' in self.holder.log.read_text(), SECONDS, 'the holder has its pool')
        self.client = system.user(BOB)
        self.pool = self.client.create(8 * MIB, max=16 * MIB, name='kept').pool
        self.client.fill(self.pool, 7)
        self.rows = system.rows()
        self.listing = listing()
        self.namespace = namespace()
        assert len(self.rows) == 2

    def check(self, broker_is_new):
        system, client, pool = self.system, self.client, self.pool
        assert system.rows() == self.rows
        assert listing() == self.listing
        assert namespace() == self.namespace
        assert system.is_consistent()

        # The mapping and the descriptor are what they were.
        assert client.is_filled(pool, 7)
        assert client.pwrite(pool, 8 * MIB, 1) == (0, errno.ENOSPC)
        if broker_is_new:
            client = client.process.reconnect(SOCKET, client)
            assert [row.pool for row in client.resume()] == [pool]
        # All kinds of work go on.
        assert client.resize(pool, 10 * MIB).size == 10 * MIB
        assert client.pwrite(pool, 8 * MIB, 2 * MIB) == (2 * MIB, 0)
        assert client.pwrite(pool, 10 * MIB, 1) == (0, errno.ENOSPC)
        other = client.create(2 * MIB).pool
        client.fill(other, 9)
        client.destroy(other)
        assert client.is_filled(pool, 7, count=4)

        if broker_is_new:
            wait_for(lambda: 'restarted' in self.holder.log.read_text(), SECONDS, 'the library has noticed')
        assert self.holder.poll() is None
        self.holder.terminate()
        assert self.holder.wait(SECONDS) == 0, self.holder.log.read_text()
        print(self.holder.log.read_text())


@pytest.mark.parametrize('units', [[PROVISIONER], [BROKER], [BROKER, PROVISIONER]],
                         ids=['provisioner', 'broker', 'both'])
def test_kill(system, units):
    users = Users(system)
    restarts = [int(show(u, 'NRestarts')[0]) for u in SERVICES]
    system.kill(*units)
    users.check(broker_is_new=BROKER in units)
    assert [int(show(u, 'NRestarts')[0]) for u in SERVICES] == [n + (u in units) for n, u in zip(restarts, SERVICES)]


def test_kill_again_and_again(system):
    users = Users(system)
    for _ in range(3):
        system.kill(PROVISIONER)
    users.check(broker_is_new=False)


@pytest.mark.parametrize('units', [[PROVISIONER], [BROKER], [BROKER, PROVISIONER]],
                         ids=['provisioner', 'broker', 'both'])
def test_restart(system, units):
    users = Users(system)
    systemctl('restart', *units)
    system.wait_until_ready()
    users.check(broker_is_new=BROKER in units)


def test_daemon_reexec(system):
    users = Users(system)
    systemctl('daemon-reexec')
    system.kill(PROVISIONER)
    users.check(broker_is_new=False)


def test_stop_of_the_provisioner_ends_pools(system):
    """Before systemd 254 nothing is kept over a stop: the owner is told, and what it has mapped stays readable."""
    client = system.user()
    pool = client.create(4 * MIB).pool
    client.fill(pool, 3)
    systemctl('stop', PROVISIONER)
    assert client.is_filled(pool, 3)
    systemctl('start', PROVISIONER)
    system.wait_until_ready()
    assert client.event('revoked', SECONDS).reason == pb.REVOKED_LOST
    assert client.is_filled(pool, 3)
    assert client.create(2 * MIB).pool != pool


def test_restart_beside_a_worker_that_hangs(system):
    """It is left behind, not waited for; it ends when it can, and then the pool goes."""
    client = system.user()
    pool = client.create(4 * MIB).pool
    hostile = system.hostile(client, 'lock')
    system.forget(client)
    wait_for(lambda: 'hangs on pool' in said(system), SECONDS, 'a worker hangs', every=0.1)
    old = main_pid(PROVISIONER)
    hung = [pid for pid in processes() if state(pid) == 'D']
    assert len(hung) == 1

    systemctl('restart', PROVISIONER)
    system.wait_until_ready()
    assert state(hung[0]) == 'D' and old not in processes()
    assert not re.search('timed out|SIGKILL', said(system))
    assert [row.state for row in system.rows()] == [pb.STATE_RELEASING]
    assert system.user().create(2 * MIB).pool

    hostile.kill()
    wait_for(lambda: pool not in [row.pool for row in system.rows()], SECONDS, 'the pool is gone', every=0.1)
    wait_for(lambda: hung[0] not in processes(), SECONDS, 'the worker has ended', every=0.1)


def test_watchdog(system):
    """A process that stands still is killed and started again."""
    system.expect_errors('Watchdog timeout')
    with drop_in(BROKER, '[Service]\nWatchdogSec=3\n'), drop_in(PROVISIONER, '[Service]\nWatchdogSec=3\n'):
        systemctl('daemon-reload')
        systemctl('restart', *SERVICES)
        system.wait_until_ready()
        users = Users(system)
        for unit in SERVICES:
            old = main_pid(unit)
            os.kill(old, signal.SIGSTOP)
            wait_for(lambda: main_pid(unit) not in (0, old), SECONDS, f'{unit} has started again', every=0.1)
            system.wait_until_ready()
        users.check(broker_is_new=True)
        assert len(re.findall('Watchdog timeout', said(system))) == 2
    systemctl('daemon-reload')
    systemctl('restart', *SERVICES)
    system.wait_until_ready()
