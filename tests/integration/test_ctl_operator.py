# SPDX-License-Identifier: BSD-3-Clause
"""What operators do by pmbrokerctl, word by word, with a daemon that says what the test wants."""

import json
import os
import re
import subprocess
import time

import pytest

from ctlrun import CTL, DONE, REFUSED, SECOND, UNREACHABLE, USAGE, ctl, fake, pool, said  # noqa: F401
from fakedaemon import refuse
from pmbproto import GIB, MIB, pb


# -------------------------------------------------------------------------------------------------------- sessions

def test_sessions(ctl, fake):
    fake.sessions = [
        pb.SessionRow(session=1, uid=0, pid=4711, command='web', unit='web.service', role=pb.ROLE_OWNER,
                      age_usec=90 * SECOND, requests=12, in_flight=2, unread=4096, pools=3, bytes=GIB),
        pb.SessionRow(session=5, uid=0, command='x', role=pb.ROLE_OBSERVER),
        pb.SessionRow(session=9, uid=0, pid=3, command='pmbrokerctl', role=pb.ROLE_ADMIN, watching=True),
    ]
    assert ctl('sessions') == '''\
SESSION USER  PID COMMAND     ROLE      AGE REQUESTS BUSY POOLS BYTES
      1 root 4711 web         owner    1min       12    2     3    1G
      5 root    - x           observer   0s        0    0     0    0B
      9 root    3 pmbrokerctl admin      0s        0    0     0    0B
'''
    assert fake.asked() == ['list_sessions'] * 2
    assert json.loads(ctl('sessions', '-J'))['sessions'][0] == {
        'session': 1, 'user': 'root', 'uid': 0, 'pid': 4711, 'command': 'web', 'unit': 'web.service', 'role': 'owner',
        'age': 90, 'requests': 12, 'busy': 2, 'unread': 4096, 'pools': 3, 'bytes': GIB, 'watching': False}


# ----------------------------------------------------------------------------------------------- drain, limits, reload

def test_drain(ctl, fake):
    assert ctl('drain', 'pmem0') == 'store pmem0: takes no new pools from now on\n'
    assert ctl('drain', '--undo', 'pmem0') == 'store pmem0: takes new pools again\n'
    assert [(m.store, m.undo) for name, m in fake.requests if name == 'drain_store'] == [('pmem0', False), ('pmem0', True)]
    assert json.loads(ctl('drain', 'pmem0', '-J')) == {'store': 'pmem0', 'drained': True, 'permanent': False}
    assert ctl('drain', 'pmem0', '-q') == ''
    fake.answers['drain_store'] = lambda session, packet: refuse('STORE_UNKNOWN')
    ctl('drain', 'nix', status=REFUSED, err=said('store nix: there is no such store for this tenant'))


def test_drained_stores(ctl, fake):
    for row in fake.stores:
        row.drained = True
    fake.stores[2].pools = 0
    assert ctl('stores', '-o', 'NAME,STATE', '--noheadings').split() == \
        ['pmem0', 'draining', 'cxl', 'unavailable', 'dev', 'drained']


ALL = 2**64 - 1


@pytest.mark.parametrize('words, expected', [
    (['Bytes=8G'], {'set': 1, 'bytes_max': 8 * GIB}),
    (['bytes=8G 25%'], {'set': 1, 'bytes_max': 8 * GIB, 'percent': 25}),
    (['BYTES=25%'], {'set': 1, 'bytes_max': ALL, 'percent': 25}),
    (['Bytes=infinity'], {'set': 1, 'bytes_max': ALL}),
    (['Pools=0', 'PoolBytes=2M'], {'set': 6, 'pool_bytes_max': 2 * MIB}),
    (['Pools=infinity', 'PoolBytes=infinity'], {'set': 6, 'pools_max': 2**32 - 1, 'pool_bytes_max': ALL}),
    (['Bytes=', 'Pools=7', 'PoolBytes='], {'set': 2, 'clear': 5, 'pools_max': 7}),
])
def test_set_limit(ctl, fake, words, expected):
    assert ctl('set-limit', 'batch', *words) == 'tenant batch: set until the broker restarts\n'
    assert fake.requests[-1] == ('set_limit', pb.SetLimit(tenant='batch', **expected))


