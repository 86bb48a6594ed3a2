# SPDX-License-Identifier: BSD-3-Clause
"""What pmbrokerctl shows: every byte of it, with a daemon that says what the test wants."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
import time

import pytest

from ctlrun import CTL, DONE, NAMELESS_UID, NO_POOL, REFUSED, USAGE, ctl, fake, pool, said  # noqa: F401
from fakedaemon import refuse
from pmbproto import GIB, MIB, pb


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
        'target': None, 'state': 'ready', 'enforced': 'kernel', 'grace': None, 'bad': None, 'age': 200}
    assert rows[1] == {
        'id': '0000000000000abc', 'name': None, 'tenant': 'batch', 'user': str(NAMELESS_UID), 'uid': NAMELESS_UID,
        'pid': None, 'command': 'redis-server', 'store': 'pmem0', 'limit': 3 * GIB // 2, 'used': None, 'max': 4 * GIB,
        'length': 2 * GIB, 'target': GIB, 'state': 'resizing', 'enforced': 'kernel', 'grace': None, 'bad': None, 'age': 90000}
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
    assert ctl('list', '--json') == '{\n   "pools": []\n}\n'
    fake.admin = False
    ctl('list', err=said('note: no pools; those of other users are shown to administrators only'))


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
   GRACE: -
     BAD: -
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
   "grace": null,
   "bad": null,
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
        'pool nobody: there is no such pool (pools of other users are shown to administrators only)'))


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

def test_stores(ctl, fake):
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
         'page': None, 'enforced': 'kernel', 'keeps': False, 'dax': None, 'quota': None, 'seal': None,
         'surplus': None, 'bad': None, 'node': None, 'created': 0, 'released': 0, 'reason': 'preparing'}]}
    fake.stores[1].MergeFrom(pb.StoreRow(available=True, node=2, dax=pb.HOLDS, quota=pb.HOLDS, seal=pb.NOT_TESTED))
    assert ctl('stores', 'cxl', '-o', 'NAME,DAX,QUOTA,SEAL,NODE', '--noheadings') == 'cxl  yes yes   -       2\n'
    fake.stores[0].surplus = 4 * MIB
    assert ctl('stores', 'pmem0', 'dev', '-o', 'NAME,SURPLUS', '--noheadings') == 'pmem0      4M\ndev         -\n'
    fake.stores[0].bad_bytes = 8192
    assert ctl('stores', 'pmem0', 'dev', '-o', 'NAME,BAD', '--noheadings') == 'pmem0  8K\ndev     -\n'
    ctl('stores', 'dev', 'nix', status=REFUSED, err=said('store nix: there is no such store'))


def test_tenants(ctl, fake):
    assert ctl('tenants') == '''\
NAME    CHARGED LIMIT PERCENT POOLS MAXPOOLS LARGEST SET         STORES
batch      1.5G    8G       -     2       16      4G Bytes,Pools pmem0 dev
both         0B    1G     50%     0        8       - -           -
default      2M  2.3G     25%     1        -       - -           -
'''
    assert fake.asked() == ['list_tenants'] * 2
    assert ctl('tenants', 'default', 'batch', '-o', 'NAME,CHARGED', '--bytes', '--noheadings') == '''\
default    2097152
batch   1610612736
'''
    assert json.loads(ctl('tenants', 'default', '-J')) == {'tenants': [
        {'name': 'default', 'charged': 2 * MIB, 'limit': 9 * GIB // 4, 'percent': 25, 'pools': 1,
         'maxpools': None, 'largest': None, 'set': None, 'created': 0, 'released': 0, 'refused': 0, 'stores': None}]}
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
