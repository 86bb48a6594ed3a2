# SPDX-License-Identifier: BSD-3-Clause
"""Running pmbrokerctl, for the tests of it: fixtures to be imported, among them a fake daemon with three pools, stores
and tenants."""

import os
import pathlib
import subprocess

import pytest

from fakedaemon import FakeDaemon
from pmbproto import GIB, MIB, ROOT, pb
from reach import reachable_by_all

CTL = reachable_by_all(
    pathlib.Path(os.environ.get('PMBROKERCTL') or ROOT / os.environ.get('BUILD', 'build') / 'pmbrokerctl'))
VERBS = ('status', 'list', 'show', 'stores', 'tenants', 'sessions', 'create', 'resize', 'revoke', 'drain', 'set-limit',
         'reload', 'regions', 'provision', 'deprovision', 'check', 'top', 'monitor', 'metrics', 'bridge')
DONE, REFUSED, USAGE, UNREACHABLE, NO_POOL = range(5)

DEFAULT_SOCKET = '/run/pmbroker/pmbroker.sock'
SECOND = 1000000
NAMELESS_UID = 3141592


@pytest.fixture
def fake(tmp_path):
    daemon = FakeDaemon(tmp_path / 's')
    daemon.pools = [
        pool(0x3f9c2b7a10d4e586, 'web', pid=4711, size=64 * MIB, used=66 * MIB, age_usec=200 * SECOND),
        pool(0x0000000000000abc, '', command='redis-server', uid=NAMELESS_UID, pid=0, size=3 * GIB // 2,
             used_known=False, state=pb.STATE_RESIZING, target=GIB, length=2 * GIB, max=4 * GIB,
             age_usec=90000 * SECOND),
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
        pb.TenantRow(name='batch', bytes=3 * GIB // 2, bytes_max=8 * GIB, bytes_limit=8 * GIB, pools=2, pools_max=16,
                     pool_bytes_max=4 * GIB, stores='pmem0 dev', overridden=3, created=7, released=5, refused=3),
        pb.TenantRow(name='both', bytes_max=GIB, bytes_limit=GIB, percent=50, pools_max=8, pool_bytes_max=2**64 - 1),
        pb.TenantRow(name='default', bytes=2 * MIB, bytes_limit=9 * GIB // 4, percent=25, pools=1, pools_max=2**32 - 1,
                     pool_bytes_max=2**64 - 1),
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
    hint = ('; is pmbrokerd.socket active? See systemctl status pmbrokerd.socket, or name another socket with --socket '
            'PATH' if path == DEFAULT_SOCKET else '')
    return said(f'cannot reach pmbrokerd at {path}: {why}{hint}')
