# SPDX-License-Identifier: BSD-3-Clause
"""Each allocation that an operation takes fails once. The request fails or succeeds, and says which; nothing is lost or
charged wrongly; the provisioner lives, and the broker, if it gives up while it finds its pools again, is started anew."""

import mmap
import random
import struct

import pytest

import jobproto
from conftest import FULL
from system import System
from test_kill import Create, Death, Destroy, GiveBack, Grow, Reclaim, Reload, Revoke, look_over

SAMPLE = 4


class Allocations:
    """The allocations of one daemon, counted from begin() on."""

    def __init__(self, path):
        path.write_bytes(bytes(16))
        path.chmod(0o666)
        self.file = open(path, 'r+b')
        self.map = mmap.mmap(self.file.fileno(), 16)

    def begin(self, fails=0):
        self.map[8:16] = bytes(8)
        self.map[0:8] = bytes(8)
        self.map[8:16] = struct.pack('=Q', fails)

    def end(self):
        self.map[8:16] = bytes(8)
        return struct.unpack('=Q', self.map[0:8])[0]


@pytest.fixture(params=['broker', 'provisioner'])
def victim(request):
    return request.param


@pytest.fixture
def allocations(system, victim):
    if b'__asan_' in (jobproto.BUILD / 'pmbrokerd').read_bytes():
        pytest.skip('a sanitizer has an allocator of its own')
    path = system.directory / 'allocations'
    allocations = Allocations(path)
    library = jobproto.BUILD / 'tests/faults/preload-nomem.so'
    system.kill(victim)
    system.environment[victim] = {'LD_PRELOAD': str(library), 'NOMEM_FILE': str(path)}
    system.revive()
    return allocations


@pytest.mark.parametrize('operation', [Create, Destroy, Grow, GiveBack, Death, Reclaim, Revoke, Reload],
                         ids=lambda o: o.__name__.lower())
def test_allocation_that_fails(system: System, allocations, operation, victim):
    op = operation(system)
    op.begin()
    allocations.begin()
    assert op.run()
    count = allocations.end()
    look_over(system, op, True)
    rng, every = random.Random(operation.__name__), range(1, count + 1)
    for n in every if FULL else sorted(rng.sample(every, min(count, SAMPLE))):
        pids = [system.process(role).pid for role in ('broker', 'provisioner')]
        op.begin()
        allocations.begin(n)
        answered = op.run()
        allocations.end()
        system.revive(any_end=True)
        assert pids == [system.process(role).pid for role in ('broker', 'provisioner')], f'the {n}. ended it'
        look_over(system, op, answered)
    op.end()
    print(f'nomem: {operation.__name__.lower()}, {victim}: {count} allocations')
