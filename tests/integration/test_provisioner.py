# SPDX-License-Identifier: BSD-3-Clause
"""The provisioner alone, over the job protocol: one contract for every kind of store, then what is particular."""

import ctypes
import errno
import faulthandler
import fcntl
import mmap
import os
import random
import signal
import socket
import struct
import threading
import time

import pytest

import jobproto
from jobproto import (AUDITED, AVAILABLE, CREATE, EVENT_AUDIT, EVENT_STORES, FINAL, GROW, KEEPS, MIB, PAGE, POOLS,
                      RELEASE, RELEASING, REVOKED, SHRINK, STORES, UNIT, USAGE, Hostile, Provisioner)

IS_ROOT = os.geteuid() == 0
KINDS = ['tmpfs', 'dir'] if IS_ROOT else ['dir']
needs_root = pytest.mark.skipif(not IS_ROOT, reason='needs root: a mount namespace')
ID = 0xc0ffee

libc = ctypes.CDLL(None, use_errno=True)
PUNCH = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


def config_for(kind, directory, size='1G', extra=''):
    text = f'[Store one]\nType={kind}\nSize={size}\n{extra}'
    if kind == 'dir':
        text += f'Path={directory}/pools\n'
    return text


def fallocate(fd, mode, offset, bytes):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(bytes)) < 0:
        raise OSError(ctypes.get_errno(), 'fallocate')


def wait_until(condition, timeout=10):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, 'timed out'
        time.sleep(0.01)


def used(fd):
    return os.fstat(fd).st_blocks * 512


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def provisioner(kind, tmp_path):
    with Provisioner(tmp_path, config_for(kind, tmp_path), keeper=True, namespace=kind == 'tmpfs') as p:
        yield p


@pytest.fixture
def jobs(provisioner):
    with provisioner.connect() as j:
        yield j


class Closing(set):
    """Takes the descriptor out of a reply; it is closed after the test, or by close()."""

    def __call__(self, reply):
        self.add(reply.fd)
        return reply.fd

    def close(self, fd):
        self.remove(fd)
        os.close(fd)


@pytest.fixture
def closing():
    fds = Closing()
    yield fds
    for fd in fds:
        os.close(fd)


# ---------------------------------------------------------------------------------------------------- the contract


def test_store(kind, jobs):
    store, = jobs.stores()
    assert store.name == 'one' and store.capacity == 1 << 30 and store.reason == ''
    assert store.flags == AVAILABLE | KEEPS | (AUDITED if kind == 'dir' else 0)
    assert store.kind == {'tmpfs': 1, 'dir': 2}[kind]
    assert jobs.pools() == []


def test_create_use_release(kind, jobs, closing):
    reply = jobs.create(ID, 4 * UNIT)
    fd = closing(reply)
    assert (reply.error, reply.bytes, reply.length, reply.used) == (0, 4 * UNIT, 4 * UNIT, 0)
    st = os.fstat(fd)
    assert st.st_size == 4 * UNIT and st.st_uid == os.geteuid() and st.st_mode & 0o777 == 0o600
    assert jobs.usage(ID) == {ID: 0}

    with mmap.mmap(fd, 4 * UNIT) as memory:
        for at in range(0, 4 * UNIT, PAGE):
            memory[at] = 7
        assert jobs.usage(ID, ID + 1) == {ID: 4 * UNIT}
    assert jobs.create(ID, UNIT).error == -errno.EEXIST
    assert [(p.pool, p.bytes, p.length, p.used, p.flags, p.record) for p in jobs.pools()] == [
        (ID, 4 * UNIT, 4 * UNIT, 4 * UNIT, 0, b'a record')]

    if kind == 'dir':  # somebody has it open
        assert jobs.ask(RELEASE, pool=ID, bytes=FINAL).error == -errno.ETIMEDOUT
        assert used(fd) == 0
    else:
        assert jobs.release(ID).error == 0
        assert os.fstat(fd).st_size == 0


def test_release_of_what_nobody_has(kind, jobs, provisioner):
    for how in FINAL, REVOKED:
        os.close(jobs.create(ID, UNIT).fd)
        assert jobs.ask(RELEASE, pool=ID, bytes=how).error == 0
        assert jobs.pools() == [] and jobs.usage(ID) == {}
        assert jobs.ask(RELEASE, pool=ID, bytes=how).error == 0
    assert list((provisioner.runtime / 'records').iterdir()) == []
    if kind == 'dir':
        assert list((provisioner.directory / 'pools').iterdir()) == []


def test_exactly_the_limit(kind, jobs, closing):
    fd = closing(jobs.create(ID, 3 * UNIT, length=8 * UNIT))
    assert os.fstat(fd).st_size == 8 * UNIT
    fallocate(fd, 0, 2 * UNIT, 3 * UNIT)
    assert jobs.usage(ID) == {ID: 3 * UNIT}
    if kind == 'tmpfs':
        with pytest.raises(OSError) as error:
            fallocate(fd, 0, 0, PAGE)
        assert error.value.errno == errno.ENOSPC
        with pytest.raises(OSError):
            os.pwrite(fd, b'x', 0)
        assert jobs.usage(ID) == {ID: 3 * UNIT}
    else:
        time.sleep(2.2)
        assert used(fd) == 3 * UNIT and not jobs.events


def test_over_the_limit(kind, jobs, closing):
    fd = closing(jobs.create(ID, 3 * UNIT, length=8 * UNIT))
    beyond = 3 * UNIT + UNIT + PAGE
    if kind == 'tmpfs':
        pid = os.fork()
        if pid == 0:
            faulthandler.disable()
            memory = mmap.mmap(fd, 8 * UNIT)
            for at in range(0, beyond, PAGE):
                memory[at] = 1
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGBUS
        assert jobs.usage(ID) == {ID: 3 * UNIT}
        return
    begin = time.monotonic()
    fallocate(fd, 0, 0, beyond)
    event = jobs.wait_event(EVENT_AUDIT)
    wait_until(lambda: used(fd) == 0)
    assert time.monotonic() - begin < 2
    assert (event.pool, event.store, event.bytes, event.used) == (ID, 0, 3 * UNIT, beyond)
    # Once a cheat, always a cheat; it is told once.
    fallocate(fd, 0, 0, UNIT)
    wait_until(lambda: used(fd) == 0, timeout=2)
    assert jobs.ask(GROW, pool=ID, bytes=4 * UNIT).error == -errno.ESTALE
    assert jobs.pools()[0].used == 0 and not jobs.events


