# SPDX-License-Identifier: BSD-3-Clause
"""Screens as people see them: on a terminal of 80 and of 140 columns, compared with tests/integration/screens/.

With UPDATE_SCREENS=1 in the environment they are written anew; look at the difference before it is committed.
"""

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from ctlrun import CTL, DONE, REFUSED, SECOND, ctl, fake, pool  # noqa: F401
from pmbproto import GIB, MIB, pb
from test_ctl_operator import machine  # noqa: F401

SCREENS = pathlib.Path(__file__).parent / 'screens'
ROWS = 24


def take_terminal():
    """Standard input is the terminal of this session: it is told when the size changes."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, columns, *words, cwd='/', rows=ROWS, **environment):
        self.ours, theirs = pty.openpty()
        self.resize(columns, rows)
        self.text = b''
        env = {'LC_ALL': 'C.UTF-8', 'TERM': 'xterm', 'PATH': os.environ['PATH'], 'TZ': 'UTC', **environment}
        self.child = subprocess.Popen([CTL, *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=env,
                                      start_new_session=True, preexec_fn=take_terminal)
        os.close(theirs)

    def resize(self, columns, rows=ROWS):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def read(self, seconds):
        """What comes until nothing more does for so long; '' at the end."""
        text = b''
        while select.select([self.ours], [], [], seconds)[0]:
            try:
                data = os.read(self.ours, 65536)
            except OSError:
                break
            if not data:
                break
            text += data
        return text.decode().replace('\r\n', '\n')

    def wait_for(self, word):
        text = ''
        end = time.monotonic() + 10
        while word not in text and time.monotonic() < end:
            text += self.read(0.1)
        return text

    def press(self, keys):
        os.write(self.ours, keys.encode())

    def finish(self, status=DONE):
        text = b''
        while True:
            try:
                data = os.read(self.ours, 65536)
            except OSError:
                break
            if not data:
                break
            text += data
        os.close(self.ours)
        assert self.child.wait(10) == status, text
        return text.decode().replace('\r\n', '\n')


def compare(name, columns, text):
    file = SCREENS / f'{name}-{columns}.txt'
    if os.environ.get('UPDATE_SCREENS'):
        file.write_text(text)
    assert text == file.read_text()
    assert all(c == '\n' or c.isprintable() for c in text)
    if name not in ('list',):  # ids and numbers are never cut
        assert max(map(len, text.splitlines())) <= columns


def fleet(fake):
    """A host with something of everything."""
    fake.pools = [
        pool(0x3f9c2b7a10d4e586, 'web', pid=4711, size=64 * MIB, used=66 * MIB, age_usec=200 * SECOND),
        pool(0x0a5100000000beef, 'session-cache', command='redis-server', pid=901, size=3 * GIB // 2, used=GIB,
             state=pb.STATE_RESIZING, target=GIB, max=4 * GIB, age_usec=90000 * SECOND),
        pool(0x3f00000000000001, '', command='a-name-of-16-chr', tenant='default', store='ram', size=2 * MIB, used=0,
             uid=4000000, state=pb.STATE_RELEASING, age_usec=0),
        *[pool(0x7000000000000000 + i, f'shard-{i:02}', tenant='analytics', store='pmem1', command='duckdb', pid=20000 + i,
               size=(i + 1) * 128 * MIB, used=i * 100 * MIB, age_usec=i * 3600 * SECOND) for i in range(12)],
    ]
    fake.stores = [
        pb.StoreRow(name='pmem0', kind=pb.KIND_FSDAX, available=True, capacity=8 * GIB, charged=15 * GIB // 2, pools=2,
                    page_size=2 * MIB, enforced_by='kernel', keeps_pools=True, dax=pb.HOLDS, quota=pb.HOLDS, seal=pb.HOLDS),
        pb.StoreRow(name='pmem1', kind=pb.KIND_FSDAX, available=True, capacity=16 * GIB, charged=39 * GIB // 4, pools=12,
                    page_size=2 * MIB, enforced_by='kernel', keeps_pools=True, drained=True, dax=pb.HOLDS, quota=pb.HOLDS,
                    seal=pb.HOLDS),
        pb.StoreRow(name='cxl', kind=pb.KIND_KMEM, enforced_by='kernel', reason='the memory is still being made: 41 of 64G'),
        pb.StoreRow(name='ram', kind=pb.KIND_TMPFS, available=True, capacity=GIB, charged=2 * MIB, pools=1, page_size=4096,
                    enforced_by='kernel', keeps_pools=True),
    ]
    none = 2**64 - 1
    fake.tenants = [
        pb.TenantRow(name='batch', bytes=25 * GIB // 16, bytes_max=2 * GIB, bytes_limit=2 * GIB, pools=2, pools_max=16,
                     pool_bytes_max=4 * GIB, stores='pmem0 ram', overridden=pb.LIMIT_BYTES),
        pb.TenantRow(name='analytics', bytes=39 * GIB // 4, bytes_max=none, percent=75, bytes_limit=75 * GIB // 4, pools=12,
                     pools_max=64, pool_bytes_max=none),
        pb.TenantRow(name='default', bytes=2 * MIB, bytes_max=none, bytes_limit=none, pools=1, pools_max=2**32 - 1,
                     pool_bytes_max=none),
    ]
    fake.status = pb.Status(version='0.1.0', uptime_usec=7300 * SECOND, sessions=14, sessions_max=4096, pools=15,
                            bytes=17 * GIB, capacity=25 * GIB, stores=4, stores_available=3, provisioner=True,
                            keeps_pools=True, releasing=1, refusals=5, pid=812)
    E, P, R = pb.EXISTS, pb.PLANNED, pb.REFUSED

    def provision(session, packet):
        steps = {
            'pmem0': [(1, E, 'region0 at 0x100000000, 8G, labels'), (3, E, 'namespace0.0, fsdax, aligned to 2M'),
                      (5, E, 'ext4, made in this boot'), (6, E, 'mounted with dax=always and project quotas'),
                      (7, E, 'DAX, 2M pages, quota and seal hold')],
            'pmem1': [(1, E, 'region1 at 0x300000000, 16G, labels'), (3, P, 'a namespace of 16G, mode fsdax, will be made'),
                      (4, R, 'namespace1.0 has an XFS with the label "backup": it is not pmbroker\'s. If nobody needs it, '
                             '`wipefs -a /dev/pmem1`; otherwise name another region')],
            'cxl': [(1, E, 'region2 at 0x800000000, 64G, labels'), (3, E, 'namespace2.0, devdax, aligned to 2M'),
                    (8, P, 'make it memory of its NUMA node, movable')],
        }[packet.provision.store]
        return {'provisioned': pb.ProvisionReport(store=packet.provision.store, steps=[
            pb.ProvisionStep(kind=kind, state=state, text=text) for kind, state, text in steps])}
    fake.answers['provision'] = provision


@pytest.fixture
def scene(fake):
    fleet(fake)
    os.symlink(fake.path, pathlib.Path(fake.path).parent / 'sock')
    return pathlib.Path(fake.path).parent


@pytest.mark.parametrize('columns', [80, 140])
@pytest.mark.parametrize('verb, status', [('list', DONE), ('stores', DONE), ('tenants', DONE), ('provision', REFUSED)])
def test_tables(scene, columns, verb, status):
    text = Terminal(columns, '-S', 'sock', verb, cwd=scene).finish(status)
    compare(verb, columns, text)


@pytest.mark.parametrize('columns', [80, 140])
def test_top(scene, columns):
    text = Terminal(columns, '-S', 'sock', 'top', '--count', '1', cwd=scene, NO_COLOR='1').finish()
    compare('top', columns, text)
    assert len(text.splitlines()) <= ROWS


@pytest.mark.parametrize('columns', [80, 140])
def test_check(fake, scene, machine, columns):
    os.symlink(machine.root, scene / 'host')
    machine('/proc/sys/vm/max_map_count', '1000\n')
    text = Terminal(columns, '-S', 'sock', 'check', '--root', 'host', cwd=scene, NO_COLOR='1', rows=100).finish(REFUSED)
    compare('check', columns, text)


# ------------------------------------------------------------------------------------------------ what is not text

def test_colours(scene):
    """Only on a terminal that has some, and not against somebody's will; never in tables."""
    for verb in 'top', 'check':
        words = ('-S', 'sock', verb) + (('--count', '1') if verb == 'top' else ())
        status = REFUSED if verb == 'check' else DONE
        assert '\033[31m' in Terminal(80, *words, cwd=scene).finish(status)
        for env in ({'NO_COLOR': '1'}, {'TERM': 'dumb'}, {'TERM': ''}):
            assert '\033' not in Terminal(80, *words, cwd=scene, **env).finish(status)
        assert '\033[31m' in Terminal(80, *words, cwd=scene, NO_COLOR='').finish(status)
        piped = subprocess.run([CTL, *words], cwd=scene, capture_output=True, env={'TERM': 'xterm'})
        assert b'\033' not in piped.stdout + piped.stderr
    assert '\033' not in Terminal(80, '-S', 'sock', 'list', cwd=scene).finish()


