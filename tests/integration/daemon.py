# SPDX-License-Identifier: BSD-3-Clause
"""The daemon under test, in a directory of its own, and what to tell it in its configuration."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import pmbproto
from pmbproto import Client, Process, Refused

BUILD = pmbproto.ROOT / os.environ.get('BUILD', 'build')
PMBROKERD = BUILD / 'pmbrokerd'
WRAPPER = os.environ.get('PMBROKERD_WRAPPER', '').split()  # becomes it, as valgrind does
IS_ROOT = os.geteuid() == 0
IS_SANITIZED = PMBROKERD.exists() and b'__asan_' in PMBROKERD.read_bytes()

# No such users need to exist. Without root there is one: us.
ALICE, BOB, CAROL, DAVE, EVE = (20001, 20002, 20003, 20004, 20005) if IS_ROOT else (os.geteuid(),) * 5
ADMIN_GROUP = 20100

needs_root = pytest.mark.skipif(not IS_ROOT, reason='needs root: several users')
one_kind = pytest.mark.parametrize('kind', ['dir'], indirect=True)  # takes its time, and is the broker's alone


# ------------------------------------------------------------------------------------------------- configuration

def broker(**settings):
    """A [Broker] section that suits tests: nothing waits for long."""
    settings = {'ReconnectSec': '1s', 'ShrinkTimeoutSec': '2s', **settings}
    return '[Broker]\n' + ''.join(f'{k}={v}\n' for k, v in settings.items())


def store(name, kind, size='64M', **settings):
    """A [Store] section; @DIR@ becomes the daemon's directory."""
    lines = [f'[Store {name}]', f'Type={kind}', f'Size={size}']
    if kind == 'dir':
        lines.append(f'Path=@DIR@/store-{name}')
    return '\n'.join(lines + [f'{k}={v}' for k, v in settings.items()]) + '\n'


def tenant(name, **settings):
    return '\n'.join([f'[Tenant {name}]'] + [f'{k}={v}' for k, v in settings.items()]) + '\n'


# --------------------------------------------------------------------------------------------------------- daemon