@pytest.mark.parametrize('words, why', [
    (['Bytes'], "'Bytes' is not Bytes=, Pools= or PoolBytes="),
    (['=1'], "'=1' is not Bytes=, Pools= or PoolBytes="),
    (['Byte=1'], "'Byte=1' is not Bytes=, Pools= or PoolBytes="),
    (['Bytes=x'], "'x' is no value for Bytes="),
    (['Bytes= '], "' ' is no value for Bytes="),
    (['Bytes=1G 2G'], "'1G 2G' is no value for Bytes="),
    (['Bytes=101%'], "'101%' is no value for Bytes="),
    (['Pools=-1'], "'-1' is no value for Pools="),
    (['Pools=4294967296'], "'4294967296' is no value for Pools="),
    (['PoolBytes=25%'], "'25%' is no value for PoolBytes="),
    (['Pools=1', 'Pools='], 'Pools= is there twice'),
])
def test_set_limit_bad(ctl, fake, words, why):
    ctl('set-limit', 'batch', *words, status=USAGE, err=said(why))
    assert fake.requests == []


def test_set_limit_words(ctl, fake):
    assert ctl('set-limit', 'batch', 'Bytes=') == 'tenant batch: as configured, not set until the broker restarts\n'
    assert json.loads(ctl('set-limit', 'batch', 'Bytes=', 'Pools=3', '-J')) == {
        'tenant': 'batch', 'permanent': False, 'set': ['Pools'], 'cleared': ['Bytes']}
    ctl('set-limit', 'batch', 'Bytes=1G', '--config', '/x', status=USAGE,
        err=said('--config means nothing without --permanent'))
    fake.answers['set_limit'] = lambda session, packet: refuse('TENANT_UNKNOWN')
    ctl('set-limit', 'nix', 'Pools=3', status=REFUSED, err=said('tenant nix: there is no such tenant'))


def test_reload(ctl, fake):
    assert ctl('reload') == 'configuration read again\n'
    assert ctl('reload', '-q') == ''
    fake.answers['reload'] = lambda session, packet: {'reloaded': pb.ReloadReport(lines=['f:3: \u202ebad', 'f:4: worse'])}
    ctl('reload', status=REFUSED, err=said('f:3: \\xe2\\x80\\xaebad') + said('f:4: worse') +
        said('the old configuration stays'))
    assert json.loads(ctl('reload', '-J', status=REFUSED)) == {'applied': False, 'lines': ['f:3: \u202ebad', 'f:4: worse']}
    fake.answers['reload'] = lambda session, packet: {'reloaded': pb.ReloadReport(applied=True, lines=['away'])}
    assert ctl('reload', err=said('note: away')) == 'configuration read again\n'


# ------------------------------------------------------------------------------------------------- revoke, resize

def test_revoke_with_grace(ctl, fake):
    assert ctl('revoke', '3f9c', '--grace', '30') == 'pool 3f9c2b7a10d4e586: revoked\n'
    assert (fake.requests[-1][1].pool, fake.requests[-1][1].grace_sec) == (0x3f9c2b7a10d4e586, 30)
    for text, seconds in ('5min', 300), ('500ms', 1), ('24h', 86400), ('0', 0):
        ctl('revoke', '3f9c', '-q', '--grace', text)
        assert fake.requests[-1][1].grace_sec == seconds
    for text in 'x', '-1', '86401', '2d':
        ctl('revoke', '3f9c', '--grace', text, status=USAGE, err=said('--grace takes up to a day: 30, 5min, 1h'))


