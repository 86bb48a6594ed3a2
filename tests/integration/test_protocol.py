# SPDX-License-Identifier: BSD-3-Clause
"""Every rule that pmbroker.proto states about packets and sessions. One daemon serves all these tests and must be none
the worse for any of them."""

import contextlib
import os
import random
import select
import socket
import time

import pytest

from daemon import ALICE, IS_SANITIZED, broker, needs_root, store, tenant, wait_for
from pmbproto import BODIES, MIB, PACKET_MAX, Client, Closed, Refused, field, packet, pb

NOT_HELLO = sorted(set(BODIES) - {'hello'})


@pytest.fixture(scope='module')
def shared(start_shared):
    return start_shared(
        broker(HelloTimeoutSec='1s', UnreadTimeoutSec='1s', RequestsPerSecond=100000, RequestsBurst=100000),
        store('main', 'dir', '1G'),
        tenant('default', Bytes='infinity', Pools='infinity'))


@pytest.fixture(scope='module')
def idle_fds(shared):
    return shared.idle_fds()


@pytest.fixture
def daemon(shared, idle_fds):
    """The shared daemon; what a test leaves behind is cleared away, and the broker must be what it was before."""
    with shared.unharmed(idle_fds):
        yield shared
        shared.dismiss()


@pytest.fixture
def raw(daemon):
    """raw() is a session of ours that has said Hello; raw(hello=False) one that has not."""
    clients = []

    def connect(**kwargs):
        clients.append(Client(daemon.socket, **kwargs))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def ends_malformed(client):
    """The daemon says MALFORMED and closes."""
    packets = client.rest()
    assert [p.error.code for p in packets] == [pb.MALFORMED]
    assert packets[0].error.errno_value == 74  # EBADMSG


def lives(client):
    """The session goes on."""
    assert client.status().pid > 0


# ---------------------------------------------------------------------------------------------------------- Hello

def test_hello_says_who_speaks(raw):
    reply = raw().hello()
    assert (reply.major, reply.admin) == (1, True)
    assert reply.version


@needs_root
def test_hello_tells_strangers_that_they_are_no_administrators(daemon):
    assert not daemon.user(ALICE).hello().admin


def test_requests_may_follow_hello_without_waiting(raw):
    client = raw(hello=False)
    serials = [client.send('hello', major=1), client.send('get_status'), client.send('list_pools')]
    assert client.answer(serials[0]).major == 1
    assert client.answer(serials[1]).pid > 0
    assert len(client.answer(serials[2]).rows) == 0


def test_newer_minor_and_unknown_features_are_welcome(raw):
    client = raw(hello=False)
    assert client.ask('hello', major=1, minor=4294967295, features=2 ** 64 - 1).major == 1
    lives(client)


@pytest.mark.parametrize('body', NOT_HELLO)
def test_request_before_hello_ends_the_session(raw, body):
    client = raw(hello=False)
    with pytest.raises(Refused, match='HELLO_REQUIRED'):
        client.ask(body)
    assert client.rest() == []


def test_second_hello_ends_the_session(raw):
    client = raw()
    with pytest.raises(Refused, match='HELLO_REQUIRED'):
        client.ask('hello', major=1)
    assert client.rest() == []


@pytest.mark.parametrize('major', [0, 2, 4294967295])
def test_other_major_is_told_the_range(raw, refused, major):
    client = raw(hello=False)
    with refused('VERSION', asked=major, used=1, limit=1, errno=93):
        client.ask('hello', major=major)
    assert client.rest() == []


def test_nothing_is_served_after_a_refused_hello(raw):
    client = raw(hello=False)
    client.send_raw(packet('hello', 1, major=2))
    with contextlib.suppress(BrokenPipeError):
        client.send_raw(packet('get_status', 2))
    assert [p.WhichOneof('body') for p in client.rest()] == ['error']


def test_session_without_hello_is_closed_in_time(raw):
    silent, busy = raw(hello=False), raw()
    begin = time.monotonic()
    assert silent.rest() == []
    assert 0.9 < time.monotonic() - begin < 1.6
    lives(busy)


# -------------------------------------------------------------------------------------------------------- unknown

