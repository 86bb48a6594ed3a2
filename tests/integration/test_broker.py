# SPDX-License-Identifier: BSD-3-Clause
"""The broker alone, before a provisioner that does what the test says: what no real one does when it is asked to."""

import struct
import time

import pytest

from daemon import needs_root, wait_for
from fakeprovisioner import FakeProvisioner, LoneBroker
from jobproto import APPLY, AVAILABLE, GROW, POOLS, RELEASE, SHRINK, STORES, UNIT, USAGE
from pmbproto import Client, Process, Refused

pytestmark = needs_root
EIO = -5


@pytest.fixture
def lone():
    broker = LoneBroker()
    yield broker
    broker.close()


@pytest.fixture
def provisioner(lone):
    return lone.provisioner


@pytest.fixture
def user(lone):
    client = Client(lone.socket)
    wait_for(lambda: client.status().provisioner)
    return client


def books(user):
    rows, stores, status = user.pools(), user.stores(), user.status()
    return len(rows) == status.pools == sum(s.pools for s in stores.values()) and \
        sum(r.size for r in rows) == status.bytes == sum(s.charged for s in stores.values())


def test_a_list_of_pools_that_fails_is_asked_for_again(lone, provisioner, user):
    """Nobody is served from half a list, and nobody loses a pool by it."""
    pool = user.create(2 * UNIT).pool
    failures = iter([(EIO, 0, b'')] * 3)
    provisioner.answers[POOLS] = lambda q: next(failures, None) or provisioner.carry_out(q)
    provisioner.hang_up()
    with pytest.raises(Refused, match='RETRY'):
        while True:
            user.create(UNIT)
    wait_for(lambda: user.status().provisioner)
    assert provisioner.asked.count(POOLS) >= 5
    assert user.pool(pool).size == 2 * UNIT and user.pool(pool).state == 2
    assert books(user) and lone.process.poll() is None


def test_a_store_that_is_named_twice_is_not_believed(lone, provisioner, user):
    pool = user.create(UNIT).pool
    twice = [FakeProvisioner.store('main'), FakeProvisioner.store('main', 1)]
    provisioner.stores, right = twice, provisioner.stores
    before = provisioner.asked.count(STORES)
    provisioner.stores_changed()
    wait_for(lambda: provisioner.asked.count(STORES) > before + 1)  # asks again, rather than take one of the two
    assert user.pool(pool).size == UNIT and books(user) and lone.process.poll() is None
    provisioner.stores = right
    assert user.create(UNIT).store == 'main'


@pytest.mark.parametrize('name', ['', 'x' * 33])
def test_a_store_without_a_good_name_is_not_believed(lone, provisioner, user, name):
    provisioner.stores = [FakeProvisioner.store('main'), FakeProvisioner.store(name, 1)]
    before = provisioner.asked.count(STORES)
    provisioner.stores_changed()
    wait_for(lambda: provisioner.asked.count(STORES) > before)
    time.sleep(0.05)
    assert user.create(UNIT).store == 'main'
    assert lone.process.poll() is None


@pytest.mark.parametrize('n', [32, 64])
def test_all_stores_fit_into_one_answer(lone, provisioner, user, n):
    """As many as there can be, with figures as large as they get, and each with much to say: that is cut if need be."""
    reason = ('Nothing new is given out. ' * 10)[:159]
    provisioner.answers[USAGE] = lambda q: (0, 0, b'', 2 ** 64 - 1)
    provisioner.stores = [FakeProvisioner.store(f'store-{i:026}', i, flags=0x7f & ~4, capacity=2 ** 46, reason=reason, kind=3,
                                                page_size=2 ** 31, node=2 ** 31 - 1) for i in range(n)]
    provisioner.stores_changed()
    wait_for(lambda: len(user.stores()) == n and user.status().stores_available == n)
    for i in range(n):
        user.create(UNIT, store=f'store-{i:026}')
        user.ask('drain_store', store=f'store-{i:026}')
    rows = user.stores()
    assert len(rows) == n and lone.process.poll() is None
    told = reason if n == 32 else reason[:60] + '...'
    assert {(r.capacity, r.surplus, r.drained, r.created, r.reason) for r in rows.values()} == \
        {(2 ** 46, 2 ** 64 - 1, True, 1, told)}


