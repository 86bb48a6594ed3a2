# SPDX-License-Identifier: BSD-3-Clause
"""How many sessions, and how many requests a second: per user, in all, and what is kept for administrators."""

import time

import pytest

from daemon import ADMIN_GROUP, ALICE, BOB, CAROL, DAVE, broker, needs_root, store, wait_for
from pmbproto import MIB, UNIT, Refused, pb

pytestmark = needs_root


def is_turned_away(client, limit, used):
    """One Error that says why, then the end."""
    packets = client.rest()
    assert [p.error.code for p in packets] == [pb.SESSION_LIMIT]
    e = packets[0].error
    assert (e.errno_value, e.asked, e.limit, e.used) == (87, 1, limit, used)  # EUSERS


def connect(process, daemon):
    """A session that has not said Hello: it counts already."""
    return process.connect(daemon.socket, hello=False)


# ------------------------------------------------------------------------------------------------------- sessions

def test_sessions_per_user(start):
    daemon = start(broker(SessionsPerUser=3), store('main', 'dir'))
    process, other = daemon.process(ALICE), daemon.process(ALICE)
    sessions = [connect(process, daemon), connect(process, daemon), connect(other, daemon)]
    is_turned_away(connect(process, daemon), 3, 3)
    is_turned_away(connect(other, daemon), 3, 3)
    assert daemon.user(BOB).status().pid > 0  # another user is not concerned
    sessions[0].close()
    wait_for(lambda: daemon.status().sessions == 4)  # two of Alice, Bob, ours
    connect(process, daemon).ask('hello', major=1)
    is_turned_away(connect(process, daemon), 3, 3)


def test_who_is_turned_away_loses_nothing(start):
    daemon = start(broker(SessionsPerUser=1), store('main', 'dir'))
    process = daemon.process(ALICE)
    user = process.connect(daemon.socket)
    pool = user.create(4 * MIB).pool
    for _ in range(20):
        is_turned_away(connect(process, daemon), 1, 1)
    user.fill(pool, 1)
    assert user.is_filled(pool, 1) and user.pool(pool).size == 4 * MIB


def test_sessions_in_all_and_those_for_administrators(start):
    daemon = start(broker(SessionsMax=6, SessionsReserved=2, AdminGroup=ADMIN_GROUP), store('main', 'dir'))
    users = [daemon.process(uid) for uid in (ALICE, BOB, CAROL)]
    assert daemon.status().sessions_max == 6
    sessions = [connect(user, daemon) for user in users]  # with ours: four
    is_turned_away(connect(users[0], daemon), 4, 4)
    admins = [daemon.process(BOB, groups=[ADMIN_GROUP]) for _ in range(3)]
    for admin in admins[:2]:
        assert admin.connect(daemon.socket).hello().admin
    is_turned_away(connect(users[0], daemon), 4, 6)  # what administrators have over their own share counts
    assert admins[2].connect(daemon.socket).hello().admin  # in the place of one who has the most, and has said nothing
    assert sessions[1].rest() == []
    assert daemon.status().sessions == 6


def test_who_has_less_than_his_share_gets_in(start):
    """Ten sessions for three users: one who had eight of them loses five, the cheapest first, and no pool."""
    daemon = start(broker(SessionsMax=12, SessionsReserved=2), store('main', 'dir'))
    hog, late = daemon.process(ALICE), daemon.process(BOB)
    holder = hog.connect(daemon.socket)
    pool = holder.create(UNIT).pool
    holder.fill(pool, 7)
    lone = daemon.user(ALICE)  # another process, whose pool hangs on its only session
    lone_pool = lone.create(UNIT).pool
    silent = [connect(hog, daemon) for _ in range(3)]
    spoken = [hog.connect(daemon.socket) for _ in range(4)]
    is_turned_away(connect(hog, daemon), 10, 10)
    sessions = [late.connect(daemon.socket) for _ in range(3)]
    is_turned_away(connect(late, daemon), 10, 10)  # 10 / 3
    assert [s.rest() for s in silent] == [[]] * 3
    more = [daemon.user(uid) for uid in (CAROL, DAVE)]  # 10 / 5
    assert [s.status().pid > 0 for s in sessions + more] == [True] * 5
    assert daemon.status().sessions == 10
    gone = sum(s.next_or_end(0.1) == 0 for s in spoken)
    assert gone == 2 and holder.is_filled(pool, 7)
    assert lone.pool(lone_pool).size == UNIT


def test_pools_of_a_session_that_had_to_go_stay(start):
    daemon = start(broker(SessionsMax=4, SessionsReserved=1), store('main', 'dir'))  # ReconnectSec is 1 s
    hogs = [daemon.user(ALICE) for _ in range(2)]
    pools = [hog.create(UNIT).pool for hog in hogs]
    late = daemon.user(BOB)
    assert [hog.next_or_end(0.1) for hog in hogs].count(0) == 1
    time.sleep(2.5)
    assert {row.pool for row in daemon.pools()} == set(pools)
    late.close()
    wait_for(lambda: daemon.status().sessions == 2)
    for hog, pool in zip(hogs, pools):
        again = hog.process.connect(daemon.socket)
        assert [row.pool for row in again.resume()] == [pool]
        again.close()
        wait_for(lambda: daemon.status().sessions == 2)