def wait_for(condition, seconds=5, what='', every=0.005):
    """Wait until the condition holds; return what it returned. `what` may be a function that says it when it is too late."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            pytest.fail(f'{(what() if callable(what) else what) or "the condition"} does not hold after {seconds} s')
        time.sleep(every)


def processes_of(text):
    """The pids of all processes that have the text in their command line."""
    pids = []
    for entry in os.listdir('/proc'):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                if text.encode() in pathlib.Path('/proc', entry, 'cmdline').read_bytes():
                    pids.append(int(entry))
    return pids


def describe(pid):
    """What a process is, and what it waits for."""
    text = [f'pid {pid}']
    for name in 'cmdline', 'status', 'wchan', 'stack':
        with contextlib.suppress(OSError):
            text.append(f'{name}: ' + pathlib.Path(f'/proc/{pid}/{name}').read_text().replace('\0', ' '))
    return '\n'.join(text)


class Daemon:
    """pmbrokerd --socket in a directory of its own, and those who use it."""

    def __init__(self, *sections, prefix=(), ready=True):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='pmb-'))
        self.dir.chmod(0o755)
        self.socket = str(self.dir / 's')
        self.state = self.dir / 's.d'
        self.log = self.dir / 'stderr'
        self.config = self.dir / 'pmbrokerd.conf'
        self.may_crash = False
        self.said = []
        self.processes = []
        self._admin = None
        self.prefix = list(prefix)
        self.configure(*sections)
        self.start(ready)

    # configuration, life

    def configure(self, *sections):
        self.config.write_text('\n'.join(sections).replace('@DIR@', str(self.dir)))

    def start(self, ready=True):
        argv = self.prefix + WRAPPER + [str(PMBROKERD), '--socket', self.socket, '--config', str(self.config), '--user', 'nobody']
        with self.log.open('ab') as log:
            self.supervisor = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                               start_new_session=True, cwd='/')
        if ready:
            self.wait_until_ready()

    def is_ready(self):
        assert self.supervisor.poll() is None, 'pmbrokerd has ended'
        try:
            admin = self.admin
            if not admin.status().provisioner or not all(s.available for s in admin.stores().values()):
                return False
            admin.pool(1)
        except Refused as e:
            return e.code == 'NOT_FOUND'
        except (OSError, pmbproto.Closed):
            self._admin = None
            return False
        return True

    def wait_until_ready(self):
        wait_for(self.is_ready, 10, 'pmbrokerd is ready')

    def main_pid(self):
        """The supervisor's pid; with a prefix, that is its child's."""
        pid = self.supervisor.pid
        if not self.prefix:
            return pid
        return int(pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()[0])

    def hangup(self):
        os.kill(self.main_pid(), signal.SIGHUP)

    def child(self, role):
        """The pid of the broker or the provisioner."""
        pids = []
        for pid in processes_of(str(self.state)):
            with contextlib.suppress(OSError):  # another one that ends just now
                proc = pathlib.Path(f'/proc/{pid}')
                parent = int(proc.joinpath('stat').read_text().rsplit(')', 1)[1].split()[1])
                if parent == self.supervisor.pid and f'--{role}'.encode() in proc.joinpath('cmdline').read_bytes():
                    pids.append(pid)
        assert len(pids) == 1
        return pids[0]

    def stop(self):
        """SIGTERM: exit code 0 in time, and nothing is left."""
        if self.supervisor.returncode is not None:
            return
        os.kill(self.main_pid(), signal.SIGTERM)
        begin = time.monotonic()
        try:
            assert self.supervisor.wait(10) == 0
        finally:
            if self.supervisor.returncode is None:
                for pid in processes_of(str(self.dir)):
                    os.kill(pid, signal.SIGKILL)
                self.supervisor.wait()
        assert time.monotonic() - begin < 3
        with contextlib.suppress(pytest.fail.Exception):  # workers finish what they were about
            wait_for(lambda: processes_of(str(self.dir)) == [], 3)
        assert [describe(pid) for pid in processes_of(str(self.dir))] == []
        assert str(self.dir) not in pathlib.Path('/proc/self/mountinfo').read_text()

    def files(self):
        """What is below the state directory and the stores."""
        places = [self.state] + sorted(self.dir.glob('store-*'))
        return [str(p.relative_to(self.dir)) for place in places for p in sorted(place.rglob('*'))]

    def log_lines(self):
        """What the daemon has said; still there when the directory is not."""
        if self.log.exists():
            self.said = self.log.read_text(errors='replace').splitlines()
        return self.said

    def errors(self):
        """Lines of the log that no test may cause."""
        pattern = r'Assertion|Sanitizer|runtime error'
        if not self.may_crash:
            pattern += r'|was killed by signal|exited with status'
        return [line for line in self.log_lines() if re.search(pattern, line)]

    def dismiss(self):
        """End all users; then every pool must be gone."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes.clear()
        if self.supervisor.poll() is None:
            # What somebody asked for just before his end may still be carried out, and undone.
            wait_for(lambda: self.status().pools == 0 and self.is_consistent(), 5, 'all pools are gone')
            assert self.status().bytes == 0

    def finish(self):
        try:
            self.dismiss()
        finally:
            self.stop()
        assert self.files() == ['s.d/lock', 's.d/mnt', 's.d/records'] or \
            self.files() == ['s.d/lock', 's.d/records'] and not IS_ROOT
        assert not (self.dir / 's').exists()
        assert self.errors() == []

    def remove(self):
        if self._admin:
            self._admin.close()
        for process in self.processes:
            process.kill()
            process.wait()
        if self.supervisor.poll() is None:
            self.supervisor.kill()
            self.supervisor.wait()
            for pid in processes_of(str(self.dir)):
                os.kill(pid, signal.SIGKILL)
        self.log_lines()
        shutil.rmtree(self.dir, ignore_errors=True)

    # users

    @property
    def admin(self):
        """A session of ours; an administrator's, because we started the daemon."""
        if self._admin is None:
            self._admin = Client(self.socket)
        return self._admin

    def ask_admin(self, name, *args):
        """The administrator asks, over a new session if the last one has ended."""
        try:
            return getattr(self.admin, name)(*args)
        except (OSError, pmbproto.Closed):
            self._admin = None
            return getattr(self.admin, name)(*args)

    def status(self):
        return self.ask_admin('status')

    def stores(self):
        return self.ask_admin('stores')

    def tenants(self):
        return self.ask_admin('tenants')

    def pools(self):
        return self.ask_admin('pools')

    def process(self, uid=ALICE, **who):
        """A process of that user; without root, of ours."""
        process = Process(uid if IS_ROOT else None, **who)
        self.processes.append(process)
        return process

    def user(self, uid=ALICE, hello=True, **who):
        """A session of a new process of that user."""
        return self.process(uid, **who).connect(self.socket, hello=hello)

    def forget(self, process):
        """The test has ended it."""
        self.processes.remove(process)

    # figures

    def is_consistent(self):
        """Stores, tenants, rows and status tell the same story."""
        stores, tenants, rows, status = self.stores(), self.tenants(), self.pools(), self.status()
        charged = sum(s.charged for s in stores.values())
        return charged == sum(t.bytes for t in tenants.values()) == sum(r.size for r in rows) == status.bytes and \
            sum(s.pools for s in stores.values()) == sum(t.pools for t in tenants.values()) == len(rows) == status.pools

    def fds(self, pid=None):
        return len(os.listdir(f'/proc/{pid or self.status().pid}/fd'))

    def rss(self, pid=None):
        """Bytes."""
        text = pathlib.Path(f'/proc/{pid or self.status().pid}/status').read_text()
        return int(re.search(r'VmRSS:\s*(\d+)', text)[1]) * 1024

    def cpu_seconds(self, pid=None):
        fields = pathlib.Path(f'/proc/{pid or self.status().pid}/stat').read_text().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def idle_fds(self):
        """Descriptors of the broker when nobody but us is connected, and somebody has been."""
        Client(self.socket).close()
        return wait_for_calm(self.fds)

    @contextlib.contextmanager
    def unharmed(self, fds):
        """What happens inside leaves the broker as it was: same process, idle_fds() again, same memory."""
        pid, rss = self.status().pid, self.rss()
        yield
        assert self.status().pid == pid
        wait_for(lambda: self.fds(pid) <= fds, 3, f'at most {fds} descriptors again')
        assert self.fds(pid) == fds
        if not IS_SANITIZED:
            assert abs(self.rss(pid) - rss) <= 1 << 20


def wait_for_calm(figure, seconds=0.3):
    """The figure, once it has not changed for a while."""
    last, since = figure(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.005)
        now = figure()
        if now != last:
            last, since = now, time.monotonic()
    return last