@pytest.mark.parametrize('extra', [
    b'',
    field(99, b''),
    field(99, b'\xff' * 100),
    field(98, 7),
    b'\x99\x06' + bytes(8),  # 99, fixed64
    b'\x9d\x06' + bytes(4),  # 99, fixed32
    field(536870911, 1),     # the highest field number
], ids=['none', 'empty', 'bytes', 'varint', 'fixed64', 'fixed32', 'highest'])
def test_unknown_request_is_unsupported(raw, extra):
    client = raw()
    client.asked.add(7)
    client.send_raw(field(1, 7) + extra)
    with pytest.raises(Refused, match='UNSUPPORTED'):
        client.answer(7)
    lives(client)


def test_unknown_fields_are_ignored(raw):
    client = raw()
    client.asked.add(7)
    client.send_raw(field(99, b'future') + packet('get_status', 7) + field(98, 1))
    assert client.answer(7).pid > 0
    client.asked.add(8)
    client.send_raw(field(1, 8) + field(20, field(5, b'future') + field(6, 9)))
    assert client.answer(8).pid > 0


def test_last_of_two_requests_in_a_packet_counts(raw):
    client = raw()
    client.asked.add(7)
    client.send_raw(packet('list_pools', 7) + packet('get_status', 7))
    assert client.answer(7).pid > 0


# ------------------------------------------------------------------------------------------------------ malformed

@pytest.mark.parametrize('data', [
    packet('get_status', 0),
    field(1, 0) + field(20, b''),
    field(20, b''),
    packet('get_status', 7)[:-1],
    b'\x00',
    b'\xff' * 12,
    b'\x0b\x0c',           # a group
    field(1, 7) + b'\x00',
    field(1, 7) + b'\x81\x00' + bytes(8),  # the same, in two bytes
    field(1, 7) + b'\xa6\x01',  # wire type 6
    field(1, 7) + b'\xa2\x01\x7f',
    field(1, 7) + b'\xa2\x01\xff\xff\xff\xff\x0f',
    field(1, b'7') + field(20, b''),
    b'\x08' + b'\x80' * 10 + b'\x01' + field(20, b''),
], ids=['serial0', 'serial0-explicit', 'no-serial', 'cut', 'zero', 'ones', 'group', 'tag0', 'tag0-long', 'type6', 'length-beyond',
        'length-4g', 'serial-as-bytes', 'varint-of-11-bytes'])
@pytest.mark.parametrize('hello', [False, True], ids=['first', 'later'])
def test_malformed_packet_ends_the_session(raw, hello, data):
    client = raw(hello=hello)
    client.send_raw(data)
    ends_malformed(client)


@pytest.mark.parametrize('hello', [False, True], ids=['first', 'later'])
def test_empty_packet_ends_the_session(raw, hello):
    client = raw(hello=hello)
    client.send_raw(b'')
    packets = client.rest()
    assert [p.error.code for p in packets] in ([], [pb.MALFORMED])


def padded(size):
    """A GetStatus of exactly that many bytes, by one unknown field."""
    head = packet('get_status', 7)
    for n in range(size - len(head) - 5, size):
        data = head + field(99, bytes(n))
        if len(data) == size:
            return data
    raise AssertionError(size)


@pytest.mark.parametrize('size', [PACKET_MAX - 1, PACKET_MAX])
def test_packet_of_4096_bytes_is_served(raw, size):
    client = raw()
    client.asked.add(7)
    client.send_raw(padded(size))
    assert client.answer(7).pid > 0


@pytest.mark.parametrize('size', [4097, 4224, 8192, 65536, 150000])
def test_oversized_packet_ends_the_session(raw, size):
    client = raw()
    client.send_raw(padded(size))
    ends_malformed(client)


def test_every_truncation_is_answered(raw):
    whole = packet('create_pool', 300, 2 ** 63, size=3, max=5 * MIB, store='no-such-store', name='label')
    for n in range(1, len(whole)):
        client = raw()
        client.asked.update([300, 300 % 128 + 128, 1])
        client.send_raw(whole[:n])
        parsed = pb.ClientPacket()
        try:
            parsed.ParseFromString(whole[:n])
            ok = parsed.serial != 0
        except Exception:
            ok = False
        if ok:
            with pytest.raises(Refused):  # what is left is complete, but asks for nothing that there is
                client.answer(parsed.serial)
            lives(client)
        else:
            ends_malformed(client)
        client.close()


def is_answered_or_closed(client):
    """One packet or the end, in time: the daemon does not just sit there."""
    assert select.select([client.sock], [], [], 5)[0]
    try:
        client.recv()
    except Closed:
        pass


