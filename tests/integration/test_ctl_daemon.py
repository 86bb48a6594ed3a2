# SPDX-License-Identifier: BSD-3-Clause
"""pmbrokerctl and the real daemon understand each other."""

import json
import os
import subprocess

import pytest

from ctlrun import CTL, DONE, NO_POOL, REFUSED, said
from daemon import ALICE, BOB, IS_ROOT, broker, needs_root, store, tenant, wait_for
from pmbproto import GIB, MIB


@pytest.fixture
def daemon(start):
    return start(broker(ShrinkTimeoutSec='1s'), store('main', 'dir', '1G'), store('small', 'dir', '64M'),
                 tenant('default', Bytes='512M', Pools='100', Stores='main small'))


@pytest.fixture
def ctl(daemon):
    def run(*words, status=DONE, err='', user=None):
        who = {} if user is None else {'user': user, 'group': user, 'extra_groups': []}
        result = subprocess.run([CTL, '-S', daemon.socket, *words], capture_output=True, text=True, timeout=20, cwd='/',
                                env={'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8'}, **who)
        assert (result.returncode, result.stderr) == (status, err), result.stdout
        return result.stdout
    return run


def test_life_of_a_pool(daemon, ctl):
    assert ctl('list', err=said('note: no pools')) == ''
    user = daemon.user(ALICE)
    grant = user.create(8 * MIB, max=64 * MIB, name='web', store='main')
    other = user.create(4 * MIB, store='small')
    name = f'{grant.pool:016x}'
    user.fill(grant.pool, 1, 0, 2)

    rows = json.loads(ctl('list', '--json'))['pools']
    assert [row['id'] for row in rows] == [name, f'{other.pool:016x}']
    uid = ALICE if IS_ROOT else os.geteuid()
    assert rows[0] == {
        'id': name, 'name': 'web', 'tenant': 'default', 'user': rows[0]['user'], 'uid': uid, 'pid': user.process.pid,
        'command': rows[0]['command'], 'store': 'main', 'limit': 8 * MIB, 'used': 4 * MIB, 'max': 64 * MIB,
        'length': 8 * MIB, 'target': None, 'state': 'ready', 'enforced': 'audit', 'grace': None, 'bad': None,
        'age': rows[0]['age']}
    assert ctl('show', 'web', '-o', 'LIMIT', '--noheadings') == '8M\n'
    assert json.loads(ctl('show', name, '-J')).keys() == rows[0].keys()

    assert ctl('resize', 'web', '+8M') == f'pool {name}: 16M\n'
    assert user.pool(grant.pool).size == 16 * MIB
    ctl('resize', 'web', '66M', status=REFUSED,
        err=said(f'pool {name}: the pool was made to grow to 64M at most, 66M were asked for'))
    ctl('resize', name[:-1] + ('0' if name[-1] != '0' else '1'), '2M', status=NO_POOL,
        err=said(f"pool {name[:-1] + ('0' if name[-1] != '0' else '1')}: there is no such pool"))

    assert ctl('revoke', name) == f'pool {name}: revoked\n'
    assert user.event('revoked').pool == grant.pool
    assert ctl('show', name, '-o', 'STATE', '--noheadings') == 'releasing\n'  # the owner still has the file
    daemon.dismiss()
    ctl('show', name, status=NO_POOL, err=said(f'pool {name}: there is no such pool'))


def test_shrink(daemon, ctl):
    """The owner is asked; what it gives back counts, what it holds stays."""
    user = daemon.user(ALICE)
    grant = user.create(64 * MIB, name='web')
    user.process.start(user.number, 'event', 'reclaim')
    child = subprocess.Popen([CTL, '-S', daemon.socket, '-q', 'resize', 'web', '-32M'], text=True,
                             stderr=subprocess.PIPE)
    assert user.process.finish().target == 32 * MIB
    assert ctl('list', '-o', 'STATE,TARGET', '--noheadings').split() == ['resizing', '32M']
    user.give_back(grant.pool, (16, 16))
    assert (child.wait(10), child.stderr.read()) == (DONE, '')

    ctl('resize', 'web', '2M', '-q', status=REFUSED, err=said(
        f'pool {grant.pool:016x}: 32M of 2M reached: its owner holds the rest'))
    wait_for(lambda: ctl('list', '-o', 'STATE', '--noheadings') == 'ready\n')


def test_stores_tenants_status(daemon, ctl):
    daemon.user(ALICE).create(4 * MIB, store='small')
    stores = {row['name']: row for row in json.loads(ctl('stores', '-J'))['stores']}
    assert (stores['main']['capacity'], stores['main']['free']) == (GIB, GIB)
    assert stores['small'] == {
        'name': 'small', 'kind': 'dir', 'state': 'available', 'capacity': 64 * MIB, 'charged': 4 * MIB,
        'free': 60 * MIB, 'pools': 1, 'page': stores['small']['page'], 'enforced': 'audit',
        'keeps': stores['small']['keeps'], 'dax': None, 'quota': None, 'seal': None, 'node': None, 'surplus': None, 'bad': None,
        'created': 1, 'released': 0, 'reason': None}
    tenants = {row['name']: row for row in json.loads(ctl('tenants', '-J'))['tenants']}
    assert tenants['default']['charged'] == 4 * MIB and tenants['default']['limit'] == 512 * MIB
    assert tenants['default']['maxpools'] == 100 and tenants['default']['stores'] == 'main small'
    status = json.loads(ctl('status', '-J'))
    assert (status['pools'], status['charged'], status['stores'], status['provisioner']) == (1, 4 * MIB, 2, True)
    assert ctl().startswith(f"  pmbrokerd: {status['version']}, pid {status['pid']}, up ")


def test_many_pools(daemon, ctl):
    user = daemon.user(ALICE)
    ids = [user.create(2 * MIB).pool for _ in range(100)]
    assert ctl('list', '-o', 'ID', '--noheadings').split() == [f'{id:016x}' for id in ids]


@needs_root
def test_strangers(daemon, ctl):
    pool = f'{daemon.user(ALICE).create(2 * MIB, name="web").pool:016x}'
    hidden = 'those of other users are shown to administrators only'
    assert ctl('list', user=BOB, err=said(f'note: no pools; {hidden}')) == ''
    assert ctl('list', '-o', 'ID', '--noheadings', user=ALICE) == f'{pool}\n'
    for who in (ALICE, BOB):
        assert ctl('status', user=who).count('\n') == 2
        for verb in ('stores', 'tenants'):
            ctl(verb, user=who, status=REFUSED, err=said('only the administrators may do this'))
        ctl('revoke', pool, user=who, status=REFUSED, err=said(f'pool {pool}: only the administrators may do this'))
    for words in [('show', pool), ('resize', pool, '4M')]:
        ctl(*words, user=BOB, status=NO_POOL, err=said(f'pool {pool}: there is no such pool'))
    ctl('revoke', 'web', user=BOB, status=NO_POOL, err=said(
        'pool web: there is no such pool (pools of other users are shown to administrators only)'))
    # A user's other processes see the pool, and may not touch it.
    assert pool in ctl('show', 'web', user=ALICE)
    ctl('resize', 'web', '4M', user=ALICE, status=REFUSED,
        err=said(f'pool {pool}: only the administrators may do this'))
