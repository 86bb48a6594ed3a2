# SPDX-License-Identifier: BSD-3-Clause
"""pmbrokerctl resize and revoke, and what it says when the daemon refuses."""

import json
import signal
import subprocess
import time

import pytest

from ctlrun import CTL, DONE, NO_POOL, REFUSED, USAGE, ctl, fake, said  # noqa: F401
from fakedaemon import refuse
from pmbproto import GIB, MIB, pb


# ---------------------------------------------------------------------------------------------------------- resize

ROUNDED = said('note: rounded up to {}: pools are made of units of 2M')


@pytest.mark.parametrize('size, asked, note', [
    ('128M', 128 * MIB, ''),
    ('1.5G', 1536 * MIB, ''),
    ('67108864', 64 * MIB, ''),
    ('1', 2 * MIB, '2M'),
    ('63M', 64 * MIB, '64M'),
    ('+64M', 128 * MIB, ''),
    ('+1', 66 * MIB, '66M'),
    ('-32M', 32 * MIB, ''),
    ('-62M', 2 * MIB, ''),
    ('-1M', 64 * MIB, '64M'),
])
def test_resize(ctl, fake, size, asked, note):
    text = {1536 * MIB: '1.5G'}.get(asked, f'{asked // MIB}M')
    note = note and ROUNDED.format(note)
    for spec in ('3f9c2b7a10d4e586', 'web'):
        fake.requests.clear()
        assert ctl('resize', spec, size, err=note) == f'pool 3f9c2b7a10d4e586: {text}\n'
        body = fake.requests[-1][1]
        assert (body.pool, body.size) == (0x3f9c2b7a10d4e586, asked)
        look_up = ['list_pools'] if spec == 'web' else ['get_pool'] if size[0] in '+-' else []
        assert fake.asked() == look_up + ['resize_pool']
    assert ctl('resize', 'web', size, '--bytes', '--quiet') == ''


@pytest.mark.parametrize('size, why', [
    ('', "'' is not a size: 64M, 1.5G, +512M, -64M are sizes"),
    ('64Q', "'64Q' is not a size: 64M, 1.5G, +512M, -64M are sizes"),
    ('+-1', "'+-1' is not a size: 64M, 1.5G, +512M, -64M are sizes"),
    ('99999999T', "'99999999T' is beyond all sizes: 64M, 1.5G, +512M, -64M are sizes"),
    ('16777215T', None),
    ('18446744073709551615', "'18446744073709551615' is beyond all sizes"),
    ('+18446744073709551615', "'+18446744073709551615' is beyond all sizes"),
    ('0', 'a pool has at least 2M (revoke takes all)'),
    ('-64M', 'pool 3f9c2b7a10d4e586: it has 64M, and at least 2M have to stay (revoke takes all)'),
    ('-65M', 'pool 3f9c2b7a10d4e586: it has 64M, and at least 2M have to stay (revoke takes all)'),
])
def test_resize_bad(ctl, fake, size, why):
    ctl('resize', 'web', size, status=USAGE if why else DONE, err=said(why) if why else '')
    assert ('resize_pool' in fake.asked()) == (why is None)


def reach(size):
    return lambda session, packet: {'size': pb.PoolSize(pool=packet.resize_pool.pool, size=size, length=GIB,
                                                        target=packet.resize_pool.size)}


def test_resize_not_reached(ctl, fake):
    fake.answers['resize_pool'] = reach(96 * MIB)
    held = 'pool 3f9c2b7a10d4e586: 96M of 64M reached: its owner holds the rest'
    assert ctl('resize', 'web', '64M', status=REFUSED, err=said(held)) == ''
    ctl('resize', 'web', '64M', '-q', '--bytes', status=REFUSED,
        err=said('pool 3f9c2b7a10d4e586: 100663296 of 67108864 reached: its owner holds the rest'))
    assert json.loads(ctl('resize', 'web', '64M', '-J', status=REFUSED, err=said(held))) == {
        'id': '3f9c2b7a10d4e586', 'limit': 96 * MIB, 'target': 64 * MIB, 'reached': False}
    ctl('resize', 'web', '128M', status=REFUSED, err=said('pool 3f9c2b7a10d4e586: 96M of 128M reached'))


def test_resize_json(ctl):
    assert ctl('resize', 'web', '128M', '--json') == '''\
{
   "id": "3f9c2b7a10d4e586",
   "limit": 134217728,
   "target": 134217728,
   "reached": true
}
'''


def test_resize_request_id(ctl, fake):
    ids = []

    def note(session, packet):
        ids.append(packet.request_id)
        return reach(64 * MIB)(session, packet)
    fake.answers['resize_pool'] = note
    ctl('resize', 'web', '64M')
    ctl('resize', 'web', '64M')
    assert 0 not in ids and len(set(ids)) == 2


