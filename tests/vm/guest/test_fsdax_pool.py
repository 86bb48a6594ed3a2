# SPDX-License-Identifier: BSD-3-Clause
"""Pools on NVDIMMs, by the job protocol: what a hostile client can do to its own, and what it cannot to others."""

import errno
import itertools
import os
import random
import signal
import time

import pytest

from daemon import wait_for
from fsdax_store import GIB, SECONDS, Store, assert_at_rest, release, wipe
from jobproto import CREATE, EVENT_AUDIT, FINAL, GROW, MIB, RELEASE, RELEASING, REVOKED, UNIT
from pmbproto import tee
from system import run


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
        wait_for(lambda: os.listdir(root) == [], SECONDS, f'{root} is empty', every=0.1)
    assert 'assert' not in s.log_text().lower()


@pytest.fixture
def jobs(store):
    with store.connect() as j:
        yield j


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

# What a client does once it has pinned a page; the seal has it that punching and truncating fail.
WAYS = ('unmap', 'close', 'truncate 0', 'fallocate 3 0 2097152')
ORDERS = [order for n in range(len(WAYS) + 1) for order in itertools.permutations(WAYS, n) if n in (0, 1, len(WAYS))]


class Attack:
    """A pool of four units, a page of it pinned in a pipe, and then what the client does in this order."""

    def __init__(self, store, jobs, account, order, end):
        self.id, self.account, self.what = store.id(), account, f'{", ".join(order)}: {end}'
        self.client = client = store.client(jobs.create(self.id, 4 * UNIT, account=account).fd)
        assert client('map', 4 * UNIT) == '0'
        client('text', 0, 4 * UNIT, 'AAAAAAAA')
        assert client('pin', UNIT) == '4096'
        # The same pipe, which somebody else has when the client is gone: numbers after the pool's.
        fds = f'/proc/{client.process.pid}/fd'
        self.pipe = next(os.open(f'{fds}/{n}', os.O_RDONLY | os.O_NONBLOCK) for n in sorted(os.listdir(fds), key=int)
                         if int(n) > 3 and os.readlink(f'{fds}/{n}').startswith('pipe:'))
        for line in order:
            client(line)
        if end == 'kill':
            client.end()
        elif end == 'exit':
            client.say('exit')
            client.process.wait()
        self.how = REVOKED if end == 'stay' else FINAL

    def sees(self):
        """The page that is pinned, which stays where it is."""
        copy = os.pipe()
        try:
            assert tee(self.pipe, copy[1], 4096) == 4096
            return os.read(copy[0], 4096)
        finally:
            os.close(copy[0])
            os.close(copy[1])

    def end(self):
        """Nobody has the page any more."""
        os.close(self.pipe)
        self.client.end()


def serve_others(store, jobs, attacks):
    """Fill what is free with somebody else's bytes; nobody who holds a page sees any of them."""
    others = []
    for _ in range(3):
        others.append(store.id())
        neighbour = store.client(jobs.create(others[-1], 64 * MIB, account=8).fd)
        neighbour('map', 64 * MIB)
        neighbour('text', 0, 64 * MIB, 'VICTIM!!')
    for attack in attacks:
        assert attack.sees() == b'A' * 4096, attack.what
    for n in others:
        assert release(jobs, n, account=8, how=REVOKED) == 0


def release_all(jobs, attacks):
    """Ask for all at once: what each is answered."""
    serials = {jobs.send(RELEASE, pool=a.id, bytes=a.how, account=a.account): a for a in attacks}
    answers = {}
    while len(answers) < len(attacks):
        reply = jobs.recv()
        answers[serials[reply.serial]] = reply
    return answers


@pytest.mark.parametrize('end', ['stay', 'exit', 'kill'])
def test_pinned_pages(store, jobs, end):
    """
    In whatever order a client lets go of its pool: the release waits, the capacity stays charged, others are served, and
    the pages are nobody else's, also when the provisioner is killed at it, or ends, and is started again.
    """
    attacks = [Attack(store, jobs, 100 + i, order, end) for i, order in enumerate(ORDERS)]
    free = store.free()
    for attack, reply in release_all(jobs, attacks).items():
        assert reply.error == -errno.ETIMEDOUT, attack.what
        assert end != 'stay' or reply.used >= 4 * UNIT
    for sig in (None, signal.SIGKILL, signal.SIGTERM):
        for attack in attacks:  # it is being tried all the time
            jobs.send(RELEASE, pool=attack.id, bytes=attack.how, account=attack.account)
        if sig is not None:
            time.sleep(0.3)
            store.restart(sig)
            jobs.close()
            jobs = store.connect()
            wait_for(lambda: not store_is_closed(store, jobs), SECONDS, 'what was found is judged', every=0.1)
        with store.connect() as other:
            serve_others(store, other, attacks)
            pools = {p.pool: p for p in other.pools()}
            assert set(pools) == {a.id for a in attacks}
            assert all(p.flags == RELEASING and p.bytes == 4 * UNIT and p.used >= 4 * UNIT for p in pools.values())
            assert store.free() <= free
    for attack in attacks:
        attack.end()
    with store.connect() as again:
        for attack in attacks:
            assert release(again, attack.id, account=attack.account, how=FINAL) == 0
        assert again.pools() == []
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
        other = store.id()
        os.close(jobs.create(other, 64 * MIB, account=8).fd)
        assert jobs.ask(GROW, pool=other, bytes=66 * MIB, length=66 * MIB, account=8).error == 0
        assert release(jobs, other, account=8) == 0
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
    wait_for(lambda: os.listdir(root) == [], SECONDS, 'the files are gone', every=0.1)


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