def test_resize_wait(ctl, fake):
    """Asked until the owner has given enough; not when somebody else makes it smaller."""
    sizes = [96 * MIB, 80 * MIB, 64 * MIB]
    fake.answers['resize_pool'] = lambda session, packet: {'size': pb.PoolSize(pool=packet.resize_pool.pool,
                                                                               size=sizes.pop(0))}
    assert ctl('resize', '3f9c2b7a10d4e586', '64M', '--wait') == 'pool 3f9c2b7a10d4e586: 64M\n'
    assert sizes == [] and fake.asked() == ['resize_pool'] * 3


# --------------------------------------------------------------------------------------------------------- monitor

EVENTS = [
    pb.Happened(kind=pb.POOL_CREATED, time_usec=1700000000123456, pool=0xabc, tenant='batch', store='pmem0', uid=7, pid=8,
                command='web', bytes=2 * MIB, text='pool 0000000000000abc: 2M'),
    pb.Happened(kind=pb.REQUEST_REFUSED, time_usec=1700000001000000, uid=7, pid=8, command='web', code=pb.QUOTA_BYTES,
                text='uid 7 refused \u202e', lost=3),
    pb.Happened(kind=99, time_usec=1, by_admin=True, by_uid=0, by_pid=5, text='news'),
]


def watched(session, packet):
    session.send(packet.serial, done=pb.Done())
    session.event(closing=pb.Closing())  # what is no event of this kind is passed over
    for event in EVENTS:
        session.event(happened=event)


def test_monitor(ctl, fake):
    fake.answers['watch'] = watched
    note = said('note: waiting for something to happen; an interrupt ends it')
    lost = said('note: 3 events were lost: this is read too slowly')
    assert ctl('monitor', '--count', '3', env={'TZ': 'UTC'}, err=note + lost) == '''\
2023-11-14 22:13:20.123 pool-created        pool 0000000000000abc: 2M
2023-11-14 22:13:21.000 request-refused     uid 7 refused \\xe2\\x80\\xae
1970-01-01 00:00:00.000 unknown             news
'''
    lines = [json.loads(line) for line in ctl('monitor', '--count', '3', '--json').splitlines()]
    assert lines[0] == {
        'event': 'pool-created', 'time_usec': 1700000000123456, 'pool': '0000000000000abc', 'tenant': 'batch',
        'store': 'pmem0', 'uid': 7, 'pid': 8, 'command': 'web', 'bytes': 2 * MIB, 'bytes_before': 0, 'lost': 0,
        'text': 'pool 0000000000000abc: 2M'}
    assert (lines[1]['refusal'], lines[1]['lost'], lines[1]['pool']) == ('quota-bytes', 3, None)
    assert (lines[2]['by_uid'], lines[2]['by_pid']) == (0, 5)


def test_monitor_ends_with_the_daemon(ctl, fake):
    def close(session, packet):
        session.send(packet.serial, done=pb.Done())
        session.event(closing=pb.Closing())
        return 'close'
    fake.answers['watch'] = close
    ctl('monitor', '-q', status=REFUSED, err=said(f'pmbrokerd at {fake.path} is shutting down'))
    for bad in '0', 'x', '-1':
        ctl('monitor', '--count', bad, status=USAGE, err=said('--count takes a number from 1 on'))


# ---------------------------------------------------------------------------------------------------------- create

def test_create_usage(ctl, fake):
    ctl('create', status=USAGE, err=said('create needs a --size'))
    for size in 'x', '0', '+1G', '-1G', '':
        ctl('create', f'--size={size}', status=USAGE, err=said(f"'{size}' is no size for --size: 64M, 1.5G are sizes"))
    ctl('create', '--size', '1G', '--max', 'x', status=USAGE, err=said("'x' is no size for --max: 64M, 1.5G are sizes"))
    ctl('create', '--size', '1G', '--name', 'A', status=USAGE,
        err=said("'A' is no name: 1 to 32 of a-z, 0-9, dot, underscore, hyphen"))
    assert fake.requests == []
    fake.answers['create_pool'] = lambda session, packet: {'grant': pb.PoolGrant(pool=1, size=2 * MIB)}
    ctl('create', '--size', '1G', status=REFUSED,
        err=said(f"what answers at {fake.path} does not speak pmbroker's protocol: a pool without its descriptor"))


