# SPDX-License-Identifier: BSD-3-Clause
"""What operators do, with the real daemon: by the protocol and by pmbrokerctl."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from ctlrun import CTL, DONE, NO_POOL, REFUSED, USAGE, said
from daemon import ADMIN_GROUP, ALICE, BOB, CAROL, IS_ROOT, PMBROKERD, broker, needs_root, store, tenant, wait_for
from pmbproto import GIB, MIB, UNIT, Client, pb

OBSERVERS = 20200


@pytest.fixture
def daemon(start):
    sections = [broker(ShrinkTimeoutSec='1s', **({'AdminGroup': ADMIN_GROUP, 'ObserverGroup': OBSERVERS} if IS_ROOT else {})),
                store('main', 'dir', '1G'), store('small', 'dir', '64M'),
                tenant('default', Bytes='512M 50%', Pools='100')]
    daemon = start(*sections)
    daemon.sections = sections
    return daemon


@pytest.fixture
def ctl(daemon):
    def run(*words, status=DONE, err='', user=None, groups=()):
        who = {} if user is None else {'user': user, 'group': user, 'extra_groups': list(groups)}
        result = subprocess.run([CTL, '-S', daemon.socket, *words], capture_output=True, text=True, timeout=20, cwd='/',
                                env={'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8'}, **who)
        assert (result.returncode, result.stderr) == (status, err), result.stdout
        return result.stdout
    return run


# ------------------------------------------------------------------------------------------------------------ drain

def test_drain(daemon, ctl, refused):
    user = daemon.user(ALICE)
    kept = user.create(2 * MIB, max=8 * MIB, store='small').pool
    ctl('drain', 'small', '-q')
    assert daemon.stores()['small'].drained and not daemon.stores()['main'].drained
    assert ctl('stores', 'small', '-o', 'STATE', '--noheadings') == 'draining\n'
    with refused('STORE_DRAINED', subject='small'):
        user.create(2 * MIB, store='small')
    assert user.create(2 * MIB).store == 'main'  # the emptiest that takes some
    assert user.resize(kept, 4 * MIB).size == 4 * MIB
    user.drop(kept)
    wait_for(lambda: ctl('stores', 'small', '-o', 'STATE', '--noheadings') == 'drained\n')
    ctl('drain', 'main', '-q')
    with refused('STORE_UNAVAILABLE', subject=''):
        user.create(2 * MIB)
    ctl('drain', 'small', '--undo', '-q')
    assert user.create(2 * MIB).store == 'small'
    with refused('STORE_UNKNOWN'):
        daemon.admin.ask('drain_store', store='nix')


def test_drain_outlives_the_provisioner(daemon):
    """What the administrator has said is not forgotten when the stores are listed again."""
    daemon.admin.ask('drain_store', store='small')
    daemon.may_crash = True
    os.kill(daemon.child('provisioner'), signal.SIGKILL)
    wait_for(lambda: not daemon.status().provisioner)
    daemon.wait_until_ready()
    assert daemon.stores()['small'].drained


# ----------------------------------------------------------------------------------------------------------- limits

def test_limits_at_run_time(daemon, ctl, refused):
    user = daemon.user(ALICE)
    row = daemon.tenants()['default']
    assert (row.bytes_max, row.percent, row.overridden, row.bytes_limit) == (512 * MIB, 50, 0, 512 * MIB)
    ctl('set-limit', 'default', 'Bytes=6M', 'Pools=2', 'PoolBytes=4M', '-q')
    row = daemon.tenants()['default']
    assert (row.bytes_max, row.percent, row.pools_max, row.pool_bytes_max, row.overridden, row.bytes_limit) == \
        (6 * MIB, 0, 2, 4 * MIB, 7, 6 * MIB)
    with refused('QUOTA_POOL_SIZE', limit=4 * MIB, subject='default'):
        user.create(6 * MIB)
    user.create(4 * MIB)
    with refused('QUOTA_BYTES', limit=6 * MIB, used=4 * MIB):
        user.create(4 * MIB)
    user.create(2 * MIB)
    with refused('QUOTA_POOLS', limit=2, used=2):
        user.create(2 * MIB)
    assert daemon.tenants()['default'].refused == 3

    # What is in use stays, whatever the limit; and the other limits hold again when they are cleared.
    ctl('set-limit', 'default', 'Bytes=0', 'Pools=', 'PoolBytes=', '-q')
    row = daemon.tenants()['default']
    assert (row.bytes_max, row.bytes, row.pools_max, row.overridden) == (0, 6 * MIB, 100, pb.LIMIT_BYTES)
    with refused('QUOTA_BYTES', limit=0, used=6 * MIB):
        user.create(2 * MIB)
    ctl('set-limit', 'default', 'Bytes=25%', '-q')
    assert daemon.tenants()['default'].bytes_limit == (256 + 16) * MIB
    ctl('set-limit', 'default', 'Bytes=', '-q')
    assert daemon.tenants()['default'].overridden == 0
    user.create(2 * MIB)


def test_limits_outlive_a_reload(daemon, ctl):
    ctl('set-limit', 'default', 'Pools=7', '-q')
    daemon.configure(*daemon.sections[:-1], tenant('default', Bytes='256M', Pools='50'))
    ctl('reload', '-q')
    row = daemon.tenants()['default']
    assert (row.bytes_max, row.pools_max, row.overridden) == (256 * MIB, 7, pb.LIMIT_POOLS)
    ctl('set-limit', 'default', 'Pools=', '-q')
    assert daemon.tenants()['default'].pools_max == 50


def test_limits_that_cannot_be(daemon, refused):
    ask = daemon.admin.ask
    for fields in ({'set': 8}, {'clear': 8}, {'set': 1, 'clear': 1}, {'set': 1, 'percent': 101},
                   {'set': 1, 'bytes_max': (1 << 46) + 1}, {'set': 4, 'pool_bytes_max': UNIT - 1},
                   {'set': 4, 'pool_bytes_max': (1 << 46) + 1}):
        with refused('INVALID'):
            ask('set_limit', tenant='default', **fields)
    for name in 'nix', '':
        with refused('TENANT_UNKNOWN'):
            ask('set_limit', tenant=name, set=2, pools_max=1)
    assert daemon.tenants()['default'].overridden == 0


def test_permanent_limits(daemon, ctl):
    """A drop-in, the configuration read again, and nothing left at run time."""
    dropin = daemon.dir / 'pmbrokerd.conf.d/zz-set-limit-default.conf'
    permanently = ('set-limit', '--permanent', '--config', str(daemon.config), 'default')
    ctl('set-limit', 'default', 'Pools=3', '-q')
    assert ctl(*permanently, 'Pools=9', 'Bytes=128M 10%') == \
        f'tenant default: {dropin} written, configuration read again\n'
    assert dropin.read_text().splitlines()[1:] == ['[Tenant default]', 'Bytes=128M 10%', 'Pools=9']
    assert dropin.stat().st_mode & 0o777 == 0o644
    row = daemon.tenants()['default']
    assert (row.pools_max, row.bytes_max, row.percent, row.overridden) == (9, 128 * MIB, 10, 0)

    ctl(*permanently, 'Pools=', 'PoolBytes=64M', '-q')  # the others stay
    assert dropin.read_text().splitlines()[1:] == ['[Tenant default]', 'Bytes=128M 10%', 'PoolBytes=64M']
    assert daemon.tenants()['default'].pools_max == 100

    # What the daemon does not take is not kept.
    before = dropin.read_text()
    result = subprocess.run([CTL, '-S', daemon.socket, *permanently, 'PoolBytes=1M'], capture_output=True, text=True)
    assert result.returncode == REFUSED and 'PoolBytes=' in result.stderr
    assert result.stderr.endswith(said('the old configuration stays'))
    assert dropin.read_text() == before and daemon.tenants()['default'].pool_bytes_max == 64 * MIB

    ctl(*permanently, 'Bytes=', 'PoolBytes=', '-q')
    assert not dropin.exists() and list(dropin.parent.iterdir()) == []
    assert daemon.tenants()['default'].bytes_max == 512 * MIB
    ctl('set-limit', '--permanent', '--config', str(daemon.config), 'nix', 'Pools=1', status=REFUSED,
        err=said('tenant nix: there is no such tenant'))
    assert list(dropin.parent.iterdir()) == []


@needs_root
def test_permanent_limits_need_root(daemon, ctl):
    """An administrator who may not write the file may still set limits, and nothing is half done."""
    who = {'user': CAROL, 'groups': [ADMIN_GROUP]}
    path = daemon.dir / 'pmbrokerd.conf.d/zz-set-limit-default.conf'
    ctl('set-limit', '--permanent', '--config', str(daemon.config), 'default', 'Pools=1', status=REFUSED,
        err=said(f'cannot write {path}: Permission denied'), **who)
    assert daemon.tenants()['default'].pools_max == 100
    ctl('set-limit', 'default', 'Pools=1', '-q', **who)
    assert daemon.tenants()['default'].pools_max == 1


# ----------------------------------------------------------------------------------------------------------- reload

def test_reload(daemon, ctl):
    """Tenants and stores together."""
    daemon.configure(*daemon.sections, store('more', 'dir', '32M'), tenant('extra', User=BOB, Pools='1'))
    assert ctl('reload') == 'configuration read again\n'
    wait_for(lambda: daemon.stores()['more'].available)
    assert 'extra' in daemon.tenants()


def test_reload_of_a_bad_file(daemon, ctl):
    daemon.configure(*daemon.sections, '[Tenant x]\nPools=many\nUser=nobody-is-called-so\n')
    n = len(daemon.config.read_text().splitlines())
    ctl('reload', status=REFUSED, err=''.join(said(line) for line in [
        f'{daemon.config}:{n - 1}: [Tenant x] Pools=: "many" is not a number from 0 to 4294967295 or "infinity"',
        f'{daemon.config}:{n}: [Tenant x] User=: there is no user "nobody-is-called-so"',
        'the old configuration stays']))
    assert 'x' not in daemon.tenants()


def test_reload_that_the_provisioner_cannot_use(daemon, ctl):
    """A store with pools cannot go: then the tenants stay as they were, too."""
    daemon.user(ALICE).create(2 * MIB, store='small')
    daemon.configure(daemon.sections[0], daemon.sections[1], tenant('default', Pools='5'))
    ctl('reload', status=REFUSED, err=said('store small: it holds pools, and cannot go or be changed so') +
        said('the old configuration stays'))
    assert daemon.tenants()['default'].pools_max == 100 and daemon.stores()['small'].available


def test_reload_without_provisioner(daemon):
    daemon.may_crash = True
    os.kill(daemon.child('provisioner'), signal.SIGSTOP)
    os.kill(daemon.child('provisioner'), signal.SIGKILL)
    wait_for(lambda: not daemon.status().provisioner)
    report = daemon.admin.ask('reload')
    assert report.applied and (report.lines == ['the provisioner is away: it reads the configuration when it starts'] or
                               daemon.status().provisioner)
    daemon.wait_until_ready()


# ----------------------------------------------------------------------------------------------------------- revoke

def test_revoke_with_grace(daemon, ctl, refused):
    user = daemon.user(ALICE)
    pool, other = user.create(4 * MIB).pool, user.create(2 * MIB).pool
    child = subprocess.Popen([CTL, '-S', daemon.socket, '-q', 'revoke', '--grace', '2', f'{pool:016x}'])
    begin = time.monotonic()
    event = user.event('revoking')
    assert (event.pool, event.grace_usec) == (pool, 2000000)
    row = {r.pool: r for r in daemon.pools()}
    assert 0 < row[pool].grace_usec <= 2000000 and row[other].grace_usec == 0
    assert ctl('list', '-o', 'GRACE', '--noheadings').split()[1] == '-'
    user.fill(pool, 1)  # still its own
    assert child.poll() is None
    assert user.event('revoked', 5).pool == pool
    assert 1.5 < time.monotonic() - begin < 4
    assert child.wait(5) == DONE
    with refused('INVALID', asked=86401):
        daemon.admin.ask('revoke_pool', pool=other, grace_sec=86401)
    daemon.admin.send('revoke_pool', pool=other, grace_sec=86400)
    assert user.event('revoking').grace_usec == 86400 * 1000000


def test_owner_uses_the_grace(daemon):
    """It lets go by itself, and whoever wanted the pool revoked has the answer then."""
    user = daemon.user(ALICE)
    pool = user.create(4 * MIB).pool
    child = subprocess.Popen([CTL, '-S', daemon.socket, '-q', 'revoke', '--grace', '60', f'{pool:016x}'])
    user.event('revoking')
    user.drop(pool)
    assert child.wait(5) == DONE
    assert user.event('revoked', 0.1) is None


def test_grace_is_replaced(daemon):
    user = daemon.user(ALICE)
    pool = user.create(4 * MIB).pool
    child = subprocess.Popen([CTL, '-S', daemon.socket, '-q', 'revoke', '--grace', '60', f'{pool:016x}'])
    user.event('revoking')
    child.send_signal(signal.SIGINT)  # the grace goes on
    child.wait(5)
    assert daemon.pools()[0].grace_usec > 50000000
    daemon.admin.revoke(pool)
    assert user.event('revoked').pool == pool


# ----------------------------------------------------------------------------------------------------------- create

def test_create_for_a_command(daemon, ctl):
    script = '''
        printf '%s %s %s ' $PMBROKER_POOL $PMBROKER_SIZE $PMBROKER_LENGTH
        stat -L -c %s /proc/self/fd/$PMBROKER_FD
        printf hello >/proc/self/fd/$PMBROKER_FD || exit 9
        exit 7'''
    out = ctl('create', '--size', '5M', '--max', '8M', '--store', 'small', '--name', 'x', '--', 'sh', '-c', script, status=7)
    id, size, length, seen = out.split()
    assert (int(size), int(length), int(seen)) == (6 * MIB, 6 * MIB, 6 * MIB) and len(id) == 16
    wait_for(lambda: daemon.pools() == [])


@pytest.mark.parametrize('words, status, err', [
    (('/nonexistent',), 127, said('cannot run /nonexistent: No such file or directory')),
    (('/',), 126, said('cannot run /: Permission denied')),
    (('sh', '-c', 'kill -9 $$'), 137, ''),
    (('true',), 0, ''),
])
def test_create_ends_as_the_command(daemon, ctl, words, status, err):
    ctl('create', '--size', '2M', '--', *words, status=status, err=err)
    wait_for(lambda: daemon.pools() == [])


def test_create_refused(daemon, ctl):
    ctl('create', '--size', '2G', '--', 'false', status=REFUSED,
        err=said('tenant default has 0B of 512M in use, 2G more were asked for'))


def test_create_holds(daemon, ctl):
    child = subprocess.Popen([CTL, '-S', daemon.socket, 'create', '--size', '2M', '--name', 'held'], stdout=subprocess.PIPE,
                             text=True)
    id = child.stdout.readline().strip()
    assert ctl('list', '-o', 'ID,NAME,LIMIT', '--noheadings').split() == [id, 'held', '2M']
    time.sleep(0.3)
    assert child.poll() is None
    child.terminate()
    assert child.wait(5) == DONE
    wait_for(lambda: daemon.pools() == [])


def test_create_outlives_the_broker(daemon, ctl):
    """The holder introduces itself again; the command notices nothing."""
    child = subprocess.Popen([CTL, '-S', daemon.socket, 'create', '--size', '2M', '--', 'sh', '-c', 'read x; exit 3'],
                             stdin=subprocess.PIPE)
    id = wait_for(lambda: [r.pool for r in daemon.pools()])
    daemon.may_crash = True
    os.kill(daemon.child('broker'), signal.SIGKILL)
    daemon.wait_until_ready()
    time.sleep(2)  # ReconnectSec=1s is over
    assert [r.pool for r in daemon.pools()] == id
    child.communicate(b'\n')
    assert child.returncode == 3


def test_create_and_revoke(daemon, ctl):
    child = subprocess.Popen([CTL, '-S', daemon.socket, 'create', '--size', '2M'], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    id = child.stdout.readline().strip()
    ctl('revoke', id, '-q')
    assert child.communicate(timeout=5)[1] == said(f'pool {id}: revoked')
    assert child.returncode == REFUSED


def test_create_passes_signals_on(daemon):
    child = subprocess.Popen([CTL, '-S', daemon.socket, 'create', '--size', '2M', '--', 'sh', '-c',
                              'trap "exit 5" TERM; echo ready; while :; do sleep 0.05; done'], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == 'ready\n'
    child.terminate()
    assert child.wait(5) == 5


# --------------------------------------------------------------------------------------------------------- sessions

def test_sessions(daemon, ctl):
    user = daemon.user(ALICE)
    user.create(4 * MIB)
    user.create(2 * MIB)
    rows = json.loads(ctl('sessions', '-J'))['sessions']
    row, = [r for r in rows if r['pid'] == user.process.pid]
    assert (row['uid'], row['pools'], row['bytes'], row['role'], row['busy']) == \
        (ALICE if IS_ROOT else os.geteuid(), 2, 6 * MIB, 'owner' if IS_ROOT else 'admin', 0)
    assert row['requests'] == 3
    ours, = [r for r in rows if r['command'] == 'pmbrokerctl']
    assert (ours['role'], ours['busy'], ours['watching']) == ('admin', 1, False)
    assert [r['session'] for r in rows] == sorted(r['session'] for r in rows)


def test_many_sessions(daemon, ctl):
    clients = [Client(daemon.socket) for _ in range(150)]
    assert len(json.loads(ctl('sessions', '-J'))['sessions']) == len(clients) + 2
    for client in clients:
        client.close()


# -------------------------------------------------------------------------------------------------- who may do what

@needs_root
def test_observers_look_and_change_nothing(daemon, refused):
    user = daemon.user(ALICE)
    pool = user.create(2 * MIB).pool
    observer = daemon.user(BOB, groups=[OBSERVERS])
    assert not observer.hello().admin
    assert [r.pool for r in observer.pools()] == [pool]
    assert observer.pool(pool).uid == ALICE
    assert observer.status().pools == 1
    assert set(observer.stores()) == {'main', 'small'} and set(observer.tenants()) == {'default'}
    assert len(observer.ask('list_sessions').rows) == 3
    assert observer.ask('get_metrics').sessions_total >= 3
    for body, fields in [('revoke_pool', {'pool': pool}), ('resize_pool', {'pool': pool, 'size': 4 * MIB}), ('watch', {}),
                         ('drain_store', {'store': 'main'}), ('set_limit', {'tenant': 'default', 'clear': 1}),
                         ('reload', {}), ('provision', {'store': 'main'}), ('deprovision', {'store': 'main'})]:
        with refused('DENIED'):
            observer.ask(body, **fields)
    assert observer.create(2 * MIB).size == 2 * MIB  # it is an owner besides


@needs_root
@pytest.mark.parametrize('body', ['list_sessions', 'get_metrics', 'watch', 'drain_store', 'set_limit', 'reload'])
def test_users_are_denied(daemon, refused, body):
    user = daemon.user(ALICE)
    with refused('DENIED'):
        user.ask(body)


# --------------------------------------------------------------------------------------------------- drained for good

def is_drained(daemon, name='small'):
    row = daemon.stores()[name]
    return row.drained, row.drained_configured


def test_permanent_drain(daemon, ctl):
    """A drop-in, which the next broker reads, too; --undo removes it."""
    dropin = daemon.dir / 'pmbrokerd.conf.d/zz-drain-small.conf'
    permanently = ('drain', '--permanent', '--config', str(daemon.config))
    assert ctl(*permanently, 'small') == 'store small: takes no new pools from now on\n'
    assert dropin.read_text().splitlines()[1:] == ['[Store small]', 'Drained=yes']
    assert is_drained(daemon) == (True, True) and is_drained(daemon, 'main') == (False, False)

    daemon.may_crash = True
    os.kill(daemon.child('broker'), signal.SIGKILL)
    daemon.wait_until_ready()
    assert is_drained(daemon) == (True, True)
    os.kill(daemon.child('provisioner'), signal.SIGKILL)
    wait_for(lambda: daemon.admin.ask('get_metrics').provisioner_lost == 1)
    daemon.wait_until_ready()
    assert is_drained(daemon) == (True, True)

    # At run time it may be otherwise, also when the configuration is read again; but not for the next broker.
    ctl('drain', 'small', '--undo', '-q')
    ctl('reload', '-q')
    assert is_drained(daemon) == (False, True)
    os.kill(daemon.child('broker'), signal.SIGKILL)
    daemon.wait_until_ready()
    assert is_drained(daemon) == (True, True)

    assert json.loads(ctl(*permanently, 'small', '--undo', '--json')) == {'store': 'small', 'drained': False, 'permanent': True}
    assert not dropin.exists() and is_drained(daemon) == (False, False)
    ctl(*permanently, 'small', '--undo', '-q')  # nothing to remove


def test_permanent_drain_that_cannot_be(daemon, ctl):
    dropins = daemon.dir / 'pmbrokerd.conf.d'
    permanently = ('drain', '--permanent', '--config', str(daemon.config))
    ctl(*permanently, 'nix', status=REFUSED, err=said('store nix: there is no such store'))
    assert not dropins.exists()
    ctl('drain', 'small', '--config', 'x', status=USAGE, err=said('--config means nothing without --permanent'))

    # Somebody else's file stays, and is said to be there.
    dropins.mkdir()
    (dropins / 'mine.conf').write_text('[Store small]\nDrained=yes\n')
    ctl('reload', '-q')
    assert is_drained(daemon) == (True, True)
    ctl(*permanently, 'small', '--undo', status=REFUSED, err=said('store small: another file of the configuration has Drained=yes'))
    assert is_drained(daemon) == (True, True)
    (dropins / 'mine.conf').write_text('[Store small]\nDrained=no\n')
    ctl('reload', '-q')
    assert is_drained(daemon) == (False, False)

    # A drop-in that the daemon does not take is not kept.
    (dropins / 'bad.conf').write_text('[Nix]\n')
    result = subprocess.run([CTL, '-S', daemon.socket, *permanently, 'small'], capture_output=True, text=True)
    assert result.returncode == REFUSED and result.stderr.endswith(said('the old configuration stays'))
    assert sorted(p.name for p in dropins.iterdir()) == ['bad.conf', 'mine.conf'] and is_drained(daemon) == (False, False)


# ----------------------------------------------------------------------------------------------------------- events

def test_monitor(daemon, ctl):
    child = subprocess.Popen([CTL, '-S', daemon.socket, 'monitor', '--json', '--count', '9'], stdout=subprocess.PIPE,
                             text=True)
    wait_for(lambda: any(r.watching for r in daemon.admin.ask('list_sessions').rows))
    user = daemon.user(ALICE)
    pool = user.create(4 * MIB, max=8 * MIB, name='web', store='small').pool
    user.resize(pool, 8 * MIB)
    user.give_back(pool, (3, 1))
    with pytest.raises(Exception, match='POOL_MAX'):
        user.resize(pool, 16 * MIB)
    ctl('set-limit', 'default', 'Pools=50', '-q')
    ctl('drain', 'main', '-q')
    ctl('reload', '-q')
    ctl('revoke', f'{pool:016x}', '-q')
    user.process.kill()
    events = [json.loads(line) for line in child.communicate(timeout=10)[0].splitlines()]
    assert [e['event'] for e in events] == [
        'pool-created', 'pool-resized', 'pool-resized', 'request-refused', 'limit-set', 'store-drained', 'config-reloaded',
        'pool-revoked', 'pool-released']
    assert [(e['bytes_before'], e['bytes']) for e in events if e['pool']] == [
        (0, 4 * MIB), (4 * MIB, 8 * MIB), (8 * MIB, 6 * MIB), (6 * MIB, 6 * MIB), (6 * MIB, 0)]
    assert {e['pool'] for e in events} == {f'{pool:016x}', None}
    uid = ALICE if IS_ROOT else os.geteuid()
    assert all((e['uid'], e['pid']) == (uid, user.process.pid) for e in events if e['pool'])
    assert all(('by_uid' in e) == (e['event'] in ('limit-set', 'store-drained', 'config-reloaded', 'pool-revoked'))
               for e in events)
    assert (events[3]['refusal'], events[3]['uid']) == ('pool-max', uid)
    assert events[4]['text'].startswith('tenant default has other limits: Pools=50; uid ')
    assert (events[0]['tenant'], events[0]['store'], events[0]['lost']) == ('default', 'small', 0)


def test_monitor_tells_of_stores(daemon):
    """Whatever makes a store unavailable, and available again, is told once for each store."""
    came = [('store-available', name, f'store {name} is available: {size} of dir') for name, size in
            (('main', '1G'), ('small', '64M'))]
    away = [('store-unavailable', name, f'store {name} is not available: the provisioner is away') for name in ('main', 'small')]
    child = subprocess.Popen([CTL, '-S', daemon.socket, 'monitor', '--json', '--count', '9'], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: any(r.watching for r in daemon.admin.ask('list_sessions').rows))
    daemon.may_crash = True
    for times in 1, 2:
        os.kill(daemon.child('provisioner'), signal.SIGKILL)
        wait_for(lambda: daemon.admin.ask('get_metrics').provisioner_lost == times)
        daemon.wait_until_ready()
    daemon.user(ALICE).create(2 * MIB)  # the ninth
    events = [json.loads(line) for line in child.communicate(timeout=20)[0].splitlines()]
    assert [(e['event'], e['store'], e['text']) for e in events[:-1]] == 2 * (away + came)
    assert events[-1]['event'] == 'pool-created'


def test_watchers_that_do_not_read_cost_nothing(daemon):
    """Events for them are dropped, and counted; nobody else waits."""
    watcher = Client(daemon.socket)
    watcher.ask('watch')
    watcher.sock.setsockopt(1, 8, 4096)  # SO_RCVBUF
    user = daemon.user(ALICE)
    for _ in range(400):
        user.drop(user.create(2 * MIB).pool)
    lost = daemon.admin.ask('get_metrics').events_lost
    assert lost > 0
    got = []
    while True:
        event = watcher.event('happened', 0.2)
        if event is None:
            break
        got.append(event)
    user.drop(user.create(2 * MIB).pool)
    got.append(watcher.event('happened'))
    assert sum(e.lost for e in got) == lost and len(got) + lost >= 800
    watcher.close()


def test_refusals_are_told_seldom(daemon):
    """Ten at once, then one a second, which says how many were left out."""
    watcher = Client(daemon.socket)
    watcher.ask('watch')
    user = daemon.user(ALICE)
    begin = time.monotonic()
    for _ in range(50):
        with pytest.raises(Exception, match='QUOTA'):
            user.create(GIB)
    time.sleep(1.1)
    with pytest.raises(Exception, match='QUOTA'):
        user.create(GIB)
    events = []
    while (event := watcher.event('happened', 0.3)) is not None:
        events.append(event)
    assert 11 <= len(events) <= 11 + time.monotonic() - begin
    assert all(e.kind == pb.REQUEST_REFUSED and e.code == pb.QUOTA_BYTES for e in events)
    untold = [int(n) for e in events for n in re.findall(r'and (\d+) more before it', e.text)]
    assert len(events) + sum(untold) == 51 and untold
    refusals = {r.code: r.count for r in daemon.admin.ask('get_metrics').refusals}
    assert refusals[pb.QUOTA_BYTES] == 51
    watcher.close()


def test_pools_of_strangers_are_not_revoked_by_a_name(daemon, ctl):
    ctl('revoke', 'nix', '--grace', '3', status=NO_POOL, err=said('pool nix: there is no such pool'))


def test_check_config_without_a_file(daemon):
    """It is said which file there is not, and that the defaults would hold."""
    result = subprocess.run([PMBROKERD, '--check-config', '--config', '/nonexistent.conf'], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, '')
    assert result.stderr == ('/nonexistent.conf: No such file or directory\n'
                             'Without --config the defaults hold when there is no file.\n')