def test_top_is_left_as_it_was_found(scene):
    """The other screen, no cursor, no echo; and all of it undone by q, by a signal, and when the terminal is made larger
    the next screen is."""
    for leave in ('q', signal.SIGINT, signal.SIGTERM):
        top = Terminal(80, '-S', 'sock', 'top', '--interval', '60', cwd=scene, NO_COLOR='1')
        before = top.wait_for('duckdb')
        assert before.startswith('\033[?1049h\033[?25l')
        top.read(0.3)
        top.resize(140)
        wide = top.wait_for('shard-00')
        assert max(map(len, re.sub(r'\033\[[?0-9]*[A-Za-z]', '', wide).splitlines())) > 80
        top.press('s')
        assert 'POOL ' in top.wait_for('shard-00')
        if isinstance(leave, str):
            top.press(leave)
        else:
            top.child.send_signal(leave)
        assert top.finish().endswith('\033[?25h\033[?1049l')


def test_top_waits_for_the_daemon(fake, scene):
    top = Terminal(80, '-S', 'sock', 'top', '--interval', '1', cwd=scene, NO_COLOR='1')
    assert '700000000000000b' in top.wait_for('700000000000000b')
    fake.answers['get_status'] = lambda session, packet: 'close'
    assert 'pmbrokerd does not answer, trying again' in top.wait_for('again')
    del fake.answers['get_status']
    assert '700000000000000b' in top.wait_for('700000000000000b')
    top.press('q')
    top.finish()