def test_no_limit_per_user_for_administrators(start):
    daemon = start(broker(SessionsPerUser=1, AdminGroup=ADMIN_GROUP), store('main', 'dir'))
    admin = daemon.process(ALICE, groups=[ADMIN_GROUP])
    for _ in range(5):
        assert admin.connect(daemon.socket).hello().admin


def test_sessions_that_never_spoke_are_counted_back(start):
    daemon = start(broker(SessionsPerUser=3, HelloTimeoutSec='1s'), store('main', 'dir'))
    process = daemon.process(ALICE)
    silent = [connect(process, daemon) for _ in range(3)]
    is_turned_away(connect(process, daemon), 3, 3)
    for session in silent:
        assert session.rest() == []
    assert process.connect(daemon.socket).status().pid > 0


def test_a_user_with_all_its_sessions_holds_up_nobody(start):
    daemon = start(broker(SessionsPerUser=200), store('main', 'dir'))
    process = daemon.process(ALICE)
    for _ in range(200):
        connect(process, daemon)
    begin = time.monotonic()
    pool = daemon.user(BOB).create(UNIT).pool
    assert pool and time.monotonic() - begin < 0.5


@pytest.mark.parametrize('body', ['list_pools', 'resume_pools', 'get_status', 'destroy_pool'])
def test_a_user_who_asks_without_end_stops_nobody(start, body):
    """A hundred sessions that ask as fast as they can, most of it pages of 64 rows."""
    daemon = start(broker(), store('main', 'dir', '2G'))
    flooder = daemon.process(ALICE)
    holder = flooder.connect(daemon.socket)
    for _ in range(200):
        holder.create(UNIT)
    other = daemon.user(BOB)
    flooder.start(0, 'flood', daemon.socket, body, 100)
    wait_for(lambda: daemon.status().sessions == 103, 10)
    time.sleep(0.2)
    seconds = []
    for _ in range(5):
        begin = time.monotonic()
        other.drop(other.create(UNIT).pool)
        seconds.append(time.monotonic() - begin)
    assert max(seconds) < 2
    print(f'sessions: create and destroy under a flood of {body}: {max(seconds) * 1e3:.0f} ms at most')


# ----------------------------------------------------------------------------------------------------------- rate

@pytest.fixture
def slow(start):
    """Ten at once, then one a second: so slow that no machine is too slow for the tests."""
    return start(broker(RequestsPerSecond=1, RequestsBurst=10, AdminGroup=ADMIN_GROUP), store('main', 'dir'))


def burst(user, n, rate=1):
    """How many of n changing requests sent at once are not refused by RATE."""
    serials = [user.send('destroy_pool', pool=1) for _ in range(n)]
    passed = 0
    for serial in serials:
        try:
            user.answer(serial)
            passed += 1
        except Refused as e:
            assert (e.code, e.limit, e.errno) == ('RATE', rate, 11)
    return passed


def test_burst_then_so_many_a_second(slow):
    user = slow.user(ALICE)
    begin = time.monotonic()
    assert burst(user, 30) == 10
    time.sleep(2.2 - (time.monotonic() - begin))
    assert burst(user, 30) == 2


def test_no_more_than_a_burst_is_saved_up(start):
    daemon = start(broker(RequestsPerSecond=100, RequestsBurst=10), store('main', 'dir'))
    user = daemon.user(ALICE)
    time.sleep(1)
    begin = time.monotonic()
    passed = burst(user, 200, 100)
    assert 10 <= passed <= 10 + (time.monotonic() - begin) * 100 + 1


@pytest.mark.parametrize('body', ['create_pool', 'destroy_pool', 'resize_pool', 'give_back'])
def test_every_change_counts(slow, refused, body):
    user = slow.user(ALICE)
    assert burst(user, 10) == 10
    with refused('RATE', limit=1, errno=11):
        user.ask(body)


@pytest.mark.parametrize('body', ['get_status', 'list_pools', 'resume_pools'])
def test_questions_do_not_count(slow, body):
    user = slow.user(ALICE)
    burst(user, 15)
    for _ in range(30):
        user.ask(body)


def test_rate_is_of_the_user_not_of_the_session(slow, refused):
    first, second = slow.user(ALICE), slow.user(ALICE)
    assert burst(first, 6) == 6
    assert burst(second, 10) == 4
    again = first.process.connect(slow.socket)
    with refused('RATE'):
        again.create(UNIT)
    assert burst(slow.user(BOB), 10) == 10


def test_rate_is_not_forgotten_with_the_last_session(slow):
    user = slow.user(ALICE)
    assert burst(user, 12) == 10
    user.close()
    slow.user(BOB)
    assert burst(user.process.connect(slow.socket), 10) <= 2


def test_refused_requests_change_nothing(slow, refused):
    user = slow.user(ALICE)
    burst(user, 10)
    with refused('RATE'):
        user.create(UNIT)
    assert slow.status().pools == 0


def test_administrators_are_not_paced(slow):
    admin = slow.user(ALICE, groups=[ADMIN_GROUP])
    assert burst(admin, 50) == 50


def test_malformed_sessions_do_not_use_up_a_user_s_sessions(start):
    daemon = start(broker(SessionsPerUser=2), store('main', 'dir'))
    process = daemon.process(ALICE)
    for _ in range(20):
        session = connect(process, daemon)
        session.send_raw(b'\xff')
        assert len(session.rest()) == 1
    user = process.connect(daemon.socket)
    assert user.status().pid > 0