def test_resize_waits(ctl, fake):
    """With a word after a second; and an interrupt ends it."""
    def slowly(session, packet):
        session.event(reclaim=pb.Reclaim(pool=7, target=1))
        time.sleep(1.3)
        return reach(32 * MIB)(session, packet)
    fake.answers['resize_pool'] = slowly
    note = said('note: pool 3f9c2b7a10d4e586: waiting for its owner to give memory back')
    assert ctl('resize', 'web', '32M', err=note) == 'pool 3f9c2b7a10d4e586: 32M\n'
    ctl('resize', 'web', '32M', '-q')

    fake.answers['resize_pool'] = lambda session, packet: None
    child = subprocess.Popen([CTL, '-S', fake.path, '-q', 'resize', 'web', '32M'])
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    child.send_signal(signal.SIGINT)
    assert child.wait(5) == -signal.SIGINT


# ---------------------------------------------------------------------------------------------------------- revoke

def test_revoke(ctl, fake):
    assert ctl('revoke', '3f9c2b7a10d4e586') == 'pool 3f9c2b7a10d4e586: revoked\n'
    assert fake.asked() == ['revoke_pool']
    assert ctl('revoke', 'web', '-q') == ''
    assert fake.asked() == ['revoke_pool', 'list_pools', 'revoke_pool']
    assert fake.requests[-1][1].pool == 0x3f9c2b7a10d4e586
    assert json.loads(ctl('revoke', '3f9', '--json')) == {'id': '3f9c2b7a10d4e586', 'revoked': True}


# -------------------------------------------------------------------------------------------------------- refusals

@pytest.mark.parametrize('error, status, sentence', [
    (refuse('DENIED'), REFUSED, 'only the administrators may do this'),
    (refuse('QUOTA_BYTES', asked=64 * MIB, limit=8 * GIB, used=8 * GIB, subject='batch'), REFUSED,
     'tenant batch has 8G of 8G in use, 64M more were asked for'),
    (refuse('STORE_FULL', asked=64 * MIB, limit=8 * GIB, used=7 * GIB, subject='pmem0'), REFUSED,
     'store pmem0 has 7G of 8G in use, 64M more were asked for'),
    (refuse('POOL_MAX', asked=GIB, limit=64 * MIB), REFUSED,
     'the pool was made to grow to 64M at most, 1G were asked for'),
    (refuse('BUSY'), REFUSED, 'the pool is being resized or released'),
    (refuse('NOT_FOUND'), NO_POOL, 'there is no such pool'),
    (refuse('FAILED', errno_value=5), REFUSED, "Input/output error (the daemon's journal says more)"),
])
def test_refusals(ctl, fake, error, status, sentence):
    fake.answers['resize_pool'] = fake.answers['revoke_pool'] = lambda session, packet: error
    for words in [('resize', 'web', '64M'), ('revoke', 'web')]:
        assert ctl(*words, status=status, err=said('pool 3f9c2b7a10d4e586: ' + sentence)) == ''


def test_refused_lists(ctl, fake):
    for name in ('list_pools', 'list_stores', 'list_tenants', 'get_status'):
        fake.answers[name] = lambda session, packet: refuse('DENIED')
    for verb in ('list', 'stores', 'tenants', 'status'):
        assert ctl(verb, status=REFUSED, err=said('only the administrators may do this')) == ''


def test_refusal_from_the_future(ctl, fake):
    def answer(session, packet):
        error = pb.Error()
        error.code = 1234
        return {'error': error}
    fake.answers['revoke_pool'] = answer
    ctl('revoke', 'web', status=REFUSED, err=said('pool 3f9c2b7a10d4e586: refused with code 1234'))


def test_retry(ctl, fake):
    """A provisioner that is away for a moment is waited for, with a new request id each time."""
    seen = []

    def answer(session, packet):
        seen.append(packet.request_id)
        return refuse('RETRY') if len(seen) < 4 else {'done': pb.Done()}
    fake.answers['revoke_pool'] = answer
    assert ctl('revoke', 'web', err=said('note: the provisioner is away for a moment, trying again')) == \
        'pool 3f9c2b7a10d4e586: revoked\n'
    assert len(set(seen)) == 4


def test_hello_refused(ctl, fake):
    fake.answers['hello'] = lambda session, packet: refuse('VERSION', asked=1, used=2, limit=3)
    ctl('list', status=REFUSED, err=said('the daemon speaks protocol versions 2 to 3, not 1'))


def test_turned_away(ctl, fake):
    """Too many sessions: said before Hello was read, with a serial that nobody asked for."""
    def turn_away(session):
        session.send(1, **refuse('SESSION_LIMIT', asked=1, used=256, limit=256))
        return 'close'
    fake.on_accept = turn_away
    for _ in range(20):
        ctl('list', status=REFUSED, err=said('256 of 256 sessions are open'))