def test_pager(fake, scene, tmp_path):
    """For what is longer than the terminal, with the terminal's width; not against somebody's will."""
    pager = tmp_path / 'page'
    pager.write_text(f'#!/bin/sh\necho paged\nexec head -3\n')  # and leaves before the end
    pager.chmod(0o755)
    fake.pools = [pool(i + 1, 'x' * 32, command='y' * 15, tenant='z' * 32) for i in range(2000)]
    words = ('-S', 'sock', 'list')
    out = Terminal(80, *words, cwd=scene, PMBROKER_PAGER=str(pager)).finish()
    assert out.startswith('paged\nID ') and len(out.splitlines()) == 4
    assert max(map(len, out.splitlines())) <= 90
    assert Terminal(80, *words, cwd=scene, PAGER=str(pager)).finish().startswith('paged\n')
    for extra, env in [(('--no-pager',), {}), ((), {'PMBROKER_PAGER': ''}), ((), {'PMBROKER_PAGER': 'cat'})]:
        out = Terminal(80, *words, *extra, cwd=scene, PAGER=str(pager), **env).finish()
        assert len(out.splitlines()) == 2001 and 'paged' not in out
    assert len(Terminal(80, *words, cwd=scene, PAGER='/nonexistent').finish().splitlines()) == 2001
    fake.pools = fake.pools[:10]
    assert 'paged' not in Terminal(80, *words, cwd=scene, PAGER=str(pager)).finish()


def test_progress(fake, scene):
    """A bar while a pool shrinks, and nothing of it is left."""
    sizes = [64 * MIB, 56 * MIB, 48 * MIB, 40 * MIB, 36 * MIB, 32 * MIB]

    def slowly(session, packet):
        time.sleep(1.2)
        return {'size': pb.PoolSize(pool=packet.resize_pool.pool, size=32 * MIB)}

    def get_pool(session, packet):
        row = pb.PoolRow()
        row.CopyFrom(fake.pools[0])
        row.size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        return {'pools': pb.PoolList(rows=[row])}
    fake.answers.update(resize_pool=slowly, get_pool=get_pool)
    out = Terminal(80, '-S', 'sock', 'resize', '3f9c2b7a10d4e586', '32M', cwd=scene).finish()
    frames = re.findall(r'\r(\[[#-]+\]) +(\d+)% (\w+) of 32M', out)
    assert len(frames) >= 3
    assert [int(percent) for _, percent, _ in frames] == sorted(int(percent) for _, percent, _ in frames)
    assert all(len(bar) == 50 for bar, _, _ in frames)
    assert out.endswith('\r\033[Kpool 3f9c2b7a10d4e586: 32M\n')
    out = Terminal(80, '-S', 'sock', '-q', 'resize', '3f9c2b7a10d4e586', '32M', cwd=scene).finish()
    assert out == ''
