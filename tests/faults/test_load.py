# SPDX-License-Identifier: BSD-3-Clause
"""Clients that checksum their memory work on, while one of the daemons after the other is killed. Now and then they are
stopped, and whatever there is must be of somebody: pools in the books and in the kernel, mounts, files, descriptors."""

import os
import pathlib
import random
import signal
import subprocess
import time

import pytest

import jobproto
import pmbproto
from conftest import FULL, a_system
from system import wait_for

CLIENTS = 32
KILLS = int(os.environ.get('PMBROKER_KILLS', 5000 if FULL else 50))  # for each of two kinds of stores
LOOKS = 25  # kills between two looks
SEED = int(os.environ.get('PMBROKER_SEED', 815))
CONFIG = '''[Broker]
ReconnectSec=30s
[Store one]
Type={kind}
Size=1G
{path}
[Tenant default]
Bytes=infinity
'''


class Clients:
    def __init__(self, system):
        program = str(jobproto.BUILD / 'tests/faults/load')
        environment = {**os.environ, 'PMBROKER_SOCKET': system.socket}
        self.processes = [subprocess.Popen([program, str(seed)], env=environment, stdout=subprocess.PIPE, text=True)
                          for seed in range(CLIENTS)]
        for process in self.processes:
            assert process.stdout.readline() == 'working\n'

    def assert_alive(self):
        dead = [p for p in self.processes if p.poll() is not None]
        assert not dead, [p.stdout.read() for p in dead]

    def signal(self, number):
        for process in self.processes:
            process.send_signal(number)

    def are_stopped(self):
        return all(pathlib.Path(f'/proc/{p.pid}/stat').read_text().rsplit(')', 1)[1].split()[0] == 'T'
                   for p in self.processes)

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def system(kind):
    with a_system(kind, CONFIG) as system:
        yield system


@pytest.fixture
def clients(system):
    clients = Clients(system)
    yield clients
    clients.close()


def look(system, clients):
    """In a moment in which no client does anything."""
    clients.signal(signal.SIGSTOP)
    wait_for(clients.are_stopped, what='all clients are stopped')
    clients.assert_alive()

    def all_ready():  # what was under way, and what was to be released when its store was away
        rows = system.ask('pools')
        return rows if all(row.state == pmbproto.pb.STATE_READY for row in rows) else None

    rows = wait_for(all_ready, 30, 'all pools are ready')
    system.assert_books()
    system.assert_kernel(rows)
    system.assert_descriptors(rows)
    clients.signal(signal.SIGCONT)
    return len(rows)


def test_random_kills(system, clients):
    rng, pools = random.Random(SEED), []
    for n in range(1, KILLS + 1):
        time.sleep(rng.random() * 0.03)
        for role in rng.choice([['broker'], ['provisioner'], ['broker', 'provisioner']]):
            system.kill(role)
        system.revive()
        clients.assert_alive()
        if n % LOOKS == 0:
            pools.append(look(system, clients))
            if n % 500 == 0:
                print(f'load: {n} kills so far, {pools[-1]} pools')
    # In quiet all is told: pools that were given up while nobody was there, or granted without anybody to hear of it.
    wait_for(lambda: system.ask('status').pools <= 4 * CLIENTS, 60, 'a client has three pools, and one on its way')
    look(system, clients)
    steps = 0
    clients.signal(signal.SIGTERM)
    for process in clients.processes:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        steps += int(said.split()[-1])
    wait_for(lambda: system.ask('status').pools == 0, 30, 'all pools are gone')
    system.assert_books()
    wait_for(lambda: system.ask('status').sessions == 1, what='nobody else is there')
    system.assert_descriptors([])
    assert steps > CLIENTS and max(pools) > CLIENTS
    print(f'load: {KILLS} kills, {CLIENTS} clients, {steps} changes, all checksums right; '
          f'{len(pools)} looks at {min(pools)} to {max(pools)} pools')