@pytest.mark.parametrize('done', [False, True], ids=['undone', 'done'])
@pytest.mark.parametrize('kind', [GROW, SHRINK, RELEASE], ids=['grow', 'shrink', 'release'])
def test_a_store_that_goes_and_comes_back_under_a_running_job(lone, provisioner, user, kind, done):
    """The job's own answer counts, whatever the list of pools says that was made meanwhile."""
    pool = user.create(4 * UNIT, max=8 * UNIT).pool
    provisioner.answers[kind] = lambda q: None
    if kind == GROW:
        serial = user.send('resize_pool', pool=pool, size=6 * UNIT)
    elif kind == SHRINK:
        serial = user.send('give_back', pool=pool, units=[(0, 1)])
    else:
        serial = user.send('destroy_pool', pool=pool)
    wait_for(lambda: provisioner.waiting)

    present = provisioner.stores
    provisioner.stores = [FakeProvisioner.store('main', flags=0, reason='gone for a while')]
    provisioner.stores_changed()
    wait_for(lambda: not user.stores()['main'].available)
    if done:  # carried out, not yet told
        for q in provisioner.waiting:
            provisioner.carry_out(q)
    provisioner.stores = present
    provisioner.stores_changed()
    wait_for(lambda: user.stores()['main'].available)

    del provisioner.answers[kind]
    provisioner.answer_waiting()
    user.answer(serial)
    if kind == RELEASE:
        wait_for(lambda: user.status().pools == 0)
    else:
        assert user.pool(pool).size == {GROW: 6, SHRINK: 3}[kind] * UNIT
    assert books(user) and lone.process.poll() is None


def test_a_record_of_a_newer_version_ends_the_start_and_touches_nothing(lone, provisioner, user):
    pool = user.create(2 * UNIT).pool
    record = bytearray(provisioner.pools[pool][3])
    record[4] += 1
    provisioner.pools[pool][3] = bytes(record)
    lone.process.kill()
    lone.process.wait()
    provisioner.asked.clear()
    lone.start()
    assert lone.process.wait(5) == 1
    assert 'was recorded by a newer version of pmbroker' in lone.log()
    assert set(provisioner.asked) == {STORES, POOLS} and list(provisioner.pools) == [pool]


def test_nonsense_for_an_answer_only_costs_the_connection(lone, provisioner, user):
    pool = user.create(2 * UNIT).pool
    for answer in ((0, 7, b''), (0, 1, b'short'), (0, 0, b'too long' * 100)):
        provisioner.answers[POOLS] = lambda q, answer=answer: provisioner.answers.pop(POOLS) and answer
        provisioner.hang_up()
        wait_for(lambda: POOLS not in provisioner.answers)
        wait_for(lambda: user.status().provisioner)
        assert user.pool(pool).size == 2 * UNIT and books(user)
    assert lone.process.poll() is None


@pytest.mark.parametrize('done', [False, True], ids=['undone', 'done'])
@pytest.mark.parametrize('by', ['owner', 'administrator'])
def test_a_grow_that_was_lost(lone, provisioner, user, by, done):
    """Who has asked asks again. An owner who has not is told, if it was done."""
    other = Process()
    owner = other.connect(lone.socket)
    pool = owner.create(2 * UNIT, max=8 * UNIT).pool
    provisioner.answers[GROW] = lambda q: None
    asker = user if by == 'administrator' else owner
    serial = asker.send('resize_pool', pool=pool, size=4 * UNIT)
    wait_for(lambda: provisioner.waiting)
    if done:
        provisioner.carry_out(provisioner.waiting[0])
    provisioner.waiting.clear()
    provisioner.hang_up()
    with pytest.raises(Refused, match='RETRY'):
        asker.answer(serial)
    wait_for(lambda: user.status().provisioner)
    assert user.pool(pool).size == (4 if done else 2) * UNIT and books(user)
    told = owner.event('resized', 0.2)
    assert (told is not None) == (done and by == 'administrator')
    if told:
        assert (told.pool, told.size, told.length) == (pool, 4 * UNIT, 4 * UNIT)
    del provisioner.answers[GROW]
    assert asker.resize(pool, 4 * UNIT).size == 4 * UNIT
    assert (owner.event('resized', 0.2) is not None) == (not done and by == 'administrator')
    other.end()


