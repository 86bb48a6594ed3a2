# SPDX-License-Identifier: BSD-3-Clause
"""Clients come, work, and are killed; whenever nobody is there, the daemons must have what they had before: descriptors,
memory, usage. For PMBROKER_SOAK_MINUTES (make soak); without it a few rounds, to see that the test works."""

import os
import pathlib
import random
import re
import subprocess
import time

import jobproto
from system import wait_for

MINUTES = float(os.environ.get('PMBROKER_SOAK_MINUTES', 0))
CLIENTS = 16
RSS_NOISE = 128 << 10  # what an allocator may still take for the same work


def rss(pid):
    return int(re.search(r'VmRSS:\s*(\d+)', pathlib.Path(f'/proc/{pid}/status').read_text())[1]) << 10


def slope(values):
    """Of the line through the values, per round."""
    n = len(values)
    mean_x, mean_y = (n - 1) / 2, sum(values) / n
    return sum((x - mean_x) * (y - mean_y) for x, y in enumerate(values)) / sum((x - mean_x) ** 2 for x in range(n))


def a_round(system, rng):
    environment = {**os.environ, 'PMBROKER_SOCKET': system.socket}
    clients = [subprocess.Popen([str(jobproto.BUILD / 'tests/faults/load'), str(rng.randrange(1 << 30))],
                                env=environment, stdout=subprocess.PIPE) for _ in range(CLIENTS)]
    time.sleep(0.5)
    for client in clients:
        (client.kill if rng.random() < 0.5 else client.terminate)()
    for client in clients:
        client.wait()
        client.stdout.close()
        assert client.returncode in (0, -9, -15)  # that, if it had not begun yet
    wait_for(lambda: system.ask('status').pools == 0 and system.ask('status').sessions == 1, 30, 'nobody is there')
    system.assert_books()


def test_soak(system):
    end, rng, samples = time.monotonic() + MINUTES * 60 / 2, random.Random(1), []  # one half for each kind of store
    while len(samples) < 12 or time.monotonic() < end:
        a_round(system, rng)
        time.sleep(0.1)
        samples.append([f(role) for role in ('broker', 'provisioner')
                        for f in (system.fds, lambda role: rss(system.process(role).pid))])
    warm = samples[len(samples) // 3:]
    names = ['descriptors of the broker', 'memory of the broker', 'descriptors of the provisioner',
             'memory of the provisioner']
    for name, values in zip(names, zip(*warm)):
        print(f'soak: {name}: {values[0]} to {values[-1]}, {slope(values):+.3f} a round, {len(samples)} rounds')
    for name, values in zip(names, zip(*warm)):
        if 'descriptors' in name:
            assert slope(values) == 0 and len(set(values)) == 1, (name, values)
        else:
            assert max(values[len(values) // 2:]) <= max(values[:len(values) // 2]) + RSS_NOISE, (name, values)