def test_own_description(jobs, closing):
    fd = closing(jobs.create(ID, UNIT))
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    other = closing(jobs.create(ID + 1, UNIT))
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)
    os.lseek(fd, 4711, os.SEEK_SET)
    assert jobs.ask(GROW, pool=ID, bytes=UNIT, length=2 * UNIT).error == 0
    assert os.lseek(fd, 0, os.SEEK_CUR) == 4711 and other != fd


def test_grow(kind, jobs, closing):
    fd = closing(jobs.create(ID, 2 * UNIT))
    os.pwrite(fd, b'kept', UNIT)
    reply = jobs.ask(GROW, pool=ID, bytes=4 * UNIT, length=5 * UNIT)
    assert (reply.error, reply.bytes, reply.length) == (0, 4 * UNIT, 5 * UNIT)
    assert os.fstat(fd).st_size == 5 * UNIT and os.pread(fd, 4, UNIT) == b'kept'
    fallocate(fd, 0, 0, 4 * UNIT)
    # The limit alone, and nothing at all.
    reply = jobs.ask(GROW, pool=ID, bytes=5 * UNIT)
    assert (reply.error, reply.bytes, reply.length) == (0, 5 * UNIT, 5 * UNIT)
    reply = jobs.ask(GROW, pool=ID, bytes=5 * UNIT, length=UNIT)
    assert (reply.error, reply.bytes, reply.length) == (0, 5 * UNIT, 5 * UNIT)
    assert jobs.ask(GROW, pool=ID, bytes=4 * UNIT).error == -errno.EINVAL
    assert jobs.ask(GROW, pool=ID, bytes=6 * UNIT, length=UNIT).error == -errno.EINVAL
    assert jobs.ask(GROW, pool=ID + 1, bytes=UNIT).error == -errno.ENOENT
    assert jobs.pools()[0].bytes == 5 * UNIT


def test_grow_a_file_that_its_client_has_truncated(jobs, closing):
    fd = closing(jobs.create(ID, 2 * UNIT))
    for size in 0, 100 * UNIT:
        os.ftruncate(fd, size)
        reply = jobs.ask(GROW, pool=ID, bytes=2 * UNIT, length=3 * UNIT)
        assert (reply.error, reply.length) == (0, 3 * UNIT)
    assert os.fstat(fd).st_size == 100 * UNIT  # never shorter


def test_shrink(kind, jobs, closing):
    fd = closing(jobs.create(ID, 6 * UNIT))
    for unit in range(6):
        os.pwrite(fd, bytes([unit + 1]) * UNIT, unit * UNIT)
    reply = jobs.shrink(ID, 3 * UNIT, [(1, 1), (3, 2)])
    assert (reply.error, reply.bytes, reply.length, reply.used) == (0, 3 * UNIT, 6 * UNIT, 3 * UNIT)
    assert [os.pread(fd, 1, unit * UNIT)[0] for unit in range(6)] == [1, 0, 3, 0, 0, 6]
    assert os.fstat(fd).st_size == 6 * UNIT
    if kind == 'tmpfs':
        with pytest.raises(OSError):
            fallocate(fd, 0, UNIT, PAGE)
    # And back, where the holes are.
    assert jobs.ask(GROW, pool=ID, bytes=4 * UNIT).error == 0
    fallocate(fd, 0, UNIT, UNIT)
    assert jobs.usage(ID) == {ID: 4 * UNIT}


def test_shrink_of_a_client_that_uses_more(kind, jobs, closing):
    fd = closing(jobs.create(ID, 6 * UNIT))
    fallocate(fd, 0, 0, 6 * UNIT)
    reply = jobs.shrink(ID, 2 * UNIT, [(0, 1)])
    assert (reply.error, reply.bytes, reply.used) == (-errno.EBUSY, 6 * UNIT, 5 * UNIT)
    fallocate(fd, 0, 0, UNIT)  # the limit is what it was
    assert jobs.pools()[0].bytes == 6 * UNIT and jobs.usage(ID) == {ID: 6 * UNIT}


@pytest.mark.parametrize('ranges', [
    [(6, 1)], [(5, 2)], [(0, 0)], [(1, 1), (0, 1)], [(0, 2), (1, 1)], [(0xffffffff, 1)], [(1, 0xffffffff)],
    [(0xffffffff, 0xffffffff)], [(0, 7)], [(2, 1), (2, 1)]])
def test_shrink_by_bad_ranges(jobs, closing, ranges):
    fd = closing(jobs.create(ID, 6 * UNIT))
    fallocate(fd, 0, 0, 6 * UNIT)
    assert jobs.shrink(ID, UNIT, ranges).error == -errno.EINVAL
    assert jobs.usage(ID) == {ID: 6 * UNIT} and jobs.pools()[0].bytes == 6 * UNIT


@pytest.mark.parametrize('numbers', [
    dict(pool=0, bytes=UNIT), dict(bytes=0), dict(bytes=1), dict(bytes=UNIT + 1), dict(bytes=UNIT - PAGE),
    dict(bytes=(1 << 46) + UNIT), dict(bytes=1 << 63), dict(bytes=(1 << 64) - UNIT), dict(bytes=(1 << 64) - 1),
    dict(bytes=UNIT, length=UNIT + 1), dict(bytes=UNIT, length=(1 << 46) + UNIT),
    dict(bytes=UNIT, length=(1 << 64) - UNIT), dict(bytes=UNIT, store=1), dict(bytes=UNIT, store=63),
    dict(bytes=UNIT, store=64), dict(bytes=UNIT, store=0xffffffff)])
def test_bad_numbers(jobs, closing, numbers):
    for kind in CREATE, GROW, SHRINK:
        assert jobs.ask(kind, **{'pool': ID, **numbers}).error == -errno.EINVAL
    assert jobs.ask(RELEASE, pool=ID, bytes=2).error == -errno.EINVAL
    assert jobs.ask(RELEASE, pool=0).error == -errno.EINVAL
    assert jobs.pools() == []


