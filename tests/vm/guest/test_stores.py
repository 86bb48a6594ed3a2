# SPDX-License-Identifier: BSD-3-Clause
"""Stores that take more than the default configuration."""

import contextlib
import errno
import mmap
import pathlib
import shutil

import pytest

from daemon import wait_for
from pmbproto import MIB, Refused
from system import PROVISIONER, SECONDS, SERVICES, drop_in, main_pid, systemctl

MAP_LOCKED = 0x2000


def test_directory_elsewhere(system, configure):
    """The unit may write to its own directories only: the manual says which drop-in another one takes."""
    path = pathlib.Path('/srv/pools')
    path.mkdir(mode=0o700)
    try:
        with drop_in(PROVISIONER, f'[Service]\nReadWritePaths={path}\n'):
            systemctl('daemon-reload')
            systemctl('stop', *SERVICES)
            configure(f'[Store files]\nType=dir\nPath={path}\nSize=64M\n', reload=False)
            system.wait_until_ready()
            client = system.user()
            grant = client.create(4 * MIB, store='files')
            client.fill(grant.pool, 1)
            assert client.is_filled(grant.pool, 1)
            assert system.ask('stores')['files'].enforced_by == 'audit'
            assert len([p for p in path.rglob('*') if p.is_file()]) >= 1
            system.dismiss()
    finally:
        shutil.rmtree(path)
        systemctl('daemon-reload')


@contextlib.contextmanager
def programs_in_memory():
    """
    Inside, nothing of what runs has to be read from the disk again. An emulated disk is so slow that a kernel that is
    short of memory would do that for minutes before it gives up.
    """
    maps = []
    for path in {line.split()[5] for p in pathlib.Path('/proc').glob('[0-9]*/maps') for line in lines(p)
                 if line.count('/') > 1}:
        with contextlib.suppress(OSError, ValueError), open(path, 'rb') as f:
            maps.append(mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED | MAP_LOCKED, mmap.PROT_READ))
    assert len(maps) > 20
    try:
        yield
    finally:
        for m in maps:
            m.close()


def lines(path):
    with contextlib.suppress(OSError):  # it has ended
        return path.read_text().splitlines()
    return []


def test_more_than_there_is(system, configure):
    """A pool that takes more memory than the machine has costs a worker, and nobody else."""
    before = [main_pid(u) for u in SERVICES]
    configure('[Store ram]\n[Store greedy]\nType=tmpfs\nSize=8G\nAllocate=create\n[Tenant default]\nBytes=infinity\n')
    wait_for(lambda: 'greedy' in system.ask('stores'), SECONDS, 'the store is there', every=0.05)
    other = system.user()
    kept = other.create(4 * MIB, store='ram').pool
    other.fill(kept, 5)
    with programs_in_memory():
        serial = system.admin.send('create_pool', size=4096 * MIB, store='greedy')
        assert system.admin.is_answered(serial, 2 * SECONDS)
        with pytest.raises(Refused) as e:
            system.admin.answer(serial)
    assert (e.value.code, e.value.errno) == ('FAILED', errno.ENOMEM)
    assert other.is_filled(kept, 5)
    assert system.user().create(4 * MIB, store='greedy').pool
    assert [main_pid(u) for u in SERVICES] == before