def test_a_shrink_ends_in_time_while_the_provisioner_is_away():
    lone = LoneBroker('[Broker]\nShrinkTimeoutSec=1s\nReconnectSec=30s\n')
    try:
        user = Client(lone.socket)
        wait_for(lambda: user.status().provisioner)
        other = Process()
        owner = other.connect(lone.socket)
        pool = owner.create(4 * UNIT).pool
        begin = time.monotonic()
        serial = user.send('resize_pool', pool=pool, size=UNIT)
        assert owner.event('reclaim').target == UNIT
        lone.provisioner.close()
        lone.provisioner.hang_up()
        wait_for(lambda: not user.status().provisioner)
        answer = user.answer(serial)
        assert (answer.size, answer.target) == (4 * UNIT, UNIT)
        assert 1 <= time.monotonic() - begin < 5
        other.end()
    finally:
        lone.close()


@pytest.mark.parametrize('loss', [False, True], ids=['', 'lost'])
def test_what_was_provisioned_is_available_when_that_is_answered(lone, provisioner, user, loss):
    """Also when the provisioner says so to the broker only later. One that is lost right after has done it nevertheless."""
    provisioner.stores = [FakeProvisioner.store('fast', kind=3, flags=0, reason='not made yet')]
    provisioner.stores_changed()
    wait_for(lambda: 'fast' in user.stores())

    def apply(q):
        provisioner.stores = [FakeProvisioner.store('fast', kind=3)]
        if loss:
            provisioner.answers[STORES] = lambda q: provisioner.hang_up()
        return 0, 1, struct.pack('=II400s', 6, 3, b'mounted')

    provisioner.answers[APPLY] = apply
    for _ in range(3):
        answer = user.ask('provision', store='fast', apply=True)
        assert [(s.kind, s.state, s.text) for s in answer.steps] == [(6, 3, 'mounted')]
        if loss:
            break
        assert user.stores()['fast'].available
        provisioner.stores = [FakeProvisioner.store('fast', kind=3, flags=0, reason='not made yet')]
        provisioner.stores_changed()
        wait_for(lambda: not user.stores()['fast'].available)
    assert lone.process.poll() is None


@pytest.mark.parametrize('error', [None, EIO], ids=['lost', 'failed'])
@pytest.mark.parametrize('kind', ['destroy', 'revoke'])
def test_what_may_come_back_is_not_told_to_be_gone(lone, provisioner, user, kind, error):
    """As long as no provisioner has noted down that a pool is to be released, a broker that comes next finds it there."""
    pool = user.create(2 * UNIT).pool

    def release(q):
        if error:
            return error, 0, b''
        provisioner.hang_up()

    provisioner.answers[RELEASE] = release
    with pytest.raises(Refused, match='RETRY'):
        getattr(user, kind)(pool)
    del provisioner.answers[RELEASE]
    lone.process.kill()
    lone.process.wait()
    lone.start()
    user = Client(lone.socket)
    wait_for(lambda: user.status().provisioner)
    assert user.pool(pool).size == 2 * UNIT
    assert not getattr(user, kind)(pool).releasing
    assert user.status().pools == 0 and books(user)


def test_damage_is_told_to_whom_it_concerns(lone, provisioner, user):
    """Once, however often the provisioner tells: the owner, who watches, and who asks."""
    owner, other = Client(lone.socket), Process()
    bystander = other.connect(lone.socket)
    pool, whole = owner.create(2 * UNIT).pool, bystander.create(UNIT).pool
    user.ask('watch')
    for _ in range(3):
        provisioner.tell_damage(12288)
        provisioner.tell_damage(8192, 4096, pool)
        provisioner.tell_damage(4096, 0, pool + 1)  # of which nobody knows
        provisioner.tell_damage(4096, 0, 0, store=7)
    told = owner.event('damaged')
    assert (told.pool, told.bytes, told.offset) == (pool, 8192, 4096)
    happened = [user.event('happened') for _ in range(2)]
    assert [(h.kind, h.store, h.pool) for h in happened] == [(16, 'main', 0), (15, 'main', pool)]
    assert '12288 bytes' in happened[0].text and '8192 bytes, the first at 4096' in happened[1].text
    assert user.stores()['main'].bad_bytes == 12288
    assert user.pool(pool).bad_bytes == 8192 and user.pool(whole).bad_bytes == 0
    assert not owner.event('damaged', 0.1) and not user.event('happened', 0)
    assert not bystander.event('damaged', 0)
    provisioner.stores_changed()  # which does not make it forgotten
    provisioner.tell_damage(0, 0, pool)
    assert owner.event('damaged').bytes == 0
    assert user.stores()['main'].bad_bytes == 12288
    other.end()