def test_largest_numbers(kind, jobs, closing):
    reply = jobs.create(ID, 1 << 40, length=(1 << 43))
    fd = closing(reply)
    assert reply.error == 0 and os.fstat(fd).st_size == 1 << 43
    last = (1 << 43) // UNIT - 1
    assert jobs.shrink(ID, UNIT, [(last, 1)]).error == 0
    assert jobs.shrink(ID, UNIT, [(last, 2)]).error == -errno.EINVAL
    assert jobs.pools()[0].bytes == UNIT


def test_unknown_and_other_versions(jobs):
    assert jobs.ask(4711).error == -errno.EOPNOTSUPP
    assert jobs.ask(STORES, version=VERSION + 1).error == -errno.EPROTONOSUPPORT
    assert jobs.ask(4711, version=0, tail=b'whatever').error == -errno.EPROTONOSUPPORT
    assert jobs.ask(STORES).error == 0


REQUEST, VERSION = jobproto.REQUEST, jobproto.VERSION


@pytest.mark.parametrize('packet', [
    b'\0', b'x' * 15, REQUEST.pack(VERSION, STORES, 0, 0, 0, 0, 0, 0, 0), REQUEST.pack(VERSION, STORES, 1, 0, 0, 0, 0, 0, 0)[:-1],
    REQUEST.pack(VERSION, STORES, 1, 0, 0, 0, 0, 0, 1) + b'x', REQUEST.pack(VERSION, CREATE, 1, ID, UNIT, 0, 0, 0, 5) + b'four',
    REQUEST.pack(VERSION, CREATE, 1, ID, UNIT, 0, 0, 0, 513) + b'x' * 513,
    REQUEST.pack(VERSION, CREATE, 1, ID, UNIT, 0, 0, 0, 0xffffffff) + b'x',
    REQUEST.pack(VERSION, SHRINK, 1, ID, UNIT, 0, 0, 0, 0x20000000), REQUEST.pack(VERSION, SHRINK, 1, ID, UNIT, 0, 0, 0, 1) + b'1234',
    REQUEST.pack(VERSION, SHRINK, 1, ID, UNIT, 0, 0, 0, 129) + b'\0' * 129 * 8,
    REQUEST.pack(VERSION, USAGE, 1, 0, 0, 0, 0, 0, 257) + b'\0' * 257 * 8, b'x' * 40000])
def test_malformed_packets(jobs, provisioner, packet):
    with provisioner.connect() as bad:
        bad.socket.send(packet)
        assert bad.recv() is None
    assert jobs.pools() == []


def test_packet_with_descriptor(jobs, provisioner):
    with provisioner.connect() as bad:
        socket.send_fds(bad.socket, [REQUEST.pack(VERSION, STORES, 1, 0, 0, 0, 0, 0, 0)], [0])
        assert bad.recv() is None
    assert jobs.ask(STORES).error == 0


