# SPDX-License-Identifier: BSD-3-Clause
"""Descriptors run out, a client stops in the middle of everything: nobody else is the worse for it, and when it is over
nothing is left of it."""

import os
import signal
import socket
import time

import pytest

from daemon import ALICE, BOB, broker, needs_root, store, wait_for
from fakeprovisioner import LoneBroker
from pmbproto import MIB, UNIT, Client, Refused

pytestmark = needs_root


@pytest.mark.parametrize('spare', range(4))
def test_descriptors_run_out(spare):
    """Sessions until there is no descriptor left but `spare`; then somebody wants a pool."""
    lone = LoneBroker(nofile=48)
    try:
        user = Client(lone.socket)
        wait_for(lambda: user.status().provisioner)
        pool = user.create(UNIT).pool
        user.fill(pool, 5)
        time.sleep(0.2)
        before = lone.fds()
        waiting = []
        while lone.fds() < 47 - spare:  # a socket and a pidfd each
            waiting.append(connect(lone.socket))
            time.sleep(0.05)
        if spare < 2:
            waiting += [connect(lone.socket) for _ in range(5)]
        time.sleep(0.1)
        assert user.pool(pool).size == UNIT  # who is there is served
        try:
            user.drop(user.create(UNIT).pool)
        except Refused as e:
            assert (e.code, e.errno) in (('FAILED', 24), ('RETRY', 11)), str(e)
        for sock in waiting:
            sock.close()
        wait_for(lambda: user.status().provisioner and lone.fds() <= before, 10, 'no descriptor is left behind')
        assert user.is_filled(pool, 5) and user.create(UNIT).pool
        assert lone.process.poll() is None
        assert user.status().pools == 2 == len(lone.provisioner.pools)
    finally:
        lone.close()


def connect(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(path)
    return sock


@pytest.mark.parametrize('what', ['idle', 'asking', 'reclaimed'])
def test_client_that_is_stopped(start, kind, what):
    """SIGSTOP, for longer than anything waits for a client: it keeps its pool, and others never notice."""
    daemon = start(broker(UnreadTimeoutSec='1s', RequestsPerSecond=100000), store('main', kind))
    stopped, other = daemon.user(ALICE), daemon.user(BOB)
    pool = stopped.create(8 * MIB).pool
    stopped.fill(pool, 9)
    if what == 'asking':
        for _ in range(10):
            stopped.send('list_pools')
    os.kill(stopped.process.pid, signal.SIGSTOP)
    if what == 'reclaimed':
        assert daemon.admin.resize(pool, 2 * MIB).size == 8 * MIB  # after ShrinkTimeoutSec
    begin = time.monotonic()
    while time.monotonic() - begin < 2.5:
        again = time.monotonic()
        other.drop(other.create(UNIT).pool)
        assert time.monotonic() - again < 1
    assert [row.pool for row in daemon.pools()] == [pool]
    os.kill(stopped.process.pid, signal.SIGCONT)
    back = stopped.process.reconnect(daemon.socket, stopped)
    assert back.is_filled(pool, 9) and back.pool(pool).size == 8 * MIB