@pytest.mark.parametrize('seed', range(4))
def test_random_bytes_do_no_harm(raw, seed):
    rng = random.Random(seed)
    for _ in range(100):
        client = raw(hello=bool(rng.randrange(2)))
        client.send_raw(rng.randbytes(rng.choice([1, 2, 3, 7, 20, 100, 1000, 4096])))
        is_answered_or_closed(client)
        client.close()


@pytest.mark.parametrize('seed', range(4))
def test_damaged_requests_do_no_harm(daemon, seed):
    """Bits flipped, bytes doubled, dropped and swapped in requests that were good. As a user: some will be carried
    out."""
    rng = random.Random(seed)
    good = [packet('hello', 9, major=1, program='p' * 20),
            packet('create_pool', 9, 3, size=2 * MIB, max=4 * MIB, store='main', name='label'),
            packet('destroy_pool', 9, 4, pool=rng.getrandbits(64)),
            packet('resize_pool', 9, 4, pool=rng.getrandbits(64), size=4 * MIB),
            packet('give_back', 9, 5, pool=rng.getrandbits(64), units=[(0, 1), (4, 8), (1000, 1)]),
            packet('resume_pools', 9, after=3), packet('get_pool', 9, pool=rng.getrandbits(64)),
            packet('list_pools', 9, after=1), packet('list_tenants', 9, after=1 << 40), packet('list_stores', 9)]
    process = daemon.process(ALICE)
    for _ in range(100):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 4)):
            i = rng.randrange(len(data))
            what = rng.randrange(4)
            if what == 0:
                data[i] ^= 1 << rng.randrange(8)
            elif what == 1:
                data[i:i] = data[i:i + rng.randrange(1, 9)]
            elif what == 2 and len(data) > 1:
                del data[i]
            else:
                data[i] = rng.randrange(256)
        client = process.connect(daemon.socket, hello=rng.random() < 0.9)
        client.send_raw(bytes(data))
        packets = client.next_or_end(5)
        assert packets is not None, 'neither an answer nor the end'
        client.close()


@pytest.mark.parametrize('hello', [False, True], ids=['first', 'later'])
@pytest.mark.parametrize('n', [1, 2, 253])
def test_descriptors_end_the_session(daemon, raw, hello, n):
    with open('/dev/null', 'rb') as null:
        for _ in range(20):
            client = raw(hello=hello)
            client.send_raw(packet('hello' if not hello else 'get_status', 7), [null.fileno()] * n)
            ends_malformed(client)
            client.close()


def test_descriptors_are_closed_at_once(raw):
    """A pipe whose only writing end was sent reads as ended: the daemon kept nothing."""
    client = raw()
    ours, theirs = os.pipe()
    client.send_raw(packet('get_status', 7), [theirs])
    os.close(theirs)
    ends_malformed(client)
    assert select.select([ours], [], [], 2)[0] and os.read(ours, 1) == b''
    os.close(ours)


# -------------------------------------------------------------------------------------------------------- strings

def hello_with(program):
    return field(1, 7) + field(10, field(1, 1) + field(4, program))


def create_with(number, text):
    """A CreatePool whose store (3) or name (4) is these bytes; of a size that is refused."""
    return field(1, 7) + field(11, field(1, 3) + field(number, text))


@pytest.mark.parametrize('text', [
    '', 'a' * 64, 'é' * 32, 'ä€😀', '\u00a0\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff',
], ids=['empty', '64', '64-in-utf8', 'short', 'bounds'])
def test_clean_strings_pass(raw, text):
    client = raw(hello=False)
    client.asked.add(7)
    client.send_raw(hello_with(text.encode()))
    assert client.answer(7).major == 1