# ------------------------------------------------------------------------------------------------------------ top

def test_top_usage(ctl):
    for words, why in [
            (('--interval', '1ms'), '--interval takes 100ms to 1h'),
            (('--interval', 'x'), '--interval takes 100ms to 1h'),
            (('--count', '0'), '--count takes a number from 1 on'),
            (('--sort', 'size'), "--sort takes limit, used, age, tenant, store, pid or id, not 'size'"),
            (('--json',), 'top is for people: see list, stores and tenants for --json and --raw')]:
        ctl('top', *words, status=USAGE, err=said(why))


def order_of(text):
    return re.findall(r'^([0-9a-f]{16}) ', text, re.M)


def test_top_order(ctl, fake):
    a, b, c = '3f9c2b7a10d4e586', '0000000000000abc', '3f00000000000001'
    for key, order in {'limit': [b, a, c], 'used': [a, b, c], 'age': [b, a, c], 'tenant': [b, a, c],
                       'store': [c, b, a], 'pid': [b, c, a], 'id': [b, c, a]}.items():
        assert order_of(ctl('top', '--sort', key)) == order, key
    assert ctl('top', '--count', '2', '--interval', '100ms').count('pmbrokerd 0.1.0') == 2


def test_top_shows_all_pools_to_a_pipe(ctl, fake):
    fake.pools = [pool(i + 1, f'p{i}') for i in range(300)]
    assert len(order_of(ctl('top'))) == 300


# ----------------------------------------------------------------------------------------------------------- check

@pytest.fixture
def machine(tmp_path):
    """A machine that is as it should be, below a directory; machine(path, text) changes it, None removes."""
    root = tmp_path / 'root'

    def put(path, text):
        file = root / path.lstrip('/')
        if text is None:
            file.unlink()
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    put('/proc/sys/kernel/osrelease', '6.1.0-28-amd64\n')
    put('/proc/sys/vm/max_map_count', '65530\n')
    put('/proc/sys/fs/file-max', '9223372036854775807\n')
    put('/proc/sys/vm/overcommit_memory', '0\n')
    put('/proc/filesystems', 'nodev\ttmpfs\n\text4\n')
    put('/proc/swaps', 'Filename Type Size Used Priority\n')
    put('/proc/812/limits', 'Limit                     Soft Limit           Hard Limit           Units     \n'
                            'Max open files            524288               524288               files     \n')
    put('/sys/bus/nd/drivers/nd_pmem/uevent', '')
    put('/sys/kernel/mm/transparent_hugepage/shmem_enabled', 'always within_size advise [never] deny force\n')
    put('/etc/pmbroker/pmbrokerd.conf', '[Broker]\n')
    bin = tmp_path / 'bin'
    bin.mkdir()

    def checked(ctl, *words, status=DONE):
        text = ctl('check', '--root', str(root), *words, '--json', status=status, env={'PATH': f'{bin}:{os.environ["PATH"]}'})
        return {(f['result'], f['check']): f for f in json.loads(text)['findings']}
    put.checked, put.root, put.bin = checked, root, bin
    return put


def well(fake):
    fake.stores = fake.stores[:1]
    fake.stores[0].dax = fake.stores[0].quota = fake.stores[0].seal = pb.HOLDS
    fake.stores.append(pb.StoreRow(name='ram', kind=pb.KIND_TMPFS, available=True, capacity=GIB, page_size=2 * MIB,
                                   enforced_by='kernel', keeps_pools=True))
    fake.status.keeps_pools, fake.status.releasing = True, 0


def test_check_of_a_good_machine(ctl, fake, machine):
    well(fake)
    found = machine.checked(ctl, '--config', '/etc/pmbroker/pmbrokerd.conf')
    assert {result for result, _ in found} <= {'ok', 'note'}, found
    assert {check for result, check in found if result == 'ok'} == {
        'socket', 'provisioner', 'store', 'dax', 'config', 'kernel', 'modules', 'huge-pages', 'nofile', 'max-map-count'}


