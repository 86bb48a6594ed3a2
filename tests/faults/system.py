# SPDX-License-Identifier: BSD-3-Clause
"""A broker and a provisioner as two units are: each is started alone and finds the other, and a keeper (this process)
has what systemd keeps for them, the listening sockets and the provisioner's mount namespace. So either can be killed
anywhere and started again in some milliseconds."""

import collections
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

import jobproto
import pmbproto
from jobproto import BUILD, TRAMPOLINE, UNIT, Provisioner
from pmbproto import Client, Closed, Refused
from reach import reachable_by_all

MEDDLE = BUILD / 'tests/faults/meddle'
NOBODY = 65534
pmbproto.TIMEOUT = 2  # who is not answered by then, has found a daemon that was killed
CONFIG = '''[Broker]
ReconnectSec=30s
ShrinkTimeoutSec=1s
[Store one]
Type={kind}
Size=256M
{path}
'''


def wait_for(condition, seconds=10, what=''):
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            pytest.fail(f'{what or "the condition"} does not hold after {seconds} s')
        time.sleep(0.002)
    return result


class System:
    """Both daemons in a directory of their own, and an administrator's session."""

    def __init__(self, directory, kind, config=CONFIG):
        self.kind = kind
        self.directory = pathlib.Path(directory)
        path = f'Path={directory}/pools' if kind == 'dir' else ''
        self.provisioner = Provisioner(directory, config.format(kind=kind, path=path), keeper=True,
                                       namespace=kind == 'tmpfs', serves=NOBODY)
        self.socket = str(self.directory / 'clients.sock')
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.socket)
        self.listener.listen(64)
        os.chmod(self.socket, 0o666)
        self.broker = None
        self.environment = {'broker': {}, 'provisioner': {}}  # more of it, from the next start on
        self._admin = None
        self.start_broker()
        self.wait_until_ready()

    def start_broker(self, prefix=()):
        fd = self.listener.fileno()
        os.set_inheritable(fd, True)
        command = [sys.executable, '-S', '-E', '-c', TRAMPOLINE, str(fd), 'clients', *prefix,
                   '/usr/bin/setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups',
                   str(reachable_by_all(BUILD / 'pmbrokerd')), '--broker', '--config', str(self.provisioner.config),
                   '--jobs', str(self.provisioner.socket_path)]
        environment = {k: v for k, v in os.environ.items() if k != 'NOTIFY_SOCKET'} | self.environment['broker']
        with open(self.directory / 'broker.log', 'ab') as log:
            self.broker = subprocess.Popen(command, pass_fds=[fd], env=environment, stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log)

    def process(self, role):
        return self.broker if role == 'broker' else self.provisioner.process

    def start(self, role, prefix=()):
        if role == 'broker':
            self.start_broker(prefix)
        else:
            self.provisioner.start(wait=False, prefix=prefix, environment=self.environment['provisioner'])

    def kill(self, role, sig=signal.SIGKILL):
        process = self.process(role)
        if process.poll() is None:
            process.send_signal(sig)
        return process.wait(10)

    def revive(self, any_end=False):
        """Start what has died, or dies yet of what was done to it; nothing may die by itself."""
        for _ in range(3):
            for role in 'provisioner', 'broker':
                if not any_end and self.process(role).poll() not in (None, -signal.SIGKILL):
                    pytest.fail(f'the {role} has ended ({self.process(role).returncode}): {self.log()[-2000:]}')
                if self.process(role).poll() is not None:
                    self.start(role)
            end = time.monotonic() + 10
            while not self.is_dead() and not self.is_ready():
                if time.monotonic() > end:
                    reasons = [(s.name, s.available, s.reason) for s in self.ask('stores').values()]
                    pytest.fail(f'not ready after 10 s: {reasons}: {self.log()[-2000:]}')
                time.sleep(0.002)
            if not self.is_dead():
                return
        pytest.fail('what was started died again and again')

    def is_dead(self):
        return any(self.process(role).poll() is not None for role in ('provisioner', 'broker'))

    @property
    def admin(self):
        if self._admin is None:
            self._admin = Client(self.socket)
        return self._admin

    def ask(self, name, *args):
        """The administrator asks, however often it takes."""
        for _ in range(200):
            if self.broker.poll() is not None:
                raise Closed()
            try:
                return getattr(self.admin, name)(*args)
            except (OSError, Closed):
                if self._admin:
                    self._admin.close()
                self._admin = None
            except Refused as e:
                if e.code not in ('RETRY', 'BUSY', 'FAILED'):  # the failure that was put in may hit us: it is one
                    raise
            time.sleep(0.01)
        pytest.fail(f'{name}: no answer')

    def is_ready(self):
        try:
            return self.ask('status').provisioner and all(s.available for s in self.ask('stores').values())
        except Closed:
            return False

    def wait_until_ready(self):
        wait_for(self.is_ready, what='the system is ready')

    def log(self):
        return self.provisioner.log_text() + (self.directory / 'broker.log').read_text()

    # what there is

    def records(self):
        return {p.name for p in (self.provisioner.runtime / 'records').iterdir()} - {'.new'}

    def files(self):
        """Ids of the pools whose files, or mounts, exist."""
        if self.kind == 'dir':
            return {int(p.name[:16], 16) for p in (self.directory / 'pools').iterdir()}
        text = pathlib.Path(f'/proc/{self.provisioner.process.pid}/mountinfo').read_text()
        return {int(id, 16) for id in re.findall(rf' {re.escape(str(self.provisioner.state))}/mnt/one/([0-9a-f]+) ', text)}

    def books(self):
        """None when stores, tenants, rows, records and files tell one story; otherwise what each of them tells."""
        rows, stores, tenants, status = (self.ask(name) for name in ('pools', 'stores', 'tenants', 'status'))
        ids = {row.pool for row in rows}
        sizes = [sum(s.charged for s in stores.values()), sum(t.bytes for t in tenants.values()),
                 sum(row.size for row in rows), status.bytes]
        counts = [sum(s.pools for s in stores.values()), sum(t.pools for t in tenants.values()), len(rows), status.pools]
        records = {name for name in self.records()}
        wanted = {f'one.{row.pool:016x}' + ('.releasing' if row.state == pmbproto.pb.STATE_RELEASING else '')
                  for row in rows}
        if len(set(sizes)) == 1 and len(set(counts)) == 1 and records == wanted and self.files() == ids:
            return None
        return dict(sizes=sizes, counts=counts, records=records, wanted=wanted, files=self.files())

    def assert_books(self):
        """What was under way may take a moment to be over."""
        end = time.monotonic() + 8
        while books := self.books():
            assert time.monotonic() < end, books
            time.sleep(0.01)

    def assert_kernel(self, rows):
        """What the kernel holds is what is charged, and nobody has more."""
        for row in rows:
            used, limit = self.kernel_figures(row.pool)
            assert limit in (None, row.size), (hex(row.pool), limit, row.size)
            assert used <= row.size + (UNIT if limit is None else 0), (hex(row.pool), used, row.size)

    def kernel_figures(self, pool):
        """Bytes of a pool that are used, and the limit that the kernel holds, if it does."""
        if self.kind == 'dir':
            path, = (self.directory / 'pools').glob(f'{pool:016x}*')
            return path.stat().st_blocks * 512, None
        # From outside of the provisioner's mount namespace.
        figures = os.statvfs(f'/proc/{self.provisioner.process.pid}/root{self.provisioner.state}/mnt/one/{pool:016x}')
        return (figures.f_blocks - figures.f_bfree) * figures.f_frsize, figures.f_blocks * figures.f_frsize

    def assert_descriptors(self, rows):
        """Each descriptor of either daemon is of a session, a process, a pool or a worker that there is."""
        def what_is_wrong():
            sessions, owners = self.ask('status').sessions, len({row.pid for row in rows})
            broker, provisioner = self.descriptors('broker'), self.descriptors('provisioner')
            workers = provisioner['pidfd']
            wanted = dict(socket=2 + sessions, pidfd=sessions + owners), dict(socket=2 + workers, pool=len(rows))
            # Those that a daemon has anyway are few; a leak would be more.
            return None if (broker['socket'], broker['pidfd']) == tuple(wanted[0].values()) and \
                (provisioner['socket'], provisioner['pool']) == tuple(wanted[1].values()) and \
                broker['other'] <= 6 and provisioner['other'] <= 12 and workers <= 4 else (broker, provisioner, wanted)

        end = time.monotonic() + 8
        while wrong := what_is_wrong():
            assert time.monotonic() < end, wrong
            time.sleep(0.01)

    def descriptors(self, role):
        """How many of each kind."""
        count = collections.Counter(other=0)
        for fd in pathlib.Path(f'/proc/{self.process(role).pid}/fd').iterdir():
            with contextlib.suppress(FileNotFoundError):  # of a call that is over now
                name = os.readlink(fd)
                kind = name.split(':')[0] if name.startswith('socket:') else 'pidfd' if 'pidfd' in name else \
                    'pool' if name.endswith('pool') else 'other'
                count[kind] += 1
        return count

    def fds(self, role):
        return len(os.listdir(f'/proc/{self.process(role).pid}/fd'))

    def close(self):
        with contextlib.suppress(Exception):
            self.kill('broker')
        self.provisioner.close()
        self.listener.close()


class Meddle:
    """meddle beside running processes, for the duration of a block."""

    def __init__(self, pids, *how):
        self.process = subprocess.Popen([str(MEDDLE), *how, *map(str, pids)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == 'ready\n'
        self.count = self.number = self.pid = None

    def __enter__(self):
        return self

    def __exit__(self, *args):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write('\n')
            self.process.stdin.close()
        self.count, self.number, self.pid = map(int, self.process.stdout.read().split())
        self.process.stdout.close()
        self.process.wait()

    @property
    def was_hit(self):
        return self.number >= 0


def read_out(path):
    """What a meddle that was part of a start has said."""
    return tuple(map(int, path.read_text().split())) if path.exists() and path.read_text() else None