UNCLEAN = {
    'long': b'a' * 65,
    'long-utf8': 'é'.encode() * 32 + b'a',
    'longer': b'a' * 3000,
    'nul': b'a\x00b',
    'nul-first': b'\x00',
    'nul-last': b'a\x00',
    'long-behind-nul': b'a\x00' + b'b' * 100,
    'soh': b'\x01',
    'tab': b'a\tb',
    'newline': b'a\n',
    'escape': b'\x1b[31m',
    'us': b'\x1f',
    'del': b'\x7f',
    'c1-first': '\u0080'.encode(),
    'c1-csi': '\u009b'.encode(),
    'c1-last': '\u009f'.encode(),
    'lone-continuation': b'\x80',
    'overlong-2': b'\xc0\xaf',
    'overlong-2-nul': b'\xc0\x80',
    'overlong-2-last': b'\xc1\xbf',
    'overlong-3': b'\xe0\x9f\xbf',
    'overlong-4': b'\xf0\x8f\xbf\xbf',
    'surrogate': b'\xed\xa0\x80',
    'surrogate-last': b'\xed\xbf\xbf',
    'above': b'\xf4\x90\x80\x80',
    'f5': b'\xf5\x80\x80\x80',
    'ff': b'\xff',
    'cut-2': b'a\xc3',
    'cut-3': b'a\xe2\x82',
    'cut-4': b'a\xf0\x9f\x98',
    'wrong-continuation': b'\xe2\x28\xa1',
}


@pytest.mark.parametrize('name', UNCLEAN)
def test_unclean_program_ends_the_session(raw, name):
    client = raw(hello=False)
    client.send_raw(hello_with(UNCLEAN[name]))
    ends_malformed(client)


@pytest.mark.parametrize('number', [3, 4], ids=['store', 'label'])
@pytest.mark.parametrize('name', UNCLEAN)
def test_unclean_string_in_create_ends_the_session(raw, number, name):
    client = raw()
    client.send_raw(create_with(number, UNCLEAN[name]))
    ends_malformed(client)


def test_store_of_64_bytes_is_just_unknown(raw):
    client = raw()
    with pytest.raises(Refused, match='STORE_UNKNOWN'):
        client.create(2 * MIB, store='a' * 64)


# ---------------------------------------------------------------------------------------------------------- bombs

@pytest.mark.parametrize('data', [
    field(15, 0) * 2000,
    field(15, b'') * 2000,
    field(99, 0) * 1300,
    field(20, field(15, 0) * 1900),
    field(20, b'') * 1300,
    field(14, field(2, b'') * 1900),
    field(14, field(2, field(15, 0)) * 900),
], ids=['varints', 'empty-bytes', 'two-byte-tags', 'inside-a-request', 'the-same-request', 'units',
        'units-with-unknown-fields'])
def test_bomb_of_tiny_fields_is_cheap(daemon, raw, data):
    """Whatever it decodes to, it costs neither memory nor much time."""
    cpu = daemon.cpu_seconds()
    for _ in range(50):
        client = raw()
        client.asked.update([1, 7])
        client.send_raw(field(1, 7) + data)
        is_answered_or_closed(client)
        client.close()
    assert daemon.cpu_seconds() - cpu < 0.5


@pytest.mark.parametrize('data', [field(15, 0) * 2000, field(99, b'') * 1300, field(14, field(2, b'') * 1900)],
                         ids=['varints', 'empty-bytes', 'units'])
def test_bomb_beyond_the_budget_ends_the_session(raw, data):
    client = raw()
    client.send_raw(field(1, 7) + data)
    ends_malformed(client)


def test_some_unknown_fields_are_within_the_budget(raw):
    client = raw()
    client.asked.add(7)
    client.send_raw(packet('get_status', 7) + field(99, b'x') * 100)
    assert client.answer(7).pid > 0


# ------------------------------------------------------------------------------------------------------ repeating

def test_same_id_gets_the_same_result_without_a_second_descriptor(daemon):
    user = daemon.user()
    first = user.create(2 * MIB, request_id=77, name='once')
    again = user.create(2 * MIB, request_id=77, name='once')
    assert again == first
    assert user.spare_fds() == 0
    assert len(user.pools()) == 1
    # Every other request with an id is kept likewise.
    user.give_up(first.pool)
    assert user.ask('destroy_pool', request_id=78, pool=first.pool) == user.destroy(first.pool, request_id=78)
    assert user.create(2 * MIB, request_id=77, name='once') == first
    assert user.pools() == []


def test_refusal_is_repeated_too(daemon, refused):
    user = daemon.user()
    for _ in range(2):
        with refused('INVALID', asked=3):
            user.create(3, request_id=5)