@pytest.mark.parametrize('path, text, result, check', [
    ('/proc/sys/kernel/osrelease', '4.19.0\n', 'failure', 'kernel'),
    ('/proc/sys/kernel/osrelease', '5.10.0\n', 'warning', 'kernel'),
    ('/proc/sys/kernel/osrelease', 'x\n', 'note', 'kernel'),
    ('/proc/sys/vm/max_map_count', '1000\n', 'warning', 'max-map-count'),
    ('/proc/sys/vm/max_map_count', None, 'note', 'max-map-count'),
    ('/proc/sys/fs/file-max', '1000\n', 'warning', 'file-max'),
    ('/proc/sys/vm/overcommit_memory', '2\n', 'warning', 'overcommit'),
    ('/proc/812/limits', 'Max open files            1024                 524288               files\n', 'warning', 'nofile'),
    ('/proc/812/limits', 'x', 'note', 'nofile'),
    ('/sys/bus/nd/drivers/nd_pmem/uevent', None, 'ok', 'modules'),
    ('/sys/kernel/mm/transparent_hugepage/shmem_enabled', 'always [deny]\n', 'warning', 'huge-pages'),
    ('/sys/kernel/mm/transparent_hugepage/shmem_enabled', None, 'warning', 'huge-pages'),
    ('/proc/swaps', 'Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n', 'warning', 'swap'),
    ('/etc/pmbroker/pmbrokerd.conf', '[Broker]\nSessionsMax=many\n', 'failure', 'config'),
])
def test_check_finds(ctl, fake, machine, path, text, result, check):
    well(fake)
    machine(path, text)
    found = machine.checked(ctl, '--config', '/etc/pmbroker/pmbrokerd.conf', status=REFUSED if result == 'failure' else DONE)
    assert (result, check) in found, found
    assert found[result, check]['advice'] or result in ('ok', 'note')


def test_check_of_modules(ctl, fake, machine):
    well(fake)
    machine('/sys/bus/nd/drivers/nd_pmem/uevent', None)
    (machine.root / 'sys/bus/nd/drivers/nd_pmem').rmdir()
    assert 'nd_pmem' in machine.checked(ctl, status=REFUSED)['failure', 'modules']['finding']
    fake.stores = fake.stores[1:]  # nobody needs it
    assert not any(check == 'modules' for _, check in machine.checked(ctl))
    fake.stores[0].kind = pb.KIND_KMEM
    assert 'cannot add memory' in machine.checked(ctl, status=REFUSED)['failure', 'modules']['finding']
    machine('/sys/devices/system/memory/block_size_bytes', '8000000\n')
    assert 'no dax devices' in machine.checked(ctl, status=REFUSED)['failure', 'modules']['finding']
    machine('/sys/bus/dax/uevent', '')
    assert 'driver kmem' in machine.checked(ctl, status=REFUSED)['failure', 'modules']['finding']
    machine('/sys/bus/dax/drivers/kmem/uevent', '')
    assert ('ok', 'modules') in machine.checked(ctl)


def test_check_of_rights(ctl, fake, machine):
    well(fake)
    (machine.root / 'etc/pmbroker/pmbrokerd.conf').chmod(0o666)
    found = machine.checked(ctl, '--config', '/etc/pmbroker/pmbrokerd.conf', status=REFUSED)
    assert found['failure', 'permissions']['finding'] == \
        '/etc/pmbroker/pmbrokerd.conf, the configuration, can be written by others than root'


