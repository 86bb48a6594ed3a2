# SPDX-License-Identifier: BSD-3-Clause
"""Pools on NVDIMMs, by the job protocol: what a hostile client can do to its own, and what it cannot to others."""

import collections
import ctypes
import errno
import fcntl
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time

import pytest

from daemon import wait_for
from jobproto import CREATE, EVENT_AUDIT, FINAL, GROW, MIB, RELEASE, RELEASING, REVOKED, UNIT, Provisioner
from system import ALICE, ROOT, as_user, run

import jobproto

GIB = 1 << 30
SECONDS = 60
FS_IOC_FSGETXATTR, FS_IOC_FIEMAP, FIEMAP_EXTENT_UNWRITTEN = 0x801c581f, 0xc020660b, 0x800
SYS_QUOTACTL_FD, Q_GETQUOTA, PRJQUOTA = 443, 0x800007, 2
libc = ctypes.CDLL(None, use_errno=True)
CLIENT = '''
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execvp(sys.argv[2], sys.argv[2:])
'''

Figures = collections.namedtuple('Figures', 'size units written length usage limit project sealed')


# -------------------------------------------------------------------------------------------------------- the store

def regions():
    found = json.loads(run('ndctl', 'list', '-R'))
    return sorted(r['dev'] for r in found if r['size'] == GIB)


def wipe():
    """All as it was: no namespaces, no labels."""
    run('ndctl', 'destroy-namespace', '-f', 'all', check=False)
    run('ndctl', 'disable-region', 'all', check=False)
    run('ndctl', 'zero-labels', 'all', check=False)
    run('ndctl', 'enable-region', 'all', check=False)


