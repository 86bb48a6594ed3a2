# SPDX-License-Identifier: BSD-3-Clause
"""pmbrokerctl against a daemon that says what the test wants: every byte of what comes out, and how it ends."""

import array
import fcntl
import json
import os
import pathlib
import pty
import pwd
import re
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from fakedaemon import FakeDaemon, hang_up, refuse
from pmbproto import GIB, MIB, ROOT, pb

CTL = pathlib.Path(os.environ.get('PMBROKERCTL') or ROOT / os.environ.get('BUILD', 'build') / 'pmbrokerctl')
VERBS = ('status', 'list', 'show', 'stores', 'tenants', 'resize', 'revoke')
DONE, REFUSED, USAGE, UNREACHABLE, NO_POOL = range(5)

SECOND = 1000000
NAMELESS_UID = 3141592


@pytest.fixture
def fake(tmp_path):
    daemon = FakeDaemon(tmp_path / 's')
    daemon.pools = [
        pool(0x3f9c2b7a10d4e586, 'web', pid=4711, size=64 * MIB, used=66 * MIB, age_usec=200 * SECOND),
        pool(0x0000000000000abc, '', command='redis-server', uid=NAMELESS_UID, pid=0, size=3 * GIB // 2,
             used_known=False, state=pb.STATE_RESIZING, target=GIB, length=2 * GIB, max=4 * GIB, age_usec=90000 * SECOND),
        pool(0x3f00000000000001, 'cache', tenant='default', store='dev', size=2 * MIB, used=0, audited=True,
             state=pb.STATE_RELEASING, age_usec=0),
    ]
    daemon.stores = [
        pb.StoreRow(name='pmem0', kind=pb.KIND_FSDAX, available=True, capacity=8 * GIB, charged=3 * GIB // 2, pools=2,
                    page_size=2 * MIB, enforced_by='kernel', keeps_pools=True),
        pb.StoreRow(name='cxl', kind=pb.KIND_KMEM, enforced_by='kernel', reason='preparing'),
        pb.StoreRow(name='dev', kind=pb.KIND_DIR, available=True, capacity=GIB, charged=2 * GIB, pools=1,
                    page_size=4096, enforced_by='audit'),
    ]
    daemon.tenants = [
        pb.TenantRow(name='batch', bytes=3 * GIB // 2, bytes_max=8 * GIB, pools=2, pools_max=16, pool_bytes_max=4 * GIB,
                     stores='pmem0 dev'),
        pb.TenantRow(name='both', bytes_max=GIB, percent=50, pools_max=8, pool_bytes_max=2**64 - 1),
        pb.TenantRow(name='default', bytes=2 * MIB, percent=25, pools=1, pools_max=2**32 - 1, pool_bytes_max=2**64 - 1),
    ]
    daemon.status = pb.Status(version='0.1.0', uptime_usec=7300 * SECOND, sessions=14, sessions_max=4096, pools=3,
                              bytes=3 * GIB // 2, capacity=9 * GIB, stores=3, stores_available=2, provisioner=True,
                              keeps_pools=False, releasing=1, refusals=5, pid=812)
    yield daemon
    daemon.stop()


def pool(id, name, **fields):
    fields = {'tenant': 'batch', 'command': name, 'store': 'pmem0', 'uid': 0, 'pid': 100, 'size': 2 * MIB,
              'used_known': True, 'state': pb.STATE_READY, **fields}
    fields.setdefault('length', fields['size'])
    fields.setdefault('max', fields['size'])
    return pb.PoolRow(pool=id, name=name, **fields)


@pytest.fixture
def ctl(fake):
    """ctl(word, ...) runs pmbrokerctl, checks how it ends, and returns what it printed."""
    def run(*words, status=DONE, err='', locale='C.UTF-8', env=None, socket_option=True):
        where = ['--socket', fake.path] if socket_option else []
        result = subprocess.run([CTL, *where, *words], capture_output=True, timeout=20, encoding='utf-8',
                                env={'PATH': os.environ['PATH'], 'LC_ALL': locale, **(env or {})})
        assert (result.returncode, result.stderr) == (status, err), result.stdout
        return result.stdout
    return run


def said(text):
    return f'pmbrokerctl: {text}\n'


def no_daemon(path, why):
    return said(f'cannot reach pmbrokerd at {path}: {why}; is pmbrokerd.socket active? See systemctl status '
                'pmbrokerd.socket, or name another socket with --socket PATH')


# ------------------------------------------------------------------------------------------------------------ list