@pytest.mark.parametrize('other', [
    ('create_pool', {'size': 4 * MIB}),
    ('create_pool', {'size': 2 * MIB, 'name': 'x'}),
    ('create_pool', {'size': 2 * MIB, 'max': 2 * MIB}),
    ('destroy_pool', {'pool': 1}),
], ids=['size', 'name', 'max', 'destroy'])
def test_same_id_with_another_body_is_a_conflict(daemon, refused, other):
    user = daemon.user()
    user.create(2 * MIB, request_id=77)
    with refused('REQUEST_CONFLICT', errno=17):
        user.ask(other[0], request_id=77, **other[1])
    assert len(user.pools()) == 1


def test_last_64_results_are_kept(daemon):
    """Of those, a GiveBack is not done again."""
    user = daemon.user()
    pool = user.create(140 * MIB).pool
    sizes = [user.ask('give_back', pool=pool, units=[(i, 1)], request_id=i).size // MIB for i in range(1, 65)]
    assert sizes == list(range(138, 10, -2))
    assert user.ask('give_back', pool=pool, units=[(1, 1)], request_id=1).size == 138 * MIB
    user.ask('give_back', pool=pool, units=[(65, 1)], request_id=65)
    assert user.ask('give_back', pool=pool, units=[(2, 1)], request_id=2).size == 136 * MIB  # the second of 65 is kept
    assert user.pool(pool).size == 10 * MIB
    user.ask('give_back', pool=pool, units=[(1, 1)], request_id=1)  # the first is not: carried out again
    assert user.pool(pool).size == 8 * MIB


def test_ids_belong_to_their_process(daemon):
    """A create's; of other requests, to their session."""
    process, other = daemon.process(), daemon.process()
    first, second = process.connect(daemon.socket), process.connect(daemon.socket)
    pool = first.create(6 * MIB, request_id=77).pool
    assert other.connect(daemon.socket).create(6 * MIB, request_id=77).pool != pool
    assert second.create(6 * MIB, request_id=77).pool == pool
    for session, left in (first, 4), (second, 2):
        assert session.ask('give_back', pool=pool, units=[(0, 1)], request_id=78).size == left * MIB


def test_id_of_a_request_under_way_makes_no_second_pool(daemon):
    user = daemon.user()
    serials = [user.send('create_pool', request_id=77, size=2 * MIB) for _ in range(2)]
    grant = user.answer(serials[0])
    try:
        assert user.answer(serials[1]) == grant
    except Refused as e:
        assert e.code == 'BUSY'
    assert user.spare_fds() == 0
    assert [row.pool for row in user.pools()] == [grant.pool]


def test_questions_are_answered_anew_and_not_kept(daemon):
    """Their pages would be a lot to keep: a user's sessions by the hundred cost a user's sessions, no more."""
    process = daemon.process()
    user = process.connect(daemon.socket)
    assert len(user.ask('list_pools', request_id=1).rows) == 0
    for _ in range(64):
        user.create(2 * MIB, name='n' * 32)
    assert len(user.ask('list_pools', request_id=1).rows) == 64
    sessions = [process.connect(daemon.socket) for _ in range(30)]
    rss = daemon.rss()
    for session in sessions:
        for i in range(64):
            session.ask('list_pools', request_id=i + 2)
    if not IS_SANITIZED:
        assert daemon.rss() - rss < 2 * MIB


def test_id_zero_is_never_repeated(daemon):
    user = daemon.user()
    assert user.create(2 * MIB).pool != user.create(2 * MIB).pool


def test_serial_may_be_used_again_once_answered(raw):
    client = raw()
    for _ in range(3):
        assert client.answer(client.send('get_status', serial=2 ** 64 - 1)).pid > 0


# ----------------------------------------------------------------------------------------------------------- flow

def sixteen_waiting(daemon, admin):
    """Sixteen requests that wait for a pool's owner: the user, its pools, the serials."""
    user = daemon.user()
    pools = [user.create(4 * MIB).pool for _ in range(16)]
    return user, pools, [admin.send('resize_pool', pool=pool, size=2 * MIB) for pool in pools]


@needs_root
def test_seventeenth_request_waits_for_one_of_sixteen(daemon, raw):
    admin = raw()
    user, pools, serials = sixteen_waiting(daemon, admin)
    last = admin.send('get_status')
    assert not admin.is_answered(last, 0.3)
    assert not set(admin.answers) & set(serials)
    user.give_back(pools[5], (1, 1))
    assert admin.answer(serials[5]).size == 2 * MIB
    assert admin.answer(last).pid > 0
    for i in set(range(16)) - {5}:
        user.give_back(pools[i], (1, 1))
        assert admin.answer(serials[i]).size == 2 * MIB


@needs_root
def test_fifteen_under_way_leave_room_for_one(daemon, raw):
    admin = raw()
    user, pools, serials = sixteen_waiting(daemon, admin)
    user.give_back(pools[0], (1, 1))
    assert admin.answer(serials[0]).size == 2 * MIB
    for _ in range(5):
        assert admin.status().pid > 0
    for pool in pools[1:]:
        user.give_back(pool, (1, 1))


@needs_root
@pytest.mark.parametrize('how', ['close', 'half-close'])
def test_full_session_that_ends_costs_nothing(daemon, raw, how):
    """Sixteen under way and nobody there to hear: the broker does not spin, and the shrinks end by themselves."""
    admin = raw()
    user, pools, _ = sixteen_waiting(daemon, admin)
    if how == 'close':
        admin.close()
    else:
        admin.shutdown(socket.SHUT_WR)
    cpu = daemon.cpu_seconds()
    time.sleep(0.5)
    assert daemon.cpu_seconds() - cpu < 0.2
    wait_for(lambda: all(row.state == pb.STATE_READY and row.target == 0 for row in user.pools()), 5, 'shrinks end')
    assert len(pools) == len(user.pools())


@pytest.mark.parametrize('body', ['list_pools', 'get_status', 'resume_pools'])
def test_pipeline_is_answered_to_the_last(raw, body):
    client = raw()
    serials = [client.send(body) for _ in range(200)]
    for serial in serials:
        client.answer(serial)


def test_pipeline_of_changes_is_answered_to_the_last(daemon):
    user = daemon.user()
    serials = [user.send('create_pool', size=2 * MIB) for _ in range(100)]
    pools = [user.answer(serial).pool for serial in serials]
    assert len(set(pools)) == 100
    assert all(user.has_fd(pool) for pool in pools)
    for pool in pools:
        user.give_up(pool)
    serials = [user.send('destroy_pool', pool=pool) for pool in pools]
    for serial in serials:
        assert not user.answer(serial).releasing
    assert user.pools() == []


def test_who_does_not_read_is_closed_and_keeps_its_pools(daemon):
    process = daemon.process()
    user = process.connect(daemon.socket)
    pools = [user.create(2 * MIB, name='n' * 32).pool for _ in range(64)]
    sent = user.flood('list_pools', 1000)
    assert sent < 1000, 'the daemon took everything'
    unread = sum(len(data) for data in user.rest_raw())
    assert unread < 512 << 10
    again = process.reconnect(daemon.socket, user)
    assert [row.pool for row in again.resume()] == pools
    assert again.touch(pools[0], 0) == 0


def test_who_does_not_read_a_descriptor_in_time_is_closed(daemon):
    process = daemon.process()
    user = process.connect(daemon.socket)
    for _ in range(2):
        user.send('create_pool', size=2 * MIB)
    begin = time.monotonic()
    wait_for(lambda: daemon.status().sessions == 1, 3, 'the session is closed')
    assert 0.9 < time.monotonic() - begin < 1.8
    assert [p.WhichOneof('body') for p in user.rest()] == ['grant']
    assert len(process.connect(daemon.socket).resume()) == 2


def test_second_descriptor_waits_until_the_first_is_read(daemon):
    user = daemon.user()
    serials = [user.send('create_pool', size=2 * MIB) for _ in range(3)]
    time.sleep(0.2)
    waiting = user.waits_to_be_read()
    size = user.take()
    assert size == waiting  # one grant and no more lay there
    for serial in serials:
        assert user.answer(serial).size == 2 * MIB
    assert user.waits_to_be_read() == 0


def test_what_was_asked_before_half_close_is_answered(raw):
    client = raw(hello=False)
    serials = [client.send('hello', major=1), client.send('get_status')]
    client.shutdown(socket.SHUT_WR)
    for serial in serials:
        client.answer(serial)
    assert client.rest() == []


def test_end_of_reading_ends_the_session(daemon, raw):
    client = raw()
    client.shutdown(socket.SHUT_RD)
    with pytest.raises(OSError):
        for _ in range(100):
            client.send('get_status')
            time.sleep(0.01)


def test_connections_that_come_and_go(daemon):
    """A thousand at once and none of them says a word."""
    for _ in range(1000):
        Client(daemon.socket, hello=False).close()
    assert daemon.status().pid > 0