def test_random_packets(jobs, provisioner, closing):
    fd = closing(jobs.create(ID, 2 * UNIT))
    os.pwrite(fd, b'kept', 0)
    rng = random.Random(4711)
    numbers = [0, 1, UNIT - 1, UNIT, 3 * UNIT, 1 << 46, 1 << 63, (1 << 64) - 1, (1 << 64) - UNIT]
    for _ in range(300):
        with provisioner.connect() as bad:
            bad.socket.settimeout(0.2)
            for _ in range(4):
                tail = rng.randbytes(rng.choice([0, 0, 1, 8, 16, 512, 2048]))
                try:
                    bad.socket.send(REQUEST.pack(
                        rng.choice([1, 1, 1, 0, 7]), rng.randrange(0, 9), rng.choice([0, 1, 2]),
                        rng.choice(numbers), rng.choice(numbers), rng.choice(numbers), 0, rng.choice([0, 0, 1, 99]),
                        rng.choice([0, 1, len(tail), len(tail) // 8, 0xffffffff])) + tail)
                except OSError:
                    break
    assert os.pread(fd, 4, 0) == b'kept' and jobs.usage(ID)[ID] > 0


@needs_root
def test_peer_check(provisioner):
    os.chmod(provisioner.socket_path, 0o777)
    for path in [provisioner.directory, *provisioner.directory.parents][:-2]:
        os.chmod(path, os.stat(path).st_mode | 0o555)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        with provisioner.connect() as stranger:
            try:
                stranger.send(STORES)
                os.write(write, b'served' if stranger.recv() else b'refused')
            except OSError:
                os.write(write, b'refused')
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 100) == b'refused'
    os.close(read), os.close(write)


def test_pages_of_pools(jobs, closing):
    ids = sorted(random.Random(1).sample(range(1, 1 << 63), 70))
    for pool in random.Random(2).sample(ids, len(ids)):
        closing(jobs.create(pool, UNIT, record=struct.pack('=Q', pool)))
    found = jobs.pools()
    assert [p.pool for p in found] == ids
    assert all(p.record == struct.pack('=Q', p.pool) for p in found)


def test_records_of_any_size(jobs, closing):
    for n in 0, 1, 511, 512:
        closing(jobs.create(ID + n, UNIT, record=bytes(i % 256 for i in range(n))))
    assert [p.record for p in jobs.pools()] == [bytes(i % 256 for i in range(n)) for n in (0, 1, 511, 512)]


def test_many_jobs_at_once(kind, jobs, provisioner):
    n = 1000
    for i in range(n):
        jobs.send(CREATE, pool=i + 1, bytes=UNIT, tail=b'x')
        os.close(jobs.recv().fd)
    begin = time.monotonic()
    for i in range(n):
        jobs.send(RELEASE, pool=i + 1, bytes=FINAL)
    assert all(jobs.recv().error == 0 for _ in range(n))
    took = time.monotonic() - begin
    print(f'{n} releases in {took * 1000:.0f} ms')
    assert took < 5
    assert jobs.pools() == [] and list((provisioner.runtime / 'records').iterdir()) == []


def test_a_slow_reader(jobs):
    """It is not read from until it reads; nothing is lost."""
    jobs.socket.setblocking(False)
    n = 0
    while n < 5000:
        try:
            jobs.send(STORES)
            n += 1
        except BlockingIOError:
            break
    jobs.socket.settimeout(15)
    assert 50 < n < 5000
    assert all(jobs.recv().error == 0 for _ in range(n))
    assert jobs.ask(STORES, pool=n).error == 0


def test_jobs_of_one_pool_in_order(jobs, closing):
    closing(jobs.create(ID, UNIT))
    for i in range(2, 20):
        jobs.send(GROW, pool=ID, bytes=i * UNIT, length=i * UNIT)
    assert [jobs.recv().bytes for _ in range(2, 20)] == [i * UNIT for i in range(2, 20)]


# ---------------------------------------------------------------------------------------------------------- revoke


@pytest.mark.parametrize('mode', ['hold', 'write', 'fallocate', 'fault'])
@pytest.mark.parametrize('units', [4, 64])
def test_revoke_of_a_client_that_refills(kind, jobs, closing, mode, units):
    fd = closing(jobs.create(ID, units * UNIT))
    with Hostile(fd, mode, units * UNIT) as client:
        assert client.said == 'ready'
        time.sleep(0.2)
        begin = time.monotonic()
        if kind == 'tmpfs':
            assert jobs.release(ID, REVOKED).error == 0
            print(f'{mode} {units}: {(time.monotonic() - begin) * 1000:.1f} ms')
            time.sleep(0.3)
            st = os.fstatvfs(fd)
            print(f'{mode} {units}: {st.f_blocks} pages left')
            assert st.f_blocks * st.f_frsize < UNIT
            assert jobs.pools() == []
        else:
            assert jobs.ask(RELEASE, pool=ID, bytes=REVOKED).error == -errno.ETIMEDOUT
            assert jobs.pools()[0].flags == RELEASING
            assert jobs.ask(GROW, pool=ID, bytes=100 * UNIT).error == -errno.ESTALE
    if kind == 'dir':
        closing.close(fd)
        assert jobs.release(ID, FINAL).error == 0
        assert jobs.pools() == []


def test_revoked_pool_stays_empty(kind, jobs, closing):
    fd = closing(jobs.create(ID, 4 * UNIT))
    fallocate(fd, 0, 0, 4 * UNIT)
    if kind == 'tmpfs':
        assert jobs.release(ID, REVOKED).error == 0
        with pytest.raises(OSError):
            fallocate(fd, 0, 0, 2 * PAGE)
        return
    assert jobs.ask(RELEASE, pool=ID, bytes=REVOKED).error == -errno.ETIMEDOUT
    assert used(fd) == 0
    for _ in range(2):
        fallocate(fd, 0, 0, UNIT)
        wait_until(lambda: used(fd) == 0, timeout=2)
    # Also when the broker takes its owner for dead, as long as somebody has it open.
    assert jobs.ask(RELEASE, pool=ID, bytes=FINAL).error == -errno.ETIMEDOUT
    assert not jobs.events


# --------------------------------------------------------------------------------------------- workers that hang


@pytest.fixture
def lock(kind, jobs, closing):
    held = []

    def take(pool, **args):
        fd = closing(jobs.create(pool, 4 * UNIT, **args))
        client = Hostile(fd, 'lock')
        held.append(client)
        if client.said != 'ready':
            pytest.skip(client.said)
        return client
    yield take
    for client in held:
        client.__exit__()


def test_held_inode_lock(kind, jobs, lock, closing, provisioner):
    clients = [lock(ID + i, account=1) for i in range(3)]
    begin = time.monotonic()
    serials = [jobs.send(RELEASE, pool=ID + i, bytes=FINAL, account=1) for i in range(3)]
    queued = jobs.send(GROW, pool=ID, bytes=5 * UNIT)

    # Nobody else waits, and the one that hangs still says what it uses.
    for i in range(50):
        fast = time.monotonic()
        reply = jobs.create(ID + 1000 + i, UNIT, account=2)
        os.close(reply.fd)
        assert jobs.ask(GROW, pool=ID + 1000 + i, bytes=2 * UNIT, length=2 * UNIT, account=2).error == 0
        assert jobs.ask(RELEASE, pool=ID + 1000 + i, bytes=FINAL, account=2).error == 0
        assert time.monotonic() - fast < 1
    assert set(jobs.usage(ID, ID + 2)) == {ID, ID + 2}

    replies = [jobs.recv() for _ in range(4)]
    assert 4.5 < time.monotonic() - begin < 12
    assert {r.serial: r.error for r in replies} == {s: -errno.ETIMEDOUT for s in [*serials, queued]}
    assert 'hangs on pool' in provisioner.log_text()
    # Two are stuck: the account waits for itself; a pool that hangs answers at once.
    begin = time.monotonic()
    assert jobs.ask(RELEASE, pool=ID, bytes=FINAL, account=1).error == -errno.ETIMEDOUT
    assert time.monotonic() - begin < 1
    assert jobs.ask(RELEASE, pool=ID + 2, bytes=FINAL, account=1).error == -errno.ETIMEDOUT
    assert 4 < time.monotonic() - begin < 7

    # The late answer is consumed, and everything goes its way again.
    for client in clients:
        client.__exit__()
    if kind == 'tmpfs':
        wait_until(lambda: [p.pool for p in jobs.pools()] == [ID + 2])
        assert jobs.release(ID + 2, account=1).error == 0
        assert jobs.ask(RELEASE, pool=ID, bytes=FINAL, account=1).error == 0
    else:
        wait_until(lambda: 'has ended' in provisioner.log_text())
        assert jobs.ask(RELEASE, pool=ID, bytes=FINAL, account=1).error == -errno.ETIMEDOUT  # we have it open


def test_grow_that_hangs_changes_nothing(kind, jobs, lock, provisioner):
    client = lock(ID)
    assert jobs.ask(GROW, pool=ID, bytes=8 * UNIT, length=8 * UNIT).error == -errno.ETIMEDOUT
    assert jobs.pools()[0].bytes == 4 * UNIT
    client.__exit__()
    wait_until(lambda: 'has ended' in provisioner.log_text())
    found, = jobs.pools()
    assert (found.bytes, found.length) == (4 * UNIT, 4 * UNIT)
    assert jobs.ask(GROW, pool=ID, bytes=8 * UNIT, length=8 * UNIT).bytes == 8 * UNIT


def test_jobs_of_one_pool_have_an_end(jobs, lock):
    """32 wait behind the one that is carried out; the next is told so at once."""
    client = lock(ID)
    served = [jobs.send(GROW, pool=ID, bytes=8 * UNIT, length=8 * UNIT) for _ in range(1 + 32)]
    refused = jobs.send(GROW, pool=ID, bytes=8 * UNIT, length=8 * UNIT)
    reply = jobs.recv()
    assert (reply.serial, reply.error) == (refused, -errno.EBUSY)
    client.__exit__()
    assert [(r.serial, r.error) for r in (jobs.recv() for _ in served)] == [(serial, 0) for serial in served]


def test_shrink_that_hangs_leaves_the_limit(kind, jobs, lock, provisioner):
    client = lock(ID)
    assert jobs.shrink(ID, UNIT, [(1, 3)]).error == -errno.ETIMEDOUT
    client.__exit__()
    wait_until(lambda: 'has ended' in provisioner.log_text())
    assert jobs.pools()[0].bytes == 4 * UNIT
    assert jobs.shrink(ID, UNIT, [(1, 3)]).error == 0


def test_restart_beside_a_worker_that_hangs(kind, jobs, lock, provisioner):
    client = lock(ID)
    jobs.send(RELEASE, pool=ID, bytes=FINAL)
    wait_until(lambda: jobs.pools()[0].flags == RELEASING)
    begin = time.monotonic()
    provisioner.restart()
    assert time.monotonic() - begin < 2
    with provisioner.connect() as again:
        assert [(p.pool, p.flags) for p in again.pools()] == [(ID, RELEASING)]
        os.close(again.create(ID + 1, UNIT).fd)
        client.__exit__()
        if kind == 'tmpfs':
            assert again.release(ID).error == 0
        assert again.release(ID + 1).error == 0


# ---------------------------------------------------------------------------------------------------------- restart


def test_kill_and_restart(kind, jobs, provisioner, closing):
    fd = closing(jobs.create(ID, 4 * UNIT, length=8 * UNIT, record=b'one'))
    other = closing(jobs.create(ID + 1, 2 * UNIT, record=b'two'))
    os.pwrite(fd, b'kept', 3 * UNIT)
    assert jobs.ask(GROW, pool=ID + 1, bytes=3 * UNIT, length=3 * UNIT).error == 0
    os.ftruncate(other, 0)
    for _ in range(3):
        before = jobs.pools()
        provisioner.restart()
        jobs = provisioner.connect()
        assert jobs.pools() == before
        assert [(p.pool, p.bytes, p.length, p.record) for p in before] == [
            (ID, 4 * UNIT, 8 * UNIT, b'one'), (ID + 1, 3 * UNIT, 3 * UNIT, b'two')]
    assert os.pread(fd, 4, 3 * UNIT) == b'kept'
    # It is the same file, with the limit in force.
    assert jobs.shrink(ID, UNIT, [(3, 1)]).error == 0
    assert os.pread(fd, 4, 3 * UNIT) == bytes(4)
    if kind == 'tmpfs':
        with pytest.raises(OSError):
            fallocate(fd, 0, 0, 2 * UNIT)
        assert jobs.release(ID).error == 0 and jobs.release(ID + 1).error == 0
        assert os.fstat(fd).st_size == 0
    else:
        fallocate(fd, 0, 0, 2 * UNIT + PAGE)
        assert jobs.wait_event(EVENT_AUDIT).bytes == UNIT


def test_stop_and_start(kind, jobs, provisioner, closing):
    closing(jobs.create(ID, UNIT))
    begin = time.monotonic()
    assert provisioner.kill(signal.SIGTERM) == 0
    assert time.monotonic() - begin < 1
    provisioner.start()
    with provisioner.connect() as again:
        assert [p.pool for p in again.pools()] == [ID]


@needs_root
def test_without_the_namespace_pools_are_gone(tmp_path):
    with Provisioner(tmp_path, config_for('tmpfs', tmp_path), keeper=False) as p:
        with p.connect() as jobs:
            assert not jobs.stores()[0].flags & KEEPS
            fd = jobs.create(ID, UNIT).fd
        p.restart()
        with p.connect() as jobs:
            assert jobs.pools() == []
            assert list((p.runtime / 'records').iterdir()) == []
            os.close(fd)
            os.close(jobs.create(ID, UNIT).fd)


@needs_root
def test_nothing_is_visible_outside(tmp_path):
    with Provisioner(tmp_path, config_for('tmpfs', tmp_path)) as p, p.connect() as jobs:
        os.close(jobs.create(ID, UNIT).fd)
        assert list((p.state / 'mnt').iterdir()) == []
        assert str(tmp_path) not in open('/proc/self/mountinfo').read()
        inside = open(f'/proc/{p.process.pid}/mountinfo').read()
        line, = [line for line in inside.splitlines() if f'{ID:016x}' in line]
        assert f'{p.state}/mnt/one/{ID:016x} ' in line
        assert 'nosuid,nodev,noexec' in line and 'size=2048k' in line


def test_file_without_record(kind, jobs, provisioner, closing):
    fd = closing(jobs.create(ID, UNIT))
    os.pwrite(fd, b'x', 0)
    closing(jobs.create(ID + 1, UNIT))
    provisioner.kill()
    record, = (provisioner.runtime / 'records').glob(f'one.{ID:016x}')
    record.unlink()
    provisioner.start()
    with provisioner.connect() as again:
        assert [p.pool for p in again.pools()] == [ID + 1]
        wait_until(lambda: used(fd) == 0)
        if kind == 'tmpfs':  # the id is free when it is gone
            def created():
                reply = again.create(ID, UNIT)
                if reply.error == 0:
                    os.close(reply.fd)
                return reply.error == 0
            wait_until(created)


def test_record_without_file(kind, jobs, provisioner):
    os.close(jobs.create(ID, UNIT).fd)
    records = provisioner.runtime / 'records'
    record, = records.iterdir()
    provisioner.kill()
    (records / f'one.{ID + 1:016x}').write_bytes(record.read_bytes())
    (records / f'one.{ID + 2:016x}.releasing').write_bytes(b'')
    (records / 'something else').write_bytes(b'')
    provisioner.start()
    with provisioner.connect() as again:
        assert [p.pool for p in again.pools()] == [ID]
    assert sorted(p.name for p in records.iterdir()) == [f'one.{ID:016x}', 'something else']


def test_release_that_was_cut_short(kind, jobs, provisioner, closing):
    fd = closing(jobs.create(ID, 4 * UNIT, record=b'mine'))
    provisioner.kill()
    record, = (provisioner.runtime / 'records').iterdir()
    record.rename(f'{record}.releasing')
    provisioner.start()
    with provisioner.connect() as again:
        found, = again.pools()
        assert (found.pool, found.flags, found.record, found.bytes) == (ID, RELEASING, b'mine', 4 * UNIT)
        assert again.ask(GROW, pool=ID, bytes=8 * UNIT).error == -errno.ESTALE
        assert again.create(ID, UNIT).error == -errno.EEXIST
        if kind == 'tmpfs':
            assert again.release(ID).error == 0
            assert os.fstat(fd).st_size == 0


@pytest.mark.parametrize('damage', ['empty', 'cut', 'flipped', 'longer', 'magic', 'of another'])
def test_damaged_record(kind, jobs, provisioner, closing, damage):
    fd = closing(jobs.create(ID, 2 * UNIT))
    fallocate(fd, 0, 0, 2 * UNIT)
    closing(jobs.create(ID + 1, UNIT))
    provisioner.kill()
    record = provisioner.runtime / 'records' / f'one.{ID:016x}'
    data = record.read_bytes()
    record.write_bytes({
        'empty': b'', 'cut': data[:-1], 'flipped': data[:-1] + bytes([data[-1] ^ 1]), 'longer': data + b'x',
        'magic': b'X' + data[1:], 'of another': (record.parent / f'one.{ID + 1:016x}').read_bytes()}[damage])
    provisioner.start()
    assert 'damaged' in provisioner.log_text()
    with provisioner.connect() as again:
        found, good = again.pools()
        assert (found.pool, found.flags, found.record, found.bytes) == (ID, RELEASING, b'', 2 * UNIT)
        assert (good.pool, good.flags) == (ID + 1, 0)
        if kind == 'tmpfs':
            assert again.release(ID).error == 0
            assert [p.pool for p in again.pools()] == [ID + 1]


def test_record_of_a_newer_version(kind, jobs, provisioner, closing):
    fd = closing(jobs.create(ID, UNIT))
    os.pwrite(fd, b'kept', 0)
    records = provisioner.runtime / 'records'
    before = {p.name: p.read_bytes() for p in records.iterdir()}
    provisioner.kill()
    for name, data in before.items():
        (records / name).write_bytes(data[:8] + struct.pack('=I', 2) + data[12:])
    (records / f'one.{ID + 5:016x}').write_bytes(b'')
    provisioner.start(wait=False)
    assert provisioner.process.wait(10) != 0
    assert 'version' in provisioner.log_text()
    assert len(list(records.iterdir())) == 2 and os.pread(fd, 4, 0) == b'kept'
    for name, data in before.items():
        (records / name).write_bytes(data)
    provisioner.start()
    with provisioner.connect() as again:
        assert [p.pool for p in again.pools()] == [ID]


def test_broker_that_dies(kind, jobs, provisioner, closing):
    """Jobs that have not begun when the connection ends are never begun."""
    closing(jobs.create(ID, UNIT))
    provisioner.process.send_signal(signal.SIGSTOP)
    with provisioner.connect() as dying:
        for i in range(1, 10):
            dying.send(CREATE, pool=ID + i, bytes=UNIT)
            dying.send(GROW, pool=ID, bytes=(i + 1) * UNIT, length=(i + 1) * UNIT)
    provisioner.process.send_signal(signal.SIGCONT)
    with provisioner.connect() as again:
        found, = again.pools()
        assert (found.pool, found.bytes) == (ID, UNIT)
        time.sleep(0.1)
        assert again.pools() == [found]


def test_records_that_cannot_be_written(kind, jobs, provisioner, closing):
    closing(jobs.create(ID, 2 * UNIT))
    obstacle = provisioner.runtime / 'records/.new'
    obstacle.mkdir()
    assert jobs.create(ID + 1, UNIT).error == -errno.EISDIR
    assert jobs.ask(GROW, pool=ID, bytes=4 * UNIT, length=4 * UNIT).error == -errno.EISDIR
    if kind == 'dir':
        assert jobs.shrink(ID, UNIT, [(1, 1)]).error == -errno.EISDIR
    found, = jobs.pools()
    assert (found.pool, found.bytes, found.length) == (ID, 2 * UNIT, 2 * UNIT)
    obstacle.rmdir()
    closing(jobs.create(ID + 1, UNIT))
    assert jobs.ask(GROW, pool=ID, bytes=4 * UNIT, length=4 * UNIT).error == 0
    provisioner.restart()
    with provisioner.connect() as again:
        assert [(p.bytes, p.length) for p in again.pools()] == [(4 * UNIT, 4 * UNIT), (UNIT, UNIT)]


def test_killed_at_any_time(kind, jobs, provisioner):
    """What was answered is true after a restart, and nothing is left of what was not."""
    rng = random.Random(int(os.environ.get('PMBROKER_TEST_SEED', 815)))
    pools, next_id = {}, ID  # id: [bytes, length, what an unanswered job may have made of it or None]
    for _ in range(int(os.environ.get('PMBROKER_TEST_KILLS', 40))):
        jobs.close()
        jobs = provisioner.connect()
        found = {p.pool: p for p in jobs.pools()}
        for pool, p in found.items():
            known = pools.get(pool)
            assert known, 'never asked for'
            now, maybe = known
            between = now and maybe not in (None, 'gone') and (now[0], maybe[1])  # longer already, not yet larger
            assert p.flags == RELEASING or (p.bytes, p.length) in (now, maybe, between)
            assert p.flags != RELEASING or maybe == 'gone'
        for pool, (now, maybe) in pools.items():
            assert pool in found or now is None or maybe == 'gone', 'lost'
        names = {f'one.{p.pool:016x}' + ('.releasing' if p.flags else '') for p in found.values()}
        records = provisioner.runtime / 'records'
        wait_until(lambda: {p.name for p in records.iterdir()} - {'.new'} == names)
        # A worker of the one before may just be finishing a release.
        kept = {p.pool for p in found.values() if not p.flags}
        wait_until(lambda: kept <= files_of(kind, provisioner) <= set(found))
        pools = {pool: ((p.bytes, p.length), 'gone' if p.flags else None) for pool, p in found.items()}

        # Some jobs at once, and in the middle of them the end.
        asked = {}
        for pool in rng.sample(sorted(pools), min(len(pools), 6)):
            (size, length), maybe = pools[pool]
            if maybe == 'gone' or rng.random() < 0.4:
                asked[jobs.send(RELEASE, pool=pool, bytes=FINAL)] = pool, 'gone'
                pools[pool] = (size, length), 'gone'
            elif rng.random() < 0.6 or size == UNIT:
                more = size + UNIT, max(length, size + UNIT)
                asked[jobs.send(GROW, pool=pool, bytes=more[0], length=more[1])] = pool, more
                pools[pool] = (size, length), more
            else:
                less = size - UNIT, length
                asked[jobs.send(SHRINK, pool=pool, bytes=less[0], tail=struct.pack('=II', 0, 1))] = pool, less
                pools[pool] = (size, length), less
        for _ in range(6):
            next_id += 1
            size = rng.randrange(1, 4) * UNIT
            asked[jobs.send(CREATE, pool=next_id, bytes=size, tail=b'x' * rng.randrange(100))] = next_id, (size, size)
            pools[next_id] = None, (size, size)
        time.sleep(rng.random() * 0.003)
        provisioner.kill()
        while reply := jobs.recv():
            pool, made = asked[reply.serial]
            if made == 'gone' and reply.error == -errno.ETIMEDOUT:
                continue  # a worker of the provisioner before still holds the file: to be asked again
            assert reply.error == 0
            if reply.fd is not None:
                os.close(reply.fd)
            pools[pool] = (None, None) if made == 'gone' else (made, None)
        pools = {pool: state for pool, state in pools.items() if state != (None, None)}
        provisioner.start(wait=False)
    with provisioner.connect() as last:
        for p in last.pools():
            assert last.release(p.pool).error == 0
        assert files_of(kind, provisioner) == set()


def files_of(kind, provisioner):
    if kind == 'dir':
        return {int(p.name[:16], 16) for p in (provisioner.directory / 'pools').iterdir()}
    found = set()
    for line in open(f'/proc/{provisioner.process.pid}/mountinfo'):
        path = line.split()[4]
        if path.startswith(f'{provisioner.state}/mnt/one/'):
            found.add(int(path.rsplit('/', 1)[1], 16))
    return found


# ----------------------------------------------------------------------------------------------------- configuration


def test_reload(kind, jobs, provisioner, closing):
    fd = closing(jobs.create(ID, UNIT))
    directory = provisioner.directory
    provisioner.reload(config_for(kind, directory, size='512M') + f'[Store two]\nType=dir\nPath={directory}/two\nSize=64M\n')
    jobs.wait_event(EVENT_STORES)
    one, two = jobs.stores()
    assert (one.name, one.capacity, one.index) == ('one', 512 * MIB, 0)
    assert (two.name, two.capacity, two.flags) == ('two', 64 * MIB, AVAILABLE | KEEPS | AUDITED)
    os.close(jobs.create(ID, UNIT, store=two.index).fd)  # ids are of a store
    assert jobs.ask(GROW, pool=ID, bytes=2 * UNIT, length=2 * UNIT).error == 0

    # A store with pools neither goes nor moves.
    provisioner.reload(config_for(kind, directory))
    wait_until(lambda: 'of store two' in provisioner.log_text())
    assert [s.capacity for s in jobs.stores()] == [512 * MIB, 64 * MIB] and not jobs.events
    assert jobs.release(ID, store=two.index).error == 0
    provisioner.reload(config_for(kind, directory))
    jobs.wait_event(EVENT_STORES)
    assert [s.name for s in jobs.stores()] == ['one']
    assert jobs.usage(ID) == {ID: 0} and os.fstat(fd).st_size == 2 * UNIT


def test_percentages(kind, tmp_path):
    with Provisioner(tmp_path, config_for(kind, tmp_path, size='10%')) as p, p.connect() as jobs:
        store, = jobs.stores()
        if kind == 'tmpfs':
            total = os.sysconf('SC_PHYS_PAGES') * PAGE
        else:
            fs = os.statvfs(tmp_path)
            total = fs.f_bavail * fs.f_frsize
        assert abs(store.capacity - total / 10) < total / 100 and store.capacity % UNIT == 0


def test_store_that_is_not_available(tmp_path):
    bad = tmp_path / 'open'
    bad.mkdir()
    bad.chmod(0o777)
    with Provisioner(tmp_path, f'[Store bad]\nType=dir\nPath={bad}\nSize=1G\n'
                     f'[Store file]\nType=dir\nPath={tmp_path}/log\nSize=1G\n'
                     f'[Store good]\nType=dir\nPath={tmp_path}/good\nSize=1G\n') as p, p.connect() as jobs:
        stores = jobs.stores()
        assert [(s.name, s.flags & AVAILABLE) for s in stores] == [('bad', 0), ('file', 0), ('good', AVAILABLE)]
        assert 'writable by nobody else' in stores[0].reason and 'Not a directory' in stores[1].reason
        assert jobs.create(ID, UNIT, store=0).error == -errno.ENODEV
        assert jobs.pools(store=0) == []
        bad.chmod(0o700)
        p.reload(p.config.read_text())
        jobs.wait_event(EVENT_STORES)
        os.close(jobs.create(ID, UNIT, store=0).fd)


def test_directory_of_another_provisioner(tmp_path):
    for name in 'a', 'b':
        (tmp_path / name).mkdir()
    config = f'[Store one]\nType=dir\nPath={tmp_path}/pools\nSize=1G\n'
    with Provisioner(tmp_path / 'a', config) as a, a.connect() as jobs:
        fd = jobs.create(ID, UNIT).fd
        os.pwrite(fd, b'kept', 0)
        with Provisioner(tmp_path / 'b', config) as b, b.connect() as other:
            assert 'another provisioner' in other.stores()[0].reason
        assert os.pread(fd, 4, 0) == b'kept' and used(fd) > 0
        os.close(fd)


def test_directory_that_is_let_go_of_in_a_moment(tmp_path):
    """By a worker of a provisioner that was killed: it has a copy of the lock until it closes it."""
    pools = tmp_path / 'pools'
    pools.mkdir(mode=0o700)
    lock = os.open(pools, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    timer = threading.Timer(0.3, os.close, [lock])
    timer.start()
    with Provisioner(tmp_path, f'[Store one]\nType=dir\nPath={pools}\nSize=1G\n') as p, p.connect() as jobs:
        assert jobs.stores()[0].flags & AVAILABLE, jobs.stores()[0].reason
    timer.join()


def test_files_that_are_not_ours(tmp_path):
    pools = tmp_path / 'pools'
    pools.mkdir(mode=0o700)
    keep = ['notes.txt', f'{ID:016X}.pool', f'{ID:015x}.pool', f'{ID:016x}.pool.bak', f'{0:016x}.pool']
    for name in keep:
        (pools / name).write_text('mine')
    (pools / f'{ID + 1:016x}.pool').symlink_to(pools / 'notes.txt')
    (pools / f'{ID + 2:016x}.pool').mkdir()
    os.link(pools / 'notes.txt', pools / f'{ID + 3:016x}.pool')
    before = sorted(p.name for p in pools.iterdir())
    with Provisioner(tmp_path, config_for('dir', tmp_path)) as p, p.connect() as jobs:
        assert jobs.pools() == []
        assert jobs.create(ID + 1, UNIT).error == -errno.EEXIST
        time.sleep(0.3)
    assert sorted(p.name for p in pools.iterdir()) == before
    assert all((pools / name).read_text() == 'mine' for name in keep)


@needs_root
def test_without_privilege(tmp_path):
    for path in [tmp_path, *tmp_path.parents][:-2]:
        os.chmod(path, os.stat(path).st_mode | 0o555)
    os.chown(tmp_path, 65534, 65534)
    config = f'[Store ram]\nType=tmpfs\nSize=1G\n[Store one]\nType=dir\nPath={tmp_path}/pools\nSize=1G\n'
    with Provisioner(tmp_path, config, user=65534) as p, p.connect() as jobs:
        ram, one = jobs.stores()
        assert ram.flags == 0 and ram.reason == 'needs root (a mount namespace of its own)'
        assert one.flags & AVAILABLE
        reply = jobs.create(ID, 2 * UNIT, store=1)
        assert reply.error == 0 and os.fstat(reply.fd).st_uid == 65534
        assert jobs.ask(GROW, pool=ID, bytes=4 * UNIT, length=4 * UNIT, store=1).error == 0
        assert jobs.ask(RELEASE, pool=ID, bytes=FINAL, store=1).error == -errno.ETIMEDOUT
        os.close(reply.fd)
        assert jobs.release(ID, store=1).error == 0


@needs_root
def test_allocate_at_create(tmp_path):
    with Provisioner(tmp_path, config_for('tmpfs', tmp_path, extra='Allocate=create\n')) as p, p.connect() as jobs:
        reply = jobs.create(ID, 8 * UNIT, length=16 * UNIT)
        assert (reply.error, reply.used) == (0, 8 * UNIT)
        # The holes of a client's making are filled too.
        fallocate(reply.fd, PUNCH, 2 * UNIT, UNIT)
        more = jobs.ask(GROW, pool=ID, bytes=10 * UNIT)
        assert (more.error, more.used) == (0, 10 * UNIT)
        os.lseek(reply.fd, 0, os.SEEK_SET)
        assert jobs.release(ID).error == 0
        os.close(reply.fd)


@needs_root
def test_broker_that_dies_while_memory_is_allocated(tmp_path):
    with Provisioner(tmp_path, config_for('tmpfs', tmp_path, extra='Allocate=create\nHugePages=never\n')) as p:
        with p.connect() as dying:
            dying.send(CREATE, pool=ID, bytes=1 << 30)
            time.sleep(0.01)
        with p.connect() as jobs:
            assert jobs.pools() == []
            wait_until(lambda: f'{ID:016x}' not in open(f'/proc/{p.process.pid}/mountinfo').read())
            assert jobs.pools() == []


@needs_root
def test_latency(tmp_path):
    with Provisioner(tmp_path, config_for('tmpfs', tmp_path)) as p, p.connect() as jobs:
        fds, took = [], {'create': [], 'grow': [], 'grow longer': [], 'shrink': [], 'release': []}

        def timed(what, job):
            begin = time.monotonic()
            reply = job()
            took[what].append((time.monotonic() - begin) * 1e6)
            assert reply.error == 0
            return reply
        for i in range(1, 300):
            fds.append(timed('create', lambda: jobs.create(i, UNIT)).fd)
        for i in range(1, 300):
            timed('grow', lambda: jobs.ask(GROW, pool=i, bytes=UNIT))
            timed('grow longer', lambda: jobs.ask(GROW, pool=i, bytes=2 * UNIT, length=2 * UNIT))
            timed('shrink', lambda: jobs.shrink(i, UNIT, [(1, 1)]))
        for fd in fds:
            os.close(fd)
        for i in range(1, 300):
            timed('release', lambda: jobs.ask(RELEASE, pool=i, bytes=FINAL))
        for what, samples in took.items():
            samples.sort()
            print(f'{what}: median {samples[150]:.0f} us, p90 {samples[270]:.0f} us')
        assert took['create'][150] < 2000