@pytest.mark.parametrize('change, status, result, check', [
    (lambda f: setattr(f.status, 'provisioner', False), REFUSED, 'failure', 'provisioner'),
    (lambda f: setattr(f.status, 'keeps_pools', False), DONE, 'warning', 'provisioner'),
    (lambda f: setattr(f.status, 'version', '9.9'), DONE, 'note', 'version'),
    (lambda f: setattr(f.status, 'releasing', 2), DONE, 'note', 'releasing'),
    (lambda f: setattr(f.stores[0], 'available', False), REFUSED, 'failure', 'store'),
    (lambda f: setattr(f.stores[0], 'drained', True), DONE, 'note', 'drained'),
    (lambda f: setattr(f.stores[0], 'dax', pb.DOES_NOT_HOLD), DONE, 'warning', 'dax'),
    (lambda f: setattr(f.stores[0], 'quota', pb.DOES_NOT_HOLD), REFUSED, 'failure', 'quota'),
    (lambda f: setattr(f.stores[0], 'seal', pb.DOES_NOT_HOLD), DONE, 'warning', 'seal'),
    (lambda f: setattr(f.stores[0], 'page_size', 4096), DONE, 'warning', 'pages'),
    (lambda f: setattr(f.stores[0], 'enforced_by', 'audit'), DONE, 'warning', 'enforcement'),
    (lambda f: setattr(f.stores[0], 'charged', 9 * GIB), DONE, 'warning', 'capacity'),
    (lambda f: f.stores.clear(), REFUSED, 'failure', 'store'),
    (lambda f: f.tenants.clear(), REFUSED, 'failure', 'tenants'),
    (lambda f: setattr(f.tenants[0], 'bytes', 9 * GIB), DONE, 'note', 'tenants'),
])
def test_check_of_the_daemon(ctl, fake, machine, change, status, result, check):
    well(fake)
    change(fake)
    assert (result, check) in machine.checked(ctl, status=status)


def test_check_without_daemon(ctl, fake, machine):
    for words, result in [(('-S', '/nonexistent'), 'failure')]:
        assert (result, 'socket') in machine.checked(ctl, *words, status=REFUSED)
    fake.admin = False
    fake.answers['list_stores'] = lambda session, packet: refuse('DENIED')
    assert ('note', 'socket') in machine.checked(ctl)


def test_check_for_people(ctl, fake, machine):
    well(fake)
    fake.stores[0].quota = pb.DOES_NOT_HOLD
    out = ctl('check', '--root', str(machine.root), status=REFUSED)
    assert '\nfailure  quota           store pmem0: the kernel does not hold its limits\n' in out
    assert out.endswith('1 failure, 0 warnings\n')
    assert ctl('check', '--root', str(machine.root), '-q', status=REFUSED) == ''
    assert 'failure quota' in ctl('check', '--root', str(machine.root), '-r', '-o', 'RESULT,CHECK', status=REFUSED)


# ------------------------------------------------------------------------------------------------------------ hosts

def test_what_cannot_be_done_over_ssh(ctl):
    for words, why in [
            (('create', '--size', '2M'), "create cannot be done over --host: a pool's descriptor does not travel; run it there"),
            (('check',), 'check cannot be done over --host: it looks at this machine; run it there'),
            (('bridge',), 'bridge cannot be done over --host: it is the far side of that itself'),
            (('set-limit', 'a', 'Pools=1', '--permanent'), '--permanent writes a file of that host: run it there')]:
        ctl('-H', 'db7', *words, status=USAGE, err=said(why))
    for host in '-oProxyCommand=x', '':
        ctl('-H', host, 'list', status=USAGE, err=said(f"'{host}' is no host; see pmbrokerctl --help"))


def test_ssh_that_fails(ctl):
    ctl('-H', 'db7', 'list', env={'PMBROKER_SSH': '/bin/false'}, status=UNREACHABLE,
        err=said('no pmbrokerd was reached on db7'))
    ctl('-H', 'db7', 'list', env={'PMBROKER_SSH': '/nonexistent'}, status=UNREACHABLE,
        err=said('cannot run /nonexistent: No such file or directory') + said('no pmbrokerd was reached on db7'))


@pytest.fixture
def ssh(tmp_path):
    """In place of ssh, a program that runs the command here, as sshd does: by a shell."""
    script = tmp_path / 'ssh'
    script.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/said\nshift 3\nPATH={CTL.parent}:$PATH exec sh -c "$*"\n')
    script.chmod(0o755)
    return script