def touched(store, jobs, size=64 * MIB):
    """The faults of a new pool that is touched page by page."""
    id = store.id()
    client = store.client(jobs.create(id, size).fd)
    client('map', size)
    faults = client('touch', 0, size)
    pieces = len(spans(store.figures(id).units))
    client.end()
    assert release(jobs, id) == 0
    return faults, pieces


def test_faults_after_many_pools(store, jobs, figure):
    assert touched(store, jobs)[0] == '32'
    began = time.monotonic()
    live = age(store, jobs, random.Random(1), 600)
    seconds = time.monotonic() - began
    for id in list(live):
        if sum(live.values()) < 400 * MIB:
            break
        assert release(jobs, id) == 0
        del live[id]
    faults, pieces = touched(store, jobs)
    figure(f'faults of 64 MiB: 32 when new, {faults} after 600 pools ({seconds:.1f} s), beside {len(live)} others')
    assert faults == '32'


def test_resizes_of_a_client_that_looks_on(store, jobs, figure):
    """In an aged file system: never a SIGBUS, never a wrong byte, and the figures as promised after each step."""
    rng = random.Random(2)
    most = 350  # units
    live = age(store, jobs, rng, 600, live_max=600 * MIB, sizes=(1, 8))
    # Holes everywhere, and room for one large pool.
    for id in rng.sample(sorted(live), len(live)):
        if sum(live.values()) <= 64 * MIB:
            break
        assert release(jobs, id) == 0
        del live[id]
    id, size, length, worst = store.id(), most, most, 0
    client = store.client(jobs.create(id, size * UNIT).fd)
    client('map', (most + 1) * UNIT)
    units = set(range(size))
    assert client('fill', 0, size) == '0'
    began = time.monotonic()
    for step in range(200):
        many = most // 2 if step % 20 == 0 else 12
        if len(units) == most or rng.random() < 0.5 and len(units) > 2:
            some = set(rng.sample(sorted(units), rng.randint(1, min(many, len(units) - 1))))
            for span in spans(some):
                client('drop', *span)
            units -= some
            reply = jobs.shrink(id, len(units) * UNIT, spans(some))
        else:
            want = min(len(units) + rng.randint(1, many), most)
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
    figure(f'200 resizes of a pool of up to {most * UNIT // MIB} MiB in {time.monotonic() - began:.1f} s, its client '
           f'checked all of it {rounds} times; up to {worst // UNIT} clusters for its extents')
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
        wait_for(lambda: 'unsealed' in next(s.reason for s in again.stores() if s.name == 'clean'), SECONDS, 'it is found',
                 every=0.1)
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


def secret_pool(store, jobs, name, units, text):
    """A pool that is full of it."""
    id = store.id()
    client = store.client(jobs.create(id, units * UNIT, store=store.index(name)).fd)
    assert client('map', units * UNIT) == '0'
    assert client('text', 0, units * UNIT, text) == '0'
    return id, client


def count_secret(store, name, text):
    device = store.device(name)
    run('blockdev', '--flushbufs', device)
    return count_on_device(device, text.encode())


def test_scrub(store, jobs, figure):
    """What was released is not on the medium any more, nor is what was given back; not after a crash, either."""
    index, text, words = store.index('clean'), 'SECRETxx', UNIT // 8
    id, client = secret_pool(store, jobs, 'clean', 16, text)
    assert count_secret(store, 'clean', text) == 16 * words
    assert jobs.shrink(id, 10 * UNIT, [(2, 4), (8, 2)], store=index).error == 0
    assert count_secret(store, 'clean', text) == 10 * words
    assert release(jobs, id, store=index) == 0
    assert count_secret(store, 'clean', text) == 0
    client.end()

    # The client dies, and the provisioner does while it takes the pool back.
    id, client = secret_pool(store, jobs, 'clean', 40, text)
    client.end()
    jobs.send(RELEASE, pool=id, bytes=FINAL, store=index)
    store.restart()
    with store.connect() as again:
        assert release(again, id, store=index) == 0
    hits = count_secret(store, 'clean', text)
    figure(f'Scrub=release: {hits} words of a released pool on the medium')
    assert hits == 0


def test_never_scrubbed(store, jobs):
    """With Scrub=never it stays on the medium, but nobody gets to see it: each byte of later pools is 0."""
    text = 'SECRETyy'
    id, client = secret_pool(store, jobs, 'one', 32, text)
    client.end()
    assert release(jobs, id) == 0
    assert count_secret(store, 'one', text) > 0
    later = []
    while (free := store.free()) > 24 * MIB:  # all that there is
        later.append(id := store.id())
        size = min(200 * MIB, (free - 16 * MIB) // UNIT * UNIT)
        client = store.client(jobs.create(id, size).fd)
        client('map', size)
        assert client('nonzero', 0, size) == '0'
        # Nor in between, while pages are written for the first time, or when they come back.
        assert client('touch', 0, size).isdigit()
        assert client('nonzero', 0, size) == str(size // 4096)
        assert jobs.shrink(id, size - UNIT, [(1, 1)]).error == 0
        assert jobs.ask(GROW, pool=id, bytes=size, length=size).error == 0
        assert client('nonzero', UNIT, UNIT) == '0'
    assert len(later) >= 4
    for client in store.clients:
        client.end()
    for id in later:
        assert release(jobs, id) == 0


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