def test_list(ctl):
    assert ctl('list') == f'''\
ID               NAME  TENANT  USER     PID COMMAND      STORE LIMIT USED STATE      AGE
3f9c2b7a10d4e586 web   batch   root    4711 web          pmem0   64M  66M ready     3min
0000000000000abc -     batch   {NAMELESS_UID}    - redis-server pmem0  1.5G    - resizing    1d
3f00000000000001 cache default root     100 cache        dev      2M   0B releasing   0s
'''


def test_list_bytes(ctl):
    assert ctl('list', '--bytes', '-o', 'ID,LIMIT,USED') == '''\
ID                    LIMIT     USED
3f9c2b7a10d4e586   67108864 69206016
0000000000000abc 1610612736        -
3f00000000000001    2097152        0
'''


def test_list_columns(ctl):
    assert ctl('list', '-o', 'id,UID,MAX,LENGTH,TARGET,ENFORCED') == f'''\
ID                   UID MAX LENGTH TARGET ENFORCED
3f9c2b7a10d4e586       0 64M    64M      - kernel
0000000000000abc {NAMELESS_UID}  4G     2G     1G kernel
3f00000000000001       0  2M     2M      - audit
'''
    assert ctl('list', '-o', '+MAX', '--noheadings').splitlines()[0].split() == \
        '3f9c2b7a10d4e586 web batch root 4711 web pmem0 64M 66M ready 3min 64M'.split()
    assert ctl('list', '--noheadings', '-o', 'ID') == '3f9c2b7a10d4e586\n0000000000000abc\n3f00000000000001\n'


def test_list_raw(ctl, fake):
    fake.pools[0].command = 'a b'
    assert ctl('list', '-r', '-o', 'ID,NAME,COMMAND') == '''\
ID NAME COMMAND
3f9c2b7a10d4e586 web a\\x20b
0000000000000abc - redis-server
3f00000000000001 cache cache
'''


def test_list_json(ctl):
    out = ctl('list', '--json')
    rows = json.loads(out)['pools']
    assert rows[0] == {
        'id': '3f9c2b7a10d4e586', 'name': 'web', 'tenant': 'batch', 'user': 'root', 'uid': 0, 'pid': 4711,
        'command': 'web', 'store': 'pmem0', 'limit': 64 * MIB, 'used': 66 * MIB, 'max': 64 * MIB, 'length': 64 * MIB,
        'target': None, 'state': 'ready', 'enforced': 'kernel', 'age': 200}
    assert rows[1] == {
        'id': '0000000000000abc', 'name': None, 'tenant': 'batch', 'user': str(NAMELESS_UID), 'uid': NAMELESS_UID,
        'pid': None, 'command': 'redis-server', 'store': 'pmem0', 'limit': 3 * GIB // 2, 'used': None, 'max': 4 * GIB,
        'length': 2 * GIB, 'target': GIB, 'state': 'resizing', 'enforced': 'kernel', 'age': 90000}
    assert rows[2]['enforced'] == 'audit' and rows[2]['used'] == 0
    assert ctl('list', '-J', '--bytes') == out
    assert ctl('list', '-J', '-o', 'ID,LIMIT') == '''\
{
   "pools": [
      {"id": "3f9c2b7a10d4e586", "limit": 67108864},
      {"id": "0000000000000abc", "limit": 1610612736},
      {"id": "3f00000000000001", "limit": 2097152}
   ]
}
'''


def test_list_empty(ctl, fake):
    fake.pools = []
    assert ctl('list', err=said('note: no pools')) == ''
    assert ctl('list', '-q') == ''
    assert ctl('list', '-q', '--json') == '{\n   "pools": []\n}\n'
    fake.admin = False
    ctl('list', err=said('note: no pools; those of other processes are shown to administrators only'))


def test_list_unknown_state(ctl, fake):
    """What a newer daemon may say."""
    fake.pools = [pool(1, 'x')]
    fake.pools[0].state = 17
    assert ctl('list', '-o', 'STATE', '--noheadings') == 'unknown\n'


