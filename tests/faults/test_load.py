# SPDX-License-Identifier: BSD-3-Clause
"""Clients that checksum their memory work on, while one of the daemons after the other is killed."""

import os
import random
import subprocess
import time

import pytest

import jobproto
from conftest import FULL
from system import wait_for

CLIENTS = 32 if FULL else 8
KILLS = 10000 if FULL else 120


@pytest.fixture
def clients(system):
    program = str(jobproto.BUILD / 'tests/faults/load')
    environment = {**os.environ, 'PMBROKER_SOCKET': system.socket}
    processes = [subprocess.Popen([program, str(seed)], env=environment, stdout=subprocess.PIPE, text=True)
                 for seed in range(CLIENTS)]
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_random_kills(system, clients):
    rng = random.Random(815)
    for process in clients:
        assert process.stdout.readline() == 'working\n'
    for _ in range(KILLS):
        time.sleep(rng.random() * 0.03)
        for role in rng.choice([['broker'], ['provisioner'], ['broker', 'provisioner']]):
            system.kill(role)
        system.revive()
        assert [p.poll() for p in clients] == [None] * CLIENTS, 'a client has lost something'
    # In quiet all is told.
    steps = 0
    for process in clients:
        process.terminate()
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0, said
        steps += int(said.split()[-1])
    wait_for(lambda: system.ask('status').pools == 0, 30, 'all pools are gone')
    system.assert_books()
    assert steps > CLIENTS
    print(f'load: {KILLS} kills, {CLIENTS} clients, {steps} changes, all checksums right')
