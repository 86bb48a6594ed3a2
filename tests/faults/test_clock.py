# SPDX-License-Identifier: BSD-3-Clause
"""The clock is set, by years, to and fro, each time that a daemon looks at it: what is due is due in time."""

import threading
import time

import pytest

import jobproto
import pmbproto
from conftest import a_system
from pmbproto import Process
from system import UNIT, wait_for

CONFIG = '''[Broker]
ReconnectSec=2s
ShrinkTimeoutSec=2s
[Store one]
Type={kind}
Size=256M
{path}
'''


@pytest.fixture
def system(kind):
    if b'__asan_' in (jobproto.BUILD / 'pmbrokerd').read_bytes():
        pytest.skip('a sanitizer wants to be loaded first')
    with a_system(kind, CONFIG) as system:
        for role in 'broker', 'provisioner':
            system.environment[role] = {'LD_PRELOAD': str(jobproto.BUILD / 'tests/faults/preload-clock.so')}
            system.kill(role)
        system.revive()
        yield system


def test_deadlines(system):
    process, leaver = Process(), Process()
    owner, gone = process.connect(system.socket), leaver.connect(system.socket)
    shrinks, revoked, left = (c.create(2 * UNIT).pool for c in (owner, owner, gone))
    owner.fill(shrinks, 5)
    gone.close()  # its process lives, and does not come back
    begin = time.monotonic()
    answers = {}

    def ask(what, **fields):
        client = pmbproto.Client(system.socket)
        client.sock.settimeout(20)
        answers[what] = client.ask(what, **fields), time.monotonic() - begin

    threads = [threading.Thread(target=ask, args=('resize_pool',), kwargs=dict(pool=shrinks, size=UNIT)),
               threading.Thread(target=ask, args=('revoke_pool',), kwargs=dict(pool=revoked, grace_sec=1))]
    def ready():  # who has a file open keeps it in a directory, and is charged for it
        return [row.pool for row in system.ask('pools') if row.state != pmbproto.pb.STATE_RELEASING]

    for thread in threads:
        thread.start()
    wait_for(lambda: left not in ready(), 10, 'who does not come back has no pool')
    assert 1.9 <= time.monotonic() - begin < 8
    for thread in threads:
        thread.join()
    size, seconds = answers['resize_pool']
    assert size.size == 2 * UNIT and 1.9 <= seconds < 8
    assert 0.9 <= answers['revoke_pool'][1] < 8
    assert owner.is_filled(shrinks, 5)
    assert ready() == [shrinks]
    assert all(0 <= row.age_usec < 60e6 for row in system.ask('pools'))
    system.assert_books()
    process.end()
    leaver.end()