class Store(Provisioner):
    """A provisioner of its own with three stores."""

    def __init__(self, directory):
        self.ids = 0x1000
        self.clients = []
        first, second = regions()
        super().__init__(directory, f'''
[Store one]
Type=fsdax
Region={first}
Size=600M
InitLabels=yes
[Store clean]
Type=fsdax
Region={first}
Size=128M
Scrub=release
InitLabels=yes
[Store x]
Type=fsdax
Region={second}
Size=800M
Filesystem=xfs
TrustedTenants=yes
RequireDax=no
InitLabels=yes
''', keeper=True)
        self.wait()

    def wait(self):
        def ready():
            with self.connect() as jobs:
                self.rows = {s.name: s for s in jobs.stores()}
            print([(s.name, s.flags, s.reason) for s in self.rows.values()])
            return all(s.flags & jobproto.AVAILABLE for s in self.rows.values())
        wait_for(ready, SECONDS, 'the stores are there', every=0.2)

    def index(self, name):
        return self.rows[name].index

    def restart(self, sig=signal.SIGKILL):
        super().restart(sig)
        self.wait()

    def id(self):
        self.ids += 1
        return self.ids

    def path(self, id, store='one'):
        """Seen from the namespace that all is in."""
        return f'/proc/{self.process.pid}/root{self.state}/mnt/{store}/{id:016x}.pool'

    def device(self, store='one'):
        with open(f'/proc/{self.process.pid}/mountinfo') as f:
            return next(re.search(r' (/dev/\S+) ', line).group(1) for line in f if f'/mnt/{store} ' in line)

    def figures(self, id, store='one'):
        """Asked of the kernel, not of what is tested."""
        path = self.path(id, store)
        fd = os.open(path, os.O_RDONLY)
        try:
            attributes = bytearray(28)
            fcntl.ioctl(fd, FS_IOC_FSGETXATTR, attributes)
            flags, _, _, project = struct.unpack_from('=IIII', attributes)
            units, written = set(), set()
            for start, length, kind in extents(fd):
                now = set(range(start // UNIT, (start + length - 1) // UNIT + 1))
                units |= now
                if not kind & FIEMAP_EXTENT_UNWRITTEN:
                    written |= now
            used, limit = quota(fd, project)
            return Figures(len(units) * UNIT, units, written, os.fstat(fd).st_size, used, limit, project, bool(flags & 8))
        finally:
            os.close(fd)

    def quota(self, project, store='one'):
        fd = os.open(os.path.dirname(self.path(1, store)), os.O_RDONLY)
        try:
            return quota(fd, project)
        finally:
            os.close(fd)

    def free(self, store='one'):
        st = os.statvfs(os.path.dirname(self.path(1, store)))
        return st.f_bfree * st.f_frsize

    def client(self, fd, **kwargs):
        c = Client(fd, **kwargs)
        self.clients.append(c)
        return c


def extents(fd):
    at, room = 0, 400
    while True:
        buffer = bytearray(32 + room * 56)
        struct.pack_into('=QQIIII', buffer, 0, at, (1 << 63) - at, 0, 0, room, 0)
        fcntl.ioctl(fd, FS_IOC_FIEMAP, buffer)
        n = struct.unpack_from('=I', buffer, 20)[0]
        for i in range(n):
            start, _, length, _, _, kind = struct.unpack_from('=QQQQQI', buffer, 32 + i * 56)
            yield start, length, kind
            at = start + length
        if n < room:
            return


def quota(fd, project):
    """(used, limit) in bytes."""
    buffer = ctypes.create_string_buffer(128)
    assert libc.syscall(SYS_QUOTACTL_FD, fd, Q_GETQUOTA << 8 | PRJQUOTA, project, buffer) == 0
    hard, _, used = struct.unpack_from('=QQQ', buffer)
    return used, hard * 1024


class Client:
    """fsdax-client as an ordinary user."""

    def __init__(self, fd, root=False):
        program = [str(ROOT / 'build/tests/integration/fsdax-client')]
        argv = [sys.executable, '-S', '-E', '-c', CLIENT, str(fd), *(program if root else as_user(ALICE, *program))]
        self.process = subprocess.Popen(argv, pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.close(fd)

    def say(self, *words):
        self.process.stdin.write(' '.join(map(str, words)) + '\n')
        self.process.stdin.flush()

    def read(self):
        return self.process.stdout.readline().strip()

    def __call__(self, *words):
        self.say(*words)
        return self.read()

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope='module')
def module_store(tmp_path_factory):
    directory = tmp_path_factory.mktemp('fsdax')
    try:
        with Store(directory) as s:
            yield s
    finally:
        print((directory / 'log').read_text())
        wipe()


@pytest.fixture
def store(module_store):
    """Empty, before and after."""
    s = module_store
    yield s
    for client in s.clients:
        client.end()
    s.clients.clear()
    with s.connect() as jobs:
        for row in s.rows.values():
            for pool in jobs.pools(row.index):
                assert release(jobs, pool.pool, store=row.index) == 0
    for name in s.rows:
        root = os.path.dirname(s.path(1, name))
        wait_for(lambda: os.listdir(root) == [], 15, f'{root} is empty', every=0.1)
    assert 'assert' not in s.log_text().lower()


@pytest.fixture
def jobs(store):
    with store.connect() as j:
        yield j


def release(jobs, id, how=FINAL, seconds=15, **args):
    deadline = time.monotonic() + seconds
    while True:
        reply = jobs.ask(RELEASE, pool=id, bytes=how, **args)
        if reply.error != -errno.ETIMEDOUT or time.monotonic() > deadline:
            return reply.error
        time.sleep(0.05)


def assert_at_rest(f, size, length=None, resized=False):
    assert f.size == size and f.length == (size if length is None else length), f
    assert f.sealed and f.project != 0
    assert f.size <= f.usage, f
    # At first with a cluster for the extent tree, if there is none: there is no hole that it could fill.
    assert f.limit == (f.size if resized else max(f.usage, f.size + UNIT)), f


# ------------------------------------------------------------------------------------------------------------- life

def test_create_and_release(store, jobs):
    before = store.free()
    for size in (UNIT, 32 * UNIT, 300 * MIB, 512 * MIB):
        id = store.id()
        reply = jobs.create(id, size)
        assert reply.error == 0 and reply.length == size, reply
        f = store.figures(id)
        print(f._replace(units=None, written=None))
        assert_at_rest(f, size)
        st = os.stat(store.path(id))
        assert (st.st_uid, st.st_gid, st.st_mode) == (0, 0, 0o100600)
        client = store.client(reply.fd)
        assert client('map', size) == '0'
        assert int(client('touch', 0, min(size, 64 * MIB))) <= min(size, 64 * MIB) // UNIT + 2
        client.end()
        assert release(jobs, id) == 0
        assert not os.path.exists(store.path(id)) and store.quota(f.project)[0] == 0
        assert store.free() == before


def test_store_that_is_full(store, jobs):
    capacity = store.rows['one'].capacity
    before = store.free()
    reply = jobs.ask(CREATE, pool=store.id(), bytes=2 * GIB, tail=b'r')
    assert reply.error == -errno.ENOSPC and store.free() == before
    assert os.listdir(os.path.dirname(store.path(1))) == []
    id = store.id()
    reply = jobs.create(id, capacity)
    assert reply.error == 0
    os.close(reply.fd)
    assert_at_rest(store.figures(id), capacity)
    assert jobs.ask(GROW, pool=id, bytes=capacity + 64 * MIB, length=capacity + 64 * MIB).error == -errno.ENOSPC
    assert_at_rest(store.figures(id), capacity, resized=True)
    assert release(jobs, id) == 0


def test_hostile_client(store, jobs):
    """Everything that a descriptor lets one try: not a byte more, and never out of its project."""
    id, size = store.id(), 16 * UNIT
    client = store.client(jobs.create(id, size).fd)
    assert client('map', size * 2) == '0'
    assert client('touch', 0, size) == str(size // UNIT)
    before, free = store.figures(id), store.free()
    client.say('attack')
    tried = dict(iter(lambda: tuple(client.read().partition(': ')[::2]), ('end', '')))
    print(tried)
    assert len(tried) > 60
    assert [what for what, r in tried.items() if r == 'worked'] == []
    assert store.figures(id) == before and store.free() == free
    assert_at_rest(before, size)
    client.end()
    assert release(jobs, id) == 0


def test_units(store, jobs):
    """Down by exactly the units that are named, up by the lowest holes, and numbers that do not fit change nothing."""
    id = store.id()
    client = store.client(jobs.create(id, 8 * UNIT).fd)
    client('map', 64 * UNIT)
    client('touch', 0, 8 * UNIT)
    reply = jobs.shrink(id, 4 * UNIT, [(1, 2), (5, 1), (7, 1)])
    assert (reply.error, reply.bytes, reply.length) == (0, 4 * UNIT, 8 * UNIT)
    f = store.figures(id)
    assert f.units == {0, 3, 4, 6}
    assert_at_rest(f, 4 * UNIT, 8 * UNIT, resized=True)
    assert client('touch', 1 * UNIT, 4096) == 'SIGBUS'
    assert client('touch', 3 * UNIT, 2 * UNIT).isdigit()
    # A second time, and wrongly.
    assert jobs.shrink(id, 4 * UNIT, [(1, 2)]).error == 0
    assert jobs.shrink(id, 3 * UNIT, [(1, 2)]).error == -errno.EBUSY
    assert jobs.shrink(id, 2 * UNIT, [(3, 1)]).error == -errno.EBUSY
    assert jobs.shrink(id, 3 * UNIT, [(8, 1)]).error == -errno.EINVAL
    assert jobs.shrink(id, 5 * UNIT, [(3, 1)]).error == -errno.EINVAL
    assert store.figures(id) == f
    reply = jobs.ask(GROW, pool=id, bytes=6 * UNIT, length=8 * UNIT)
    assert (reply.error, reply.bytes, reply.length) == (0, 6 * UNIT, 8 * UNIT)
    assert store.figures(id).units == {0, 1, 2, 3, 4, 6}
    reply = jobs.ask(GROW, pool=id, bytes=10 * UNIT, length=10 * UNIT)
    assert (reply.error, reply.bytes, reply.length) == (0, 10 * UNIT, 10 * UNIT)
    assert store.figures(id).units == set(range(10))
    assert client('touch', 0, 10 * UNIT).isdigit()
    assert client('touch', 10 * UNIT, 4096) == 'SIGBUS'
    client.end()
    assert release(jobs, id) == 0


# ---------------------------------------------------------------------------------------------------- pinned pages

ORDERS = {
    'unmap': ['unmap'],
    'unmap, close': ['unmap', 'close'],
    'close, unmap': ['close', 'unmap'],
    'truncate, unmap': ['truncate 0', 'unmap'],
    'punch': ['fallocate 3 0 2097152', 'unmap', 'close'],
    'stay': [],
}


@pytest.mark.parametrize('order', ORDERS)
def test_pinned_pages(store, jobs, order):
    """The release waits, charged, while others are served; and the pages are nobody else's before it is done."""
    id = store.id()
    client = store.client(jobs.create(id, 4 * UNIT, account=7).fd)
    client('map', 4 * UNIT)
    client('text', 0, 4 * UNIT, 'AAAAAAAA')
    assert client('pin', UNIT) == '4096'
    for line in ORDERS[order]:
        client(line)
    reply = jobs.ask(RELEASE, pool=id, bytes=REVOKED, account=7)
    assert reply.error == -errno.ETIMEDOUT and reply.used >= 4 * UNIT
    assert client('peek') == 'AAAAAAAA'

    # Meanwhile: others, also where the release is being tried all the time.
    serial = jobs.send(RELEASE, pool=id, bytes=REVOKED, account=7)
    with store.connect() as other:
        others = []
        for _ in range(4):
            others.append(store.id())
            began = time.monotonic()
            neighbour = store.client(other.create(others[-1], 64 * MIB, account=8).fd)
            neighbour('map', 64 * MIB)
            neighbour('text', 0, 64 * MIB, 'VICTIM!!')
            assert client('peek') == 'AAAAAAAA'
            assert time.monotonic() - began < 5
        pool = next(p for p in other.pools() if p.pool == id)
        assert pool.flags == RELEASING and pool.used >= 4 * UNIT
        for n in others:
            assert release(other, n, account=8, how=REVOKED) == 0
    reply = jobs.recv()
    assert reply.serial == serial and reply.error == -errno.ETIMEDOUT
    assert store.figures(id).sealed

    assert client('unpin') == '0'
    assert release(jobs, id, account=7, how=REVOKED) == 0
    assert store.id not in [p.pool for p in jobs.pools()]


@pytest.mark.parametrize('end', ['kill', 'exit'])
def test_pinned_pages_of_a_dead_owner(store, jobs, end):
    """Somebody else has the pipe; the provisioner dies again and again."""
    id = store.id()
    client = store.client(jobs.create(id, 4 * UNIT).fd)
    client('map', 4 * UNIT)
    client('text', 0, 4 * UNIT, 'AAAAAAAA')
    client('pin', 0)
    pid = client.process.pid
    # The same pipe: numbers after the pool's.
    pipe = next(os.open(f'/proc/{pid}/fd/{n}', os.O_RDONLY | os.O_NONBLOCK) for n in sorted(os.listdir(f'/proc/{pid}/fd'))
                if int(n) > 3 and os.readlink(f'/proc/{pid}/fd/{n}').startswith('pipe:'))
    client.end() if end == 'kill' else client.say('exit')
    client.process.wait()
    assert jobs.ask(RELEASE, pool=id, bytes=FINAL).error == -errno.ETIMEDOUT
    for at_work in (False, True, True):
        if at_work:
            jobs.send(RELEASE, pool=id, bytes=FINAL)
            time.sleep(0.3)
        store.restart()
        jobs.close()
        jobs = store.connect()
        pool, = jobs.pools()
        assert pool.pool == id and pool.flags == RELEASING and pool.bytes == 4 * UNIT
        fresh = store.id()
        wait_for(lambda: not store_is_closed(store, jobs), 10, 'what was found is judged', every=0.1)
        neighbour = store.client(jobs.create(fresh, 64 * MIB).fd)
        neighbour('map', 64 * MIB)
        neighbour('text', 0, 64 * MIB, 'VICTIM!!')
        neighbour.end()
        assert release(jobs, fresh) == 0
        assert jobs.ask(RELEASE, pool=id, bytes=FINAL).error == -errno.ETIMEDOUT
    assert os.read(pipe, 4096) == b'A' * 4096
    os.close(pipe)
    assert release(jobs, id) == 0
    jobs.close()


def test_client_that_holds_the_lock(store, jobs):
    """No signal ends such a wait: the worker is left behind, and nobody else waits, not even for a new provisioner."""
    id = store.id()
    client = store.client(jobs.create(id, 4 * UNIT, account=7).fd, root=True)
    client('map', 4 * UNIT)
    client('text', 0, 4 * UNIT, 'AAAAAAAA')
    assert client('lock') == '0'
    began = time.monotonic()
    assert jobs.ask(RELEASE, pool=id, bytes=REVOKED, account=7).error == -errno.ETIMEDOUT
    print(f'left behind after {time.monotonic() - began:.1f} s')
    for again in (False, True):
        if again:
            store.restart()
            jobs.close()
            jobs = store.connect()
            pool, = jobs.pools()
            assert pool.pool == id and pool.flags == RELEASING and pool.used >= 4 * UNIT
        began = time.monotonic()
        other = store.id()
        os.close(jobs.create(other, 64 * MIB, account=8).fd)
        assert jobs.ask(GROW, pool=other, bytes=66 * MIB, length=66 * MIB, account=8).error == 0
        assert release(jobs, other, account=8) == 0
        assert time.monotonic() - began < 5
    assert client('unlock') == '0'
    assert release(jobs, id, account=7, how=REVOKED) == 0
    client.end()
    jobs.close()


def store_is_closed(store, jobs, name='one'):
    return bool(next(s for s in jobs.stores() if s.name == name).flags & 1 << 8)


def test_owner_that_keeps_the_descriptor(store, jobs):
    """The memory is back at once; the empty file goes when the descriptor does."""
    before = store.free()
    clients = []
    for _ in range(5):
        id = store.id()
        clients.append(store.client(jobs.create(id, 8 * UNIT).fd))
        clients[-1]('map', 8 * UNIT)
        clients[-1]('touch', 0, 8 * UNIT)
        assert release(jobs, id, how=REVOKED) == 0
        assert clients[-1]('touch', 0, 4096) == 'SIGBUS'
        assert [clients[-1](*line) for line in (('truncate', 64 * UNIT), ('fallocate', 0, 0, UNIT), ('pwrite', 0))] == \
            ['EPERM'] * 3
    assert jobs.pools() == [] and store.free() == before
    root = os.path.dirname(store.path(1))
    assert len(os.listdir(root)) == 5
    store.restart()
    time.sleep(2)
    assert len(os.listdir(root := os.path.dirname(store.path(1)))) == 5
    for client in clients:
        client.end()
    wait_for(lambda: os.listdir(root) == [], 10, 'the files are gone', every=0.1)


# ----------------------------------------------------------------------------------------------------------- resize

def lowest_holes(units, count, length):
    return set([u for u in range(length) if u not in units][:count])


def spans(units):
    found = []
    for u in sorted(units):
        if found and found[-1][0] + found[-1][1] == u:
            found[-1][1] += 1
        else:
            found.append([u, 1])
    return [tuple(s) for s in found]


def age(store, jobs, rng, n, live_max=450 * MIB, sizes=(1, 16)):
    """Pools of mixed sizes come and go."""
    live = {}
    for _ in range(n):
        size = rng.randint(*sizes) * UNIT
        while sum(live.values()) + size > live_max:
            id = rng.choice(list(live))
            assert release(jobs, id) == 0
            del live[id]
        id = store.id()
        reply = jobs.create(id, size)
        assert reply.error == 0
        os.close(reply.fd)
        live[id] = size
    return live


def test_faults_after_many_pools(store, jobs):
    began = time.monotonic()
    live = age(store, jobs, random.Random(1), 600)
    print(f'600 pools in {time.monotonic() - began:.1f} s')
    for id in list(live):
        if sum(live.values()) < 400 * MIB:
            break
        assert release(jobs, id) == 0
        del live[id]
    id = store.id()
    client = store.client(jobs.create(id, 64 * MIB).fd)
    client('map', 64 * MIB)
    faults = client('touch', 0, 64 * MIB)
    print(len(live), 'others;', len(spans(store.figures(id).units)), 'spans;', faults, 'faults')
    assert faults == '32'


def test_resizes_of_a_client_that_looks_on(store, jobs):
    """Never a SIGBUS, never a wrong byte, and the figures as promised after each step."""
    rng = random.Random(2)
    live = age(store, jobs, rng, 60, live_max=400 * MIB, sizes=(1, 4))
    for id in list(live)[::2]:
        assert release(jobs, id) == 0
    id, size, length, worst = store.id(), 20, 20, 0
    client = store.client(jobs.create(id, size * UNIT).fd)
    client('map', 200 * UNIT)
    units = set(range(size))
    assert client('fill', 0, size) == '0'
    began = time.monotonic()
    for step in range(200):
        if rng.random() < 0.5 and len(units) > 2:
            some = set(rng.sample(sorted(units), rng.randint(1, min(12, len(units) - 1))))
            for span in spans(some):
                client('drop', *span)
            units -= some
            reply = jobs.shrink(id, len(units) * UNIT, spans(some))
        else:
            want = min(len(units) + rng.randint(1, 12), 60)
            length = max(length, want)
            more = lowest_holes(units, want - len(units), length)
            units |= more
            reply = jobs.ask(GROW, pool=id, bytes=want * UNIT, length=length * UNIT)
            for span in spans(more):
                assert client('fill', *span) == '0'
        assert (reply.error, reply.bytes, reply.length) == (0, len(units) * UNIT, length * UNIT), (step, reply)
        f = store.figures(id)
        assert f.units == units, step
        assert_at_rest(f, len(units) * UNIT, length * UNIT, resized=True)
        worst = max(worst, f.usage - f.size)
    rounds = client('stop')
    print(f'200 steps in {time.monotonic() - began:.1f} s; checked {rounds} times; surplus up to {worst // UNIT} clusters')
    assert rounds.isdigit() and int(rounds) > 0
    client.end()
    assert release(jobs, id) == 0


def test_six_hundred_resizes(store, jobs):
    rng = random.Random(3)
    id, units, length = store.id(), set(range(40)), 40
    os.close(jobs.create(id, 40 * UNIT).fd)
    began = time.monotonic()
    for step in range(600):
        if rng.random() < 0.5 and len(units) > 1:
            some = set(rng.sample(sorted(units), rng.randint(1, len(units) - 1)))
            units -= some
            reply = jobs.shrink(id, len(units) * UNIT, spans(some))
        else:
            want = min(len(units) + rng.randint(1, 40), 120)
            length = max(length, want)
            units |= lowest_holes(units, want - len(units), length)
            reply = jobs.ask(GROW, pool=id, bytes=want * UNIT, length=length * UNIT)
        assert (reply.error, reply.bytes, reply.length) == (0, len(units) * UNIT, length * UNIT), (step, reply)
    print(f'{(time.monotonic() - began) / 600 * 1000:.1f} ms each')
    f = store.figures(id)
    assert f.units == units
    assert_at_rest(f, len(units) * UNIT, length * UNIT, resized=True)
    assert release(jobs, id) == 0


def test_client_that_meddles(store, jobs):
    """What it does to its file while that is unsealed is undone, or it loses the pool; nothing of it is left to it."""
    id = store.id()
    client = store.client(jobs.create(id, 8 * UNIT).fd)
    client.say('flood')
    assert client.read() == 'ready'
    free = store.free()
    told = 0
    for i in range(40):
        bytes = (9 if i % 2 == 0 else 8) * UNIT
        reply = jobs.ask(GROW, pool=id, bytes=bytes, length=9 * UNIT) if i % 2 == 0 else \
            jobs.shrink(id, bytes, [(8, 1)])
        if reply.error == -errno.ESTALE:
            jobs.wait_event(EVENT_AUDIT)
            told += 1
            break
        # A call may have passed the seal in time and come to the lock too late: it can only have lost by that. Then
        # the next numbers do not fit.
        if reply.error == -errno.EBUSY:
            continue
        f = store.figures(id)
        assert reply.error == 0 and reply.bytes == bytes, reply
        assert f.size <= bytes and f.limit == bytes and f.sealed, f
    print('told on' if told else 'never in time')
    assert store.free() >= free - 8 * UNIT
    client.end()
    assert release(jobs, id) == 0


def test_shrink_of_pinned_units(store, jobs):
    id = store.id()
    client = store.client(jobs.create(id, 4 * UNIT).fd)
    client('map', 4 * UNIT)
    client('fill', 0, 3)
    client('text', 3 * UNIT, UNIT, 'AAAAAAAA')
    client('pin', 3 * UNIT)
    reply = jobs.shrink(id, 3 * UNIT, [(3, 1)])
    assert reply.error == -errno.EBUSY and reply.bytes == 4 * UNIT
    assert_at_rest(store.figures(id), 4 * UNIT, resized=True)
    client('unpin')
    assert jobs.shrink(id, 3 * UNIT, [(3, 1)]).error == 0
    assert client('stop').isdigit()
    client.end()
    assert release(jobs, id) == 0


# ---------------------------------------------------------------------------------------------------------- restart

def test_restart(store, jobs):
    """A provisioner that finds the pools: same figures, same client, nothing forgotten."""
    ids = [store.id() for _ in range(3)]
    clients = [store.client(jobs.create(id, 8 * UNIT).fd) for id in ids]
    for client in clients:
        client('map', 64 * UNIT)
        client('fill', 0, 2)
    jobs.shrink(ids[0], 4 * UNIT, [(4, 4)])
    jobs.ask(GROW, pool=ids[1], bytes=16 * UNIT, length=16 * UNIT)
    before = [store.figures(id) for id in ids]
    store.restart()
    with store.connect() as again:
        assert [(p.pool, p.bytes, p.length) for p in again.pools()] == \
            [(ids[0], 4 * UNIT, 8 * UNIT), (ids[1], 16 * UNIT, 16 * UNIT), (ids[2], 8 * UNIT, 8 * UNIT)]
        assert [store.figures(id) for id in ids] == before
        assert again.ask(GROW, pool=ids[0], bytes=6 * UNIT, length=8 * UNIT).error == 0
        assert store.figures(ids[0]).units == set(range(6))
        assert again.shrink(ids[1], 8 * UNIT, [(8, 8)]).error == 0
        for client, id in zip(clients, ids):
            assert client('stop').isdigit()
            client.end()
            assert release(again, id) == 0


def test_store_in_doubt(store, jobs):
    """A file that somebody left open: sealed again, and no new pools for as long as the file system lives."""
    id = store.id()
    client = store.client(jobs.create(id, 8 * UNIT, store=store.index('clean')).fd)
    index = store.index('clean')
    run('chattr', '-i', store.path(id, 'clean'))
    store.restart()
    with store.connect() as again:
        wait_for(lambda: 'unsealed' in next(s.reason for s in again.stores() if s.name == 'clean'), 10, 'it is found')
        assert store.figures(id, 'clean').sealed
        row = next(s for s in again.stores() if s.name == 'clean')
        assert row.capacity == 8 * UNIT and row.flags & 1
        assert again.ask(CREATE, pool=store.id(), bytes=UNIT, store=index, tail=b'r').error == -errno.ENOSPC
        assert client('truncate', 0) == 'EPERM'
        root = os.path.dirname(store.path(1, 'clean'))
        store.restart()
    with store.connect() as again:
        assert store_is_closed(store, again, 'clean')
        assert again.ask(GROW, pool=id, bytes=9 * UNIT, length=9 * UNIT, store=index).error == -errno.ENOSPC
        client.end()
        assert release(again, id, store=index) == 0
        root = os.path.dirname(store.path(1, 'clean'))
        os.unlink(f'{root}/.closed')
    store.restart()
    with store.connect() as again:
        assert not store_is_closed(store, again, 'clean')


# ----------------------------------------------------------------------------------------------------- other stores

def count_on_device(device, text):
    n = 0
    with open(device, 'rb') as f:
        while data := f.read(16 * MIB):
            n += data.count(text)
    return n


def test_scrub(store, jobs):
    """What was released is not on the medium any more; nor is what was given back."""
    id, index, text = store.id(), store.index('clean'), 'SECRETxx'
    client = store.client(jobs.create(id, 16 * UNIT, store=index).fd)
    client('map', 16 * UNIT)
    client('text', 0, 16 * UNIT, text)
    device = store.device('clean')
    run('sync')
    assert count_on_device(device, text.encode()) == 16 * UNIT // 8
    assert jobs.shrink(id, 10 * UNIT, [(2, 4), (8, 2)], store=index).error == 0
    run('blockdev', '--flushbufs', device)
    assert count_on_device(device, text.encode()) == 10 * UNIT // 8
    assert release(jobs, id, store=index) == 0
    run('blockdev', '--flushbufs', device)
    assert count_on_device(device, text.encode()) == 0
    client.end()


def test_xfs(store, jobs):
    """No seal, but a limit all the same."""
    id, index = store.id(), store.index('x')
    client = store.client(jobs.create(id, 16 * UNIT, store=index).fd)
    client('map', 64 * UNIT)
    assert client('touch', 0, 16 * UNIT).isdigit()
    assert client('fallocate', 0, 16 * UNIT, UNIT) in ('ENOSPC', 'EDQUOT')
    assert jobs.shrink(id, 12 * UNIT, [(2, 4)], store=index).error == 0
    assert jobs.ask(GROW, pool=id, bytes=20 * UNIT, length=20 * UNIT, store=index).error == 0
    assert client('touch', 0, 20 * UNIT).isdigit()
    used, limit = store.figures(id, 'x')[4:6]
    assert 20 * UNIT <= used <= limit <= 20 * UNIT + MIB
    store.restart()
    with store.connect() as again:
        assert [(p.bytes, p.length) for p in again.pools(index)] == [(20 * UNIT, 20 * UNIT)]
        assert release(again, id, how=REVOKED, store=index) == 0
        client.end()