def test_bridge(ctl, fake, ssh, tmp_path):
    """Every list is the same over there, however long; and a path is quoted."""
    fake.pools = [pool(i + 1, f'p{i}') for i in range(1000)]
    fake.pools[0].pool = 0x1111111111111111
    over = {'PMBROKER_SSH': str(ssh)}
    for words in [('list', '-o', 'ID,NAME,UID,LIMIT'), ('stores',), ('tenants', '-J'), ('show', '1' * 16, '-o', 'NAME'),
                  ('status',)]:
        there, here = ctl('-H', 'root@db7', *words, env=over), ctl(*words)
        assert there.splitlines()[:9] == here.splitlines()[:9] and there == here
    assert ctl('-H', 'db7', 'show', '1' * 16, '-o', 'USER', '--noheadings', env=over) == '0\n'  # root of which host?
    ctl('-H', 'root@db7', 'status', env=over)
    assert (tmp_path / 'said').read_text() == f"-xT -- root@db7 pmbrokerctl bridge --socket '{fake.path}'\n"


def test_bridge_quotes(fake, ssh, tmp_path):
    odd = tmp_path / "it's $(touch x) odd"
    os.symlink(fake.path, odd)
    result = subprocess.run([CTL, '-H', 'db7', '-S', odd, 'list', '-o', 'ID', '--noheadings'], capture_output=True, text=True,
                            env={'PMBROKER_SSH': str(ssh), 'PATH': os.environ['PATH']}, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (DONE, '') and result.stdout.count('\n') == 3
    assert not (tmp_path / 'x').exists()


def test_bridge_refuses_nonsense(fake):
    """Frames that are too long, empty or cut off end it."""
    for data, status in [(b'', DONE), (b'\0\0\0\0', REFUSED), (b'\xff\xff\xff\xff', REFUSED), (b'\0\0', REFUSED),
                         (b'\0\0\x40\x01' + b'x' * 100, REFUSED), (b'\0\0\0\x05abc', REFUSED)]:
        result = subprocess.run([CTL, '-S', fake.path, 'bridge'], input=data, capture_output=True, timeout=20)
        assert result.returncode == status, data
        assert (result.stderr == b'') == (status == DONE)


def test_bridge_without_daemon(fake, ssh):
    result = subprocess.run([CTL, '-H', 'db7', '-S', '/nonexistent', 'list'], capture_output=True, text=True,
                            env={'PMBROKER_SSH': str(ssh), 'PATH': os.environ['PATH']})
    assert result.returncode == UNREACHABLE
    assert result.stderr == (said('cannot reach pmbrokerd at /nonexistent: No such file or directory') +
                             said('no pmbrokerd was reached on db7'))


# ------------------------------------------------------------------------------------------------------------ speed

def test_top_is_cheap(fake, capsys):
    """A thousand pools: what the processor has to do for a screen, which comes every two seconds."""
    fake.pools = [pool(0x1000000000000000 + i, f'p{i}', uid=i % 50) for i in range(1000)]
    pages = [pb.PoolList(rows=fake.pools[i:i + 64], next=i + 64 if i + 64 < 1000 else 0).SerializeToString()
             for i in range(0, 1000, 64)]

    def page(session, packet):
        data = pages[packet.list_pools.after // 64]
        serial = pb.ServerPacket(serial=packet.serial).SerializeToString()
        return serial + b'\x72' + bytes([len(data) & 127 | 128, len(data) >> 7]) + data  # field 14
    fake.answers['list_pools'] = page
    n = 20
    start = time.monotonic()
    child = subprocess.Popen([CTL, '-S', fake.path, 'top', '--count', str(n), '--interval', '100ms'],
                             stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0 and time.monotonic() - start > (n - 1) * 0.1
    cost = (usage.ru_utime + usage.ru_stime) / n
    with capsys.disabled():
        print(f'\ntop: 1000 pools: {cost * 1e3:.1f} ms of processor time a screen, {cost / 2 * 100:.2f} % of a core')
    if b'__asan_' not in CTL.read_bytes():
        assert cost / 2 < 0.03