@pytest.mark.parametrize('n', [1, 63, 64, 65, 128, 1000])
def test_list_pages(ctl, fake, n):
    fake.pools = [pool(0x1000000000000000 + i, f'p{i}', uid=i % 50) for i in range(n)]
    out = ctl('list', '-o', 'ID,NAME', '--noheadings', '-r')
    assert out == ''.join(f'{0x1000000000000000 + i:016x} p{i}\n' for i in range(n))
    assert fake.asked() == ['list_pools'] * -(-n // 64)
    assert len(json.loads(ctl('list', '-J'))['pools']) == n


def test_list_page_without_rows(ctl, fake):
    """All pools of a page may go while it is made."""
    pages = {0: ([1], 5), 5: ([], 9), 9: ([2], 0)}

    def page(session, packet):
        rows, following = pages[packet.list_pools.after]
        return {'pools': pb.PoolList(rows=[pool(i, '') for i in rows], next=following)}
    fake.answers['list_pools'] = page
    assert ctl('list', '-o', 'ID', '--noheadings') == '0000000000000001\n0000000000000002\n'


@pytest.mark.parametrize('following', [1, 5, 2**64 - 1])
def test_list_without_end(ctl, fake, following):
    fake.answers['list_pools'] = lambda session, packet: {'pools': pb.PoolList(next=following)}
    ctl('list', status=REFUSED,
        err=said(f"what answers at {fake.path} does not speak pmbroker's protocol: a list without an end"))


def test_list_is_fast(fake):
    """1000 pools of as many users in less than 50 ms."""
    rows = [pool(0x1000000000000000 + i, f'p{i}', uid=100000 + i // 10) for i in range(1000)]
    pages = [pb.PoolList(rows=rows[i:i + 64], next=i + 64 if i + 64 < 1000 else 0).SerializeToString()
             for i in range(0, 1000, 64)]

    def page(session, packet):
        data = pages[packet.list_pools.after // 64]
        serial = pb.ServerPacket(serial=packet.serial).SerializeToString()
        return serial + b'\x72' + bytes([len(data) & 127 | 128, len(data) >> 7]) + data  # field 14
    fake.answers['list_pools'] = page
    best = 9
    for _ in range(10):
        start = time.monotonic()
        out = subprocess.run([CTL, '-S', fake.path, 'list'], stdout=subprocess.PIPE, check=True).stdout
        best = min(best, time.monotonic() - start)
        assert out.count(b'\n') == 1001
    if b'__asan_' not in CTL.read_bytes():
        assert best < 0.05


# ------------------------------------------------------------------------------------------- what others called it

HOSTILE = '\u202egnp.exe\u200b \\x1b[31m \u00e4 \u6f22'


def test_hostile_text(ctl, fake):
    """Control characters cannot come over the wire (see test_control_characters); the rest that is harmful can."""
    fake.pools = [pool(1, 'x', command=HOSTILE)]
    assert ctl('list', '-o', 'COMMAND', '--noheadings') == \
        '\\xe2\\x80\\xaegnp.exe\\xe2\\x80\\x8b \\x5cx1b[31m \u00e4 \u6f22\n'
    assert ctl('list', '-o', 'COMMAND', '--noheadings', locale='C') == \
        '\\xe2\\x80\\xaegnp.exe\\xe2\\x80\\x8b \\x5cx1b[31m \\xc3\\xa4 \\xe6\\xbc\\xa2\n'
    assert '"command": "\\u202egnp.exe\\u200b \\\\x1b[31m \\u00e4 \\u6f22"' in ctl('list', '-J')
    assert json.loads(ctl('list', '-J'))['pools'][0]['command'] == HOSTILE
    for words in [('list',), ('list', '-r'), ('list', '-J'), ('show', '1' * 16), ('show', '1' * 16, '-J')]:
        fake.pools[0].pool = 0x1111111111111111
        for locale in ['C', 'C.UTF-8']:
            assert '\u202e' not in ctl(*words, locale=locale)


@pytest.mark.parametrize('text', ['\033[31m', 'a\nb', 'a\tb', '\x7f', '\x9b31m', 'x' * 1025])
def test_control_characters(ctl, fake, text):
    fake.pools = [pool(1, 'x', command=text)]
    ctl('list', status=REFUSED,
        err=said(f"what answers at {fake.path} does not speak pmbroker's protocol: a packet that cannot be decoded"))


def test_own_words_are_escaped(ctl):
    ctl('\033[31mlist\n', status=USAGE, err=said("unknown verb '\\x1b[31mlist\\x0a'; see pmbrokerctl --help"))
    ctl('show', '\033[31m', status=NO_POOL, err=said('pool \\x1b[31m: there is no such pool'))


def on_terminal(fake, columns, *words):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    child = subprocess.Popen([CTL, '-S', fake.path, *words], stdout=theirs, stderr=theirs,
                             env={'LC_ALL': 'C.UTF-8', 'TERM': 'xterm'})
    os.close(theirs)
    data = b''
    while True:
        try:
            data += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert child.wait() == DONE
    return data.decode().replace('\r\n', '\n')


def test_terminal(fake):
    """Long text is cut on a terminal, numbers and ids are not, nothing but text comes out."""
    fake.pools[0].command = HOSTILE
    fake.pools[1].command = 'a-long-command-name' * 3
    for columns in (80, 100, 300):
        out = on_terminal(fake, columns, 'list')
        assert all(c == '\n' or c.isprintable() for c in out)
        lines = out.splitlines()
        assert len(lines) == 4
        assert max(len(line) for line in lines) <= max(columns, 90)
        assert lines[1].startswith('3f9c2b7a10d4e586 ') and ' 64M ' in lines[1] and lines[2].endswith(' 1d')
    assert 'a-long-command-name' * 3 in on_terminal(fake, 300, 'list')


# ------------------------------------------------------------------------------------------------------------ show

SHOWN = '''\
      ID: 3f9c2b7a10d4e586
    NAME: web
  TENANT: batch
    USER: root
     UID: 0
     PID: 4711
 COMMAND: web
   STORE: pmem0
   LIMIT: 64M
    USED: 66M
     MAX: 64M
  LENGTH: 64M
  TARGET: -
   STATE: ready
ENFORCED: kernel
     AGE: 3min
'''


@pytest.mark.parametrize('spec', ['3f9c2b7a10d4e586', '3F9C2B7A10D4E586', '3f9', 'web'])
def test_show(ctl, fake, spec):
    assert ctl('show', spec) == SHOWN
    assert fake.asked() == ['get_pool' if len(spec) == 16 else 'list_pools']


def test_show_options(ctl):
    assert ctl('show', 'web', '--json') == '''\
{
   "id": "3f9c2b7a10d4e586",
   "name": "web",
   "tenant": "batch",
   "user": "root",
   "uid": 0,
   "pid": 4711,
   "command": "web",
   "store": "pmem0",
   "limit": 67108864,
   "used": 69206016,
   "max": 67108864,
   "length": 67108864,
   "target": null,
   "state": "ready",
   "enforced": "kernel",
   "age": 200
}
'''
    assert ctl('show', 'web', '--bytes', '-o', 'USED', '--noheadings') == '69206016\n'
    assert ctl('show', 'web', '-o', 'ID,USED', '-r') == 'ID: 3f9c2b7a10d4e586\nUSED: 66M\n'


def test_no_such_pool(ctl, fake):
    ctl('show', 'nobody', status=NO_POOL, err=said('pool nobody: there is no such pool'))
    ctl('show', '', status=NO_POOL, err=said('pool : there is no such pool'))
    ctl('show', '0123456789abcdef', status=NO_POOL, err=said('pool 0123456789abcdef: there is no such pool'))
    fake.admin = False
    ctl('show', 'nobody', status=NO_POOL, err=said(
        'pool nobody: there is no such pool (pools of other processes are shown to administrators only)'))


@pytest.mark.parametrize('verb', [('show',), ('resize', '+2M'), ('resize', '2M'), ('revoke',)])
def test_ambiguous(ctl, fake, verb):
    words = (verb[0], '3f', *verb[1:])
    ctl(*words, status=NO_POOL, err=said('pool 3f: 2 pools fit: 3f9c2b7a10d4e586, 3f00000000000001'))
    fake.pools = [pool(0x100 + i, 'same') for i in range(7)]
    words = (verb[0], 'same', *verb[1:])
    ctl(*words, status=NO_POOL, err=said('pool same: 7 pools fit: 0000000000000100, 0000000000000101, '
                                         '0000000000000102, 0000000000000103, ...'))
    assert set(fake.asked()) == {'list_pools'}


def test_name_like_an_id(ctl, fake):
    """A client cannot name its pool so that another one is meant or hit."""
    fake.pools = [pool(0xaaaa000000000001, 'bbbb000000000002'), pool(0xbbbb000000000002, 'aaaa')]
    assert ctl('revoke', 'bbbb000000000002') == 'pool bbbb000000000002: revoked\n'
    assert fake.requests[-1][1].pool == 0xbbbb000000000002
    ctl('revoke', 'aaaa', status=NO_POOL, err=said('pool aaaa: 2 pools fit: aaaa000000000001, bbbb000000000002'))


def test_show_another_pool(ctl, fake):
    fake.answers['get_pool'] = lambda session, packet: {'pools': pb.PoolList(rows=[pool(1, '')])}
    ctl('show', 'f' * 16, status=REFUSED, err=said(
        f"what answers at {fake.path} does not speak pmbroker's protocol: the answer is about another pool"))


# ------------------------------------------------------------------------------------------- stores, tenants, status

def test_stores(ctl):
    assert ctl('stores') == '''\
NAME  KIND  STATE       CAPACITY CHARGED FREE POOLS PAGE ENFORCED KEEPS REASON
pmem0 fsdax available         8G    1.5G 6.5G     2   2M kernel   yes   -
cxl   kmem  unavailable       0B      0B   0B     0    - kernel   no    preparing
dev   dir   available         1G      2G   0B     1   4K audit    no    -
'''
    assert ctl('stores', 'dev', 'pmem0', '-o', 'NAME,FREE', '--bytes') == '''\
NAME        FREE
dev            0
pmem0 6979321856
'''
    assert json.loads(ctl('stores', 'cxl', '-J')) == {'stores': [
        {'name': 'cxl', 'kind': 'kmem', 'state': 'unavailable', 'capacity': 0, 'charged': 0, 'free': 0, 'pools': 0,
         'page': None, 'enforced': 'kernel', 'keeps': False, 'reason': 'preparing'}]}
    ctl('stores', 'dev', 'nix', status=REFUSED, err=said('store nix: there is no such store'))


def test_tenants(ctl, fake):
    assert ctl('tenants') == '''\
NAME    CHARGED LIMIT PERCENT POOLS MAXPOOLS LARGEST STORES
batch      1.5G    8G       -     2       16      4G pmem0 dev
both         0B    1G     50%     0        8       - -
default      2M     -     25%     1        -       - -
'''
    assert fake.asked() == ['list_tenants'] * 2
    assert ctl('tenants', 'default', 'batch', '-o', 'NAME,CHARGED', '--bytes', '--noheadings') == '''\
default    2097152
batch   1610612736
'''
    assert json.loads(ctl('tenants', 'default', '-J')) == {'tenants': [
        {'name': 'default', 'charged': 2 * MIB, 'limit': None, 'percent': 25, 'pools': 1, 'maxpools': None,
         'largest': None, 'stores': None}]}
    ctl('tenants', 'nix', status=REFUSED, err=said('tenant nix: there is no such tenant'))


STATUS = '''\
  pmbrokerd: 0.1.0, pid 812, up 2h
Provisioner: connected
     Stores: 2 of 3 available
   Capacity: 1.5G of 9G charged (16%)
      Pools: 3, 1 of them releasing
   Sessions: 14 of 4096
   Refusals: 5
    Restart: of the provisioner ends pools (see stores)
'''


def test_status(ctl, fake):
    assert ctl('status') == STATUS
    assert ctl() == STATUS
    assert ctl('status', '--bytes') == STATUS.replace('1.5G of 9G', '1610612736 of 9663676416')
    assert json.loads(ctl('status', '--json')) == {
        'version': '0.1.0', 'pid': 812, 'uptime': 7300, 'provisioner': True, 'stores': 3, 'stores_available': 2,
        'capacity': 9 * GIB, 'charged': 3 * GIB // 2, 'pools': 3, 'releasing': 1, 'sessions': 14, 'sessions_max': 4096,
        'refusals': 5, 'keeps_pools': False}


def test_status_other(ctl, fake):
    fake.status.provisioner = False
    fake.status.keeps_pools = True
    fake.status.releasing = fake.status.capacity = 0
    assert ctl('status').splitlines()[1:] == '''\
Provisioner: away, nothing can be made or resized
     Stores: 2 of 3 available
   Capacity: 1.5G of 0B charged (0%)
      Pools: 3
   Sessions: 14 of 4096
   Refusals: 5
    Restart: of the provisioner keeps all pools
'''.splitlines()


def test_status_for_everybody(ctl, fake):
    fake.admin = False
    assert ctl('status') == ''.join(STATUS.splitlines(keepends=True)[:2])
    assert set(json.loads(ctl('status', '-J'))) == {'version', 'pid', 'uptime', 'provisioner'}


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


# ------------------------------------------------------------------------------------------------- strange daemons

def test_any_order(ctl, fake):
    """The answer before the one to Hello, and events between."""
    hello = []

    def on_hello(session, packet):
        hello.append(packet.serial)

    def on_list(session, packet):
        session.event(closing=pb.Closing())
        session.sock.send(pb.ServerPacket(serial=9).SerializeToString())  # an event of a later version
        session.event(revoked=pb.Revoked(pool=5))
        session.send(packet.serial, pools=pb.PoolList(rows=fake.pools))
        session.send(hello[0], hello=pb.HelloReply(major=1, admin=True))
    fake.answers = {'hello': on_hello, 'list_pools': on_list}
    assert ctl('list', '-o', 'ID', '--noheadings').count('\n') == 3


def hung_up(fake):
    return said(f'pmbrokerd at {fake.path} closed the connection without an answer')


def test_hang_up(ctl, fake):
    fake.answers['list_pools'] = hang_up
    ctl('list', status=REFUSED, err=hung_up(fake))
    fake.answers['hello'] = hang_up
    ctl('list', status=REFUSED, err=hung_up(fake))
    fake.on_accept = hang_up
    for _ in range(20):  # the connection is reset or closed, as it happens
        ctl('list', status=REFUSED, err=hung_up(fake))


def test_hang_up_between_pages(ctl, fake):
    fake.pools = [pool(i + 1, '') for i in range(100)]
    first = fake.pools[:64]
    fake.answers['list_pools'] = lambda session, packet: (
        hang_up(session) if packet.list_pools.after else {'pools': pb.PoolList(rows=first, next=64)})
    assert ctl('list', status=REFUSED, err=hung_up(fake)) == ''


def test_closing(ctl, fake):
    def close(session, packet):
        session.event(closing=pb.Closing())
        return 'close'
    fake.answers['list_pools'] = close
    ctl('list', status=REFUSED, err=said(f'pmbrokerd at {fake.path} is shutting down'))


@pytest.mark.parametrize('data, why', [
    (b'\xff' * 100, 'a packet that cannot be decoded'),
    (b'\x00', 'a packet that cannot be decoded'),
    (b'\x08\x00', 'a packet that cannot be decoded'),  # serial 0
    (b'GET / HTTP/1.1', 'a packet that cannot be decoded'),
    (b'x' * 16385, 'a packet that is too long, or with a descriptor'),
])
@pytest.mark.parametrize('request_name', ['hello', 'list_pools'])
def test_garbage(ctl, fake, request_name, data, why):
    fake.answers[request_name] = lambda session, packet: data
    ctl('list', status=REFUSED, err=said(f"what answers at {fake.path} does not speak pmbroker's protocol: {why}"))


def test_wrong_answers(ctl, fake):
    def nonsense(why):
        return said(f"what answers at {fake.path} does not speak pmbroker's protocol: {why}")
    fake.answers['list_pools'] = lambda session, packet: {'status': pb.Status()}
    ctl('list', status=REFUSED, err=nonsense('an answer to another question'))
    fake.answers['list_pools'] = lambda session, packet: {}
    ctl('list', status=REFUSED, err=nonsense('an answer to another question'))
    fake.answers['resize_pool'] = lambda session, packet: {'size': pb.PoolSize(pool=1, size=packet.resize_pool.size)}
    ctl('resize', '3' * 16, '2M', status=REFUSED, err=nonsense('the answer is about another pool'))
    fake.answers['hello'] = lambda session, packet: {'done': pb.Done()}
    ctl('list', status=REFUSED, err=nonsense('no answer to Hello'))
    fake.answers['hello'] = lambda session, packet: {'hello': pb.HelloReply(major=2)}
    ctl('list', status=REFUSED, err=nonsense('no answer to Hello'))


def test_descriptor(ctl, fake):
    def with_descriptor(session, packet):
        data = pb.ServerPacket(serial=packet.serial, pools=pb.PoolList()).SerializeToString()
        session.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])
    fake.answers['list_pools'] = with_descriptor
    ctl('list', status=REFUSED, err=said(f"what answers at {fake.path} does not speak pmbroker's protocol: a packet "
                                         'that is too long, or with a descriptor'))


def test_every_prefix_and_bit(fake):
    """No answer, however broken, makes it crash: cut off everywhere, and every bit turned around."""
    whole = pb.ServerPacket(serial=(1 << 62) + 2, pools=pb.PoolList(rows=fake.pools[:2], next=0)).SerializeToString()
    broken = [whole[:i] for i in range(len(whole))]
    broken += [whole[:i // 8] + bytes([whole[i // 8] ^ 1 << i % 8]) + whole[i // 8 + 1:]
               for i in range(0, len(whole) * 8, 5)]

    def answer(session, packet):
        session.sock.send(current)
        return 'close'
    fake.answers['list_pools'] = answer
    for current in broken:
        result = subprocess.run([CTL, '-S', fake.path, 'list'], capture_output=True, timeout=20)
        assert result.returncode in (DONE, REFUSED, NO_POOL), current
        assert result.returncode == DONE or result.stderr.count(b'\n') == 1


# ----------------------------------------------------------------------------------------------------- not reachable

def test_unreachable(ctl, fake, tmp_path):
    for words in [()] + [(verb, *operands) for verb, operands in (
            ('status', ()), ('list', ()), ('show', ('x',)), ('stores', ()), ('tenants', ()), ('resize', ('x', '2M')),
            ('revoke', ('x',)))]:
        ctl('-S', '/nonexistent', *words, status=UNREACHABLE,
            err=no_daemon('/nonexistent', 'No such file or directory'))
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gone.bind(str(tmp_path / 'gone'))
    gone.close()
    ctl('-S', tmp_path / 'gone', status=UNREACHABLE, err=no_daemon(tmp_path / 'gone', 'Connection refused'))
    stream = socket.socket(socket.AF_UNIX)
    stream.bind(str(tmp_path / 'stream'))
    stream.listen()
    ctl('-S', tmp_path / 'stream', status=UNREACHABLE,
        err=no_daemon(tmp_path / 'stream', 'Protocol wrong type for socket'))
    stream.close()


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root: another user')
def test_no_permission(fake, tmp_path):
    nobody = pwd.getpwnam('nobody')
    for directory in tmp_path.parents:
        if directory.stat().st_uid == 0 and directory != directory.parent:
            break
    result = subprocess.run([CTL, '-S', fake.path, 'list'], capture_output=True, text=True, cwd='/',
                            user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    assert (result.returncode, result.stderr) == (
        UNREACHABLE, said(f'no permission to reach pmbrokerd at {fake.path}'))


def test_socket_path(ctl, fake):
    environment = {'PMBROKER_SOCKET': fake.path}
    assert ctl('list', '-o', 'ID', env=environment, socket_option=False).startswith('ID')
    ctl('-S', '/nonexistent', 'list', env=environment, socket_option=False, status=UNREACHABLE,
        err=no_daemon('/nonexistent', 'No such file or directory'))
    ctl('-S', '', 'list', status=USAGE, err=said("a socket's path has 1 to 107 characters: ''"))
    ctl('-S', 'x' * 108, 'list', status=USAGE, err=said(f"a socket's path has 1 to 107 characters: '{'x' * 108}'"))


# ------------------------------------------------------------------------------------------------- the command line

@pytest.mark.parametrize('words, why', [
    (['lst'], "unknown verb 'lst'; did you mean 'list'?"),
    (['rezise', 'x', '1'], "unknown verb 'rezise'; did you mean 'resize'?"),
    (['frobnicate'], "unknown verb 'frobnicate'; see pmbrokerctl --help"),
    (['List'], "unknown verb 'List'; did you mean 'list'?"),
    (['list', 'x'], 'usage: pmbrokerctl list'),
    (['status', 'x'], 'usage: pmbrokerctl status'),
    (['show'], 'usage: pmbrokerctl show POOL'),
    (['show', 'a', 'b'], 'usage: pmbrokerctl show POOL'),
    (['resize', 'x'], 'usage: pmbrokerctl resize POOL SIZE|+SIZE|-SIZE'),
    (['revoke'], 'usage: pmbrokerctl revoke POOL'),
    (['--frob'], "unknown or ambiguous option '--frob'; see pmbrokerctl --help"),
    (['list', '-x'], "unknown option '-x'; see pmbrokerctl --help"),
    (['list', '-o'], "an argument is missing after '-o'; see pmbrokerctl --help"),
    (['list', '-J', '-r'], '--json and --raw exclude each other; see pmbrokerctl --help'),
    (['status', '-o', 'ID'], 'status has no columns: --output means nothing here'),
    (['tenants', '-o', 'NAME,NIX'], "unknown column 'NIX'; there are: NAME, CHARGED, LIMIT, PERCENT, POOLS, MAXPOOLS, "
                                    'LARGEST, STORES'),
    (['list', '-o', ''], "unknown column ''; there are: ID, NAME, TENANT, USER, UID, PID, COMMAND, STORE, LIMIT, USED, "
                         'MAX, LENGTH, TARGET, STATE, ENFORCED, AGE'),
])
def test_usage(ctl, fake, words, why):
    assert ctl(*words, status=USAGE, err=said(why)) == ''
    assert fake.requests == []


def test_options_anywhere(ctl, fake):
    expected = ctl('list', '-o', 'ID', '--noheadings')
    assert ctl('--noheadings', '-oID', 'list') == expected
    assert ctl('--noheadings', 'list', '--output=ID') == expected
    assert ctl('resize', '-q', 'web', '--bytes', '-2M') == ''
    assert fake.requests[-1][1].size == 62 * MIB


def test_version(ctl, fake):
    assert re.fullmatch(r'pmbrokerctl \d+\.\d+\.\d+\n', ctl('--version'))
    assert ctl('-V', 'list') == ctl('--version')
    assert fake.requests == []


def test_output_cannot_be_written(fake):
    with open('/dev/full', 'w') as full:
        result = subprocess.run([CTL, '-S', fake.path, 'list'], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (REFUSED, said('cannot write the output: No space left on device'))


# ---------------------------------------------------------------------------------------------------- what documents it

def help_of(*words):
    return subprocess.run([CTL, *words, '--help'], capture_output=True, text=True, check=True).stdout


def columns_of(verb):
    return re.findall(r'^[* ] ([A-Z]+) ', help_of(verb), re.M)


OPTIONS = re.findall(r'^  (?:(-\w), |    )(--\w+)', help_of(), re.M) if CTL.exists() else []


def test_help():
    text = help_of()
    assert re.findall(r'^  ([a-z]+) ', text, re.M) == list(VERBS)
    assert len(OPTIONS) == 9
    assert all(len(line) <= 100 for line in text.splitlines())
    for verb in VERBS:
        text = help_of(verb)
        assert text.startswith(f'Usage: pmbrokerctl [OPTION...] {verb}')
        assert f'\nExamples:\n  pmbrokerctl' in text
        assert all(option in text for _, option in OPTIONS)
        assert all(len(line) <= 100 for line in text.splitlines())


def test_manual():
    """Every verb, option, column and exit status has its place."""
    page = (ROOT / 'man/pmbrokerctl.1').read_text()
    text = page.replace('\\-', '-')
    for verb in VERBS:
        assert re.search(rf'^\.(BR?|SS) "?{verb}\b', text, re.M), verb
        for column in columns_of(verb):
            assert re.search(rf'^\.B {column}$', text, re.M), column
    for short, option in OPTIONS:
        assert option in text and (not short or f'{short}' in text)
    for status in range(5):
        assert re.search(rf'^\.B {status}$', text, re.M)
    for word in ('PMBROKER_SOCKET', '/run/pmbroker/pmbroker.sock', 'EXAMPLES'):
        assert word in text


@pytest.mark.parametrize('shell', ['bash/pmbrokerctl', 'zsh/_pmbrokerctl'])
def test_completions_know_all(shell):
    text = (ROOT / 'ctl/completions' / shell).read_text()
    for verb in VERBS:
        assert re.search(rf'\b{verb}\b', text)
        for column in columns_of(verb):
            assert re.search(rf'\b{column}\b', text), column
    for short, option in OPTIONS:
        assert option in text and (not short or short in text)


def complete(fake, *words):
    """What bash offers for the last word."""
    script = f'''
. {ROOT}/ctl/completions/bash/pmbrokerctl
COMP_WORDS=(pmbrokerctl "$@")
COMP_CWORD=$#
_pmbrokerctl pmbrokerctl "${{@: -1}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
'''
    env = {'PATH': f'{CTL.parent}:{os.environ["PATH"]}', 'PMBROKER_SOCKET': fake.path, 'LC_ALL': 'C.UTF-8'}
    result = subprocess.run(['bash', '-c', script, 'bash', *words], capture_output=True, text=True, env=env)
    assert (result.returncode, result.stderr) == (0, '')
    return sorted(result.stdout.split())


def test_bash_completion(fake):
    assert complete(fake, '') == sorted(VERBS)
    assert complete(fake, 're') == ['resize', 'revoke']
    assert complete(fake, '-q', 'li') == ['list']
    assert complete(fake, '--no') == ['--noheadings']
    assert complete(fake, 'list', '--b') == ['--bytes']
    assert complete(fake, 'show', '') == ['0000000000000abc', '3f00000000000001', '3f9c2b7a10d4e586', 'cache', 'web']
    assert complete(fake, 'revoke', '3f') == ['3f00000000000001', '3f9c2b7a10d4e586']
    assert complete(fake, '-S', fake.path, 'resize', 'w') == ['web']
    assert complete(fake, 'resize', 'web', '') == []
    assert complete(fake, 'stores', 'p') == ['pmem0']
    assert complete(fake, 'tenants', '') == ['batch', 'both', 'default']
    assert complete(fake, 'stores', 'dev', 'c') == ['cxl']
    assert complete(fake, 'list', '-o', 'L') == ['LENGTH', 'LIMIT']
    assert complete(fake, 'list', '-o', 'ID,ST') == ['ID,STATE', 'ID,STORE']
    assert complete(fake, 'list', '-o', '+M') == ['+MAX']
    assert complete(fake, 'tenants', '--output', 'L') == ['LARGEST', 'LIMIT']
    assert complete(fake, 'status', 'x', '') == []


def test_bash_completion_hostile(fake):
    """A name is not believed, whatever the daemon's checks may let through."""
    fake.pools = [pool(1, '$(touch /tmp/x)'), pool(2, '`id`'), pool(3, "'\""), pool(4, '*')]
    assert complete(fake, 'show', '0') == [f'000000000000000{i}' for i in range(1, 5)]
    assert all(re.fullmatch('[0-9a-z._-]+', word) for word in complete(fake, 'show', ''))


def test_bash_completion_without_daemon(fake):
    assert complete(fake, '-S', '/nonexistent', 'show', '') == []
