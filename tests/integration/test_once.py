# SPDX-License-Identifier: BSD-3-Clause
"""What was asked is done once, however often it is asked, of however many daemons."""

import os
import signal
import threading

import pytest

from daemon import ALICE, broker, store, wait_for
from pmbproto import MIB, UNIT, Closed, Refused


@pytest.fixture
def daemon(start, kind):
    return start(broker(), store('main', kind))


def restart_broker(daemon):
    daemon.may_crash = True
    pid = daemon.child('broker')
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f'/proc/{pid}'))
    daemon.wait_until_ready()


# --------------------------------------------------------------------------------------------------------- create

@pytest.mark.parametrize('restart', [False, True], ids=['session', 'broker'])
def test_create_that_is_repeated_finds_its_pool(daemon, restart):
    process = daemon.process(ALICE)
    first = process.connect(daemon.socket)
    grant = first.create(4 * MIB, max=8 * MIB, name='twice', request_id=77)
    first.fill(grant.pool, 9)
    if restart:
        restart_broker(daemon)
    again = process.connect(daemon.socket)
    repeated = again.create(4 * MIB, max=8 * MIB, name='twice', request_id=77)
    assert repeated == grant
    assert not again.has_fd(grant.pool)
    assert [row.pool for row in again.resume()] == [grant.pool] and daemon.status().pools == 1
    assert first.is_filled(grant.pool, 9)
    # As long as there is the pool.
    again.drop(grant.pool)
    assert again.create(4 * MIB, max=8 * MIB, name='twice', request_id=78).pool != grant.pool


def test_create_with_another_body_is_a_conflict(daemon, refused):
    process = daemon.process(ALICE)
    process.connect(daemon.socket).create(4 * MIB, max=8 * MIB, name='a', request_id=5)
    again = process.connect(daemon.socket)
    for other in (dict(max=6 * MIB, name='a'), dict(max=8 * MIB, name='b'), dict(max=8 * MIB, name='a', store='none')):
        with refused('REQUEST_CONFLICT', errno=17):
            again.create(4 * MIB, request_id=5, **other)
    assert daemon.status().pools == 1


def test_request_ids_are_the_process_s_own(daemon):
    pools = {daemon.user(ALICE).create(UNIT, request_id=5).pool for _ in range(3)}
    assert len(pools) == 3
    user = daemon.user(ALICE)
    assert user.create(UNIT).pool != user.create(UNIT).pool  # 0 is no id


# --------------------------------------------------------------------------------------------------------- resize

@pytest.mark.parametrize('restart', [False, True], ids=['session', 'broker'])
def test_gifts_are_counted(daemon, restart):
    user = daemon.user(ALICE)
    grant = user.create(8 * UNIT)
    assert grant.gifts == 1  # 0: a daemon that does not count
    assert user.give_back(grant.pool, (7, 1)).gifts == 2
    assert user.resize(grant.pool, 8 * UNIT).gifts == 2
    with pytest.raises(Refused):
        user.give_back(grant.pool, (8, 1))
    assert user.give_back(grant.pool, (1, 2), (4, 1)).gifts == 3
    if restart:
        restart_broker(daemon)
        user = user.process.reconnect(daemon.socket, user)
    assert user.pool(grant.pool).gifts == user.resume()[0].gifts == 3
    assert user.give_back(grant.pool, (0, 1)).gifts == 4


def test_a_new_provisioner_does_not_count_on(start):
    """Nobody is told a figure that it cannot know: the broker goes on with its own, and one that comes anew counts
    from anywhere."""
    daemon = start(broker(), store('main', 'dir'))
    user = daemon.user(ALICE)
    pool = user.create(8 * UNIT).pool
    user.give_back(pool, (7, 1))
    daemon.may_crash = True
    os.kill(daemon.child('provisioner'), signal.SIGKILL)
    daemon.wait_until_ready()
    assert user.pool(pool).gifts == 2
    assert user.give_back(pool, (6, 1)).gifts == 3
    restart_broker(daemon)
    user = user.process.reconnect(daemon.socket, user)
    assert user.pool(pool).gifts > 1000


# --------------------------------------------------------------------------------------------------------- reload

def test_reload_interrupts_nobody(daemon):
    user, codes = daemon.user(ALICE), []
    pool = user.create(UNIT).pool
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            try:
                assert user.pool(pool).size == UNIT
                user.drop(user.create(UNIT).pool)
            except (Refused, Closed) as e:
                codes.append(str(e))

    thread = threading.Thread(target=ask)
    thread.start()
    for i in range(20):
        text = daemon.config.read_text()
        daemon.config.write_text(text + f'\n[Store more{i}]\nType=dir\nSize=4M\nPath={daemon.dir}/store-more{i}\n')
        daemon.hangup()
        wait_for(lambda: f'more{i}' in daemon.stores() and daemon.stores()[f'more{i}'].available)
    stop.set()
    thread.join()
    assert codes == []
