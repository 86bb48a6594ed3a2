# SPDX-License-Identifier: BSD-3-Clause
"""The installed system: its units, its journal, and those who use it. There is one; every test leaves it as it was."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / 'tests/integration'))

import pmbproto  # noqa: E402
from daemon import wait_for  # noqa: E402
from pmbproto import Client, Closed, Process, Refused  # noqa: E402

SOCKET = '/run/pmbroker/pmbroker.sock'
BROKER, PROVISIONER = 'pmbrokerd.service', 'pmbroker-provisioner.service'
SERVICES = (BROKER, PROVISIONER)
SOCKETS = ('pmbrokerd.socket', 'pmbroker-provisioner.socket')
CONFIG_DIR = pathlib.Path('/etc/pmbroker/pmbrokerd.conf.d')
EXAMPLES = ROOT / 'build/examples'
HOSTILE = ROOT / 'build/tests/integration/hostile'
ALICE, BOB = 20001, 20002  # as in pmbroker-tests.conf
SECONDS = 60  # for what takes a moment on a real machine
pmbproto.TIMEOUT = SECONDS


def run(*argv, check=True, **kwargs):
    """What the command wrote; with check=False, its exit status too."""
    argv = [str(a) for a in argv]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    assert not check or done.returncode == 0, f'{" ".join(argv)}: {done.returncode}\n{done.stdout}'
    return done.stdout if check else (done.returncode, done.stdout)


def as_user(uid, *argv):
    """The command line that runs this one as that user, without any right."""
    return ('setpriv', f'--reuid={uid}', f'--regid={uid}', '--clear-groups', '--no-new-privs', *argv)


def ctl(*argv, uid=0):
    return run(*as_user(uid, 'pmbrokerctl', *argv))


# ------------------------------------------------------------------------------------------------------------ units

def systemctl(*argv):
    return run('systemctl', *argv)


def show(unit, *properties):
    """The properties' values."""
    lines = systemctl('show', *(f'--property={p}' for p in properties), unit).splitlines()
    values = dict(line.split('=', 1) for line in lines)
    return [values[p] for p in properties]


def is_active(unit):
    return run('systemctl', 'is-active', unit, check=False)[1].strip()


def main_pid(unit):
    return int(show(unit, 'MainPID')[0])


def processes():
    """Pids of all processes that run pmbrokerd."""
    pids = []
    for entry in os.listdir('/proc'):
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.readlink(f'/proc/{entry}/exe') == '/usr/sbin/pmbrokerd':
                pids.append(int(entry))
    return pids


@contextlib.contextmanager
def drop_in(unit, text):
    """Inside, the unit has this drop-in."""
    path = pathlib.Path(f'/run/systemd/system/{unit}.d/test.conf')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    try:
        yield
    finally:
        path.unlink()


# ---------------------------------------------------------------------------------------------------------- journal

def since(began):
    """journalctl's option for what was logged after that point of time."""
    return f'--since=@{began:.6f}'


def journal(began):
    """What was logged since: (priority, unit or name, message) of each entry of or about our units."""
    out = run('journalctl', since(began), '--output=json', '--all')
    entries = []
    for line in out.splitlines():
        entry = json.loads(line)
        who = entry.get('UNIT') or entry.get('_SYSTEMD_UNIT') or ''
        if 'pmbroker' not in who or who.startswith('pmbroker-suite'):
            continue
        message = entry.get('MESSAGE') or ''
        if isinstance(message, list):  # not UTF-8
            message = bytes(message).decode(errors='replace')
        entries.append((int(entry.get('PRIORITY', 6)), who, message))
    return entries


# ----------------------------------------------------------------------------------------------------------- system

class System:
    """The daemon that the units run, and its users."""

    def __init__(self, began):
        self.began = began
        self.expected_errors = []
        self.processes = []
        self.programs = []
        self._admin = None

    # users

    @property
    def admin(self):
        if self._admin is None:
            self._admin = Client(SOCKET)
        return self._admin

    def ask(self, name, *args):
        """The administrator asks, over a new session if the last one has ended."""
        try:
            return getattr(self.admin, name)(*args)
        except (OSError, Closed):
            self._admin = None
            return getattr(self.admin, name)(*args)

    def user(self, uid=ALICE, **kwargs):
        """A session of a new process of that user."""
        process = Process(uid)
        self.processes.append(process)
        return process.connect(SOCKET, **kwargs)

    def forget(self, client):
        """End its process, and go on without it."""
        client.process.kill()
        client.process.wait()
        self.processes.remove(client.process)

    def program(self, uid, *argv):
        """Start a program as that user; its output is in .log."""
        log = pathlib.Path(f'/run/pmbroker-suite/program-{len(self.programs)}')
        with log.open('wb') as f:
            program = subprocess.Popen([str(a) for a in as_user(uid, *argv)], stdin=subprocess.DEVNULL, stdout=f, stderr=f)
        program.log = log
        self.programs.append(program)
        return program

    def hostile(self, client, *argv):
        """Start `hostile` on the file of a client's only pool, as root, who has more means."""
        path, = [p for p in pathlib.Path(f'/proc/{client.process.pid}/fd').iterdir() if p.readlink().name == 'pool']
        program = self.program(0, 'sh', '-c', f'exec "$0" "$@" 3<>{path}', HOSTILE, *argv)
        wait_for(lambda: 'ready' in program.log.read_text(), SECONDS, 'the hostile client is ready')
        return program

    # life

    def is_ready(self):
        """It serves, and everything that was before it is found again."""
        try:
            if not self.ask('status').provisioner or not all(s.available for s in self.ask('stores').values()):
                return False
            self.ask('pool', 1)
        except Refused as e:
            return e.code == 'NOT_FOUND'
        except (OSError, Closed):
            return False
        return True

    def wait_until_ready(self):
        wait_for(self.is_ready, SECONDS, 'pmbroker is ready', every=0.05)

    def kill(self, *units):
        """kill -9 of these units' processes, until others are in their place and serve."""
        old = {unit: main_pid(unit) for unit in units}
        for pid in old.values():
            os.kill(pid, signal.SIGKILL)
        for unit, pid in old.items():
            wait_for(lambda: main_pid(unit) not in (0, pid), SECONDS, f'{unit} has started again', every=0.1)
        self.wait_until_ready()

    # figures

    def rows(self):
        """All pools, without what changes by itself, or when both daemons are new; a new broker lists them in another order."""
        rows = sorted(self.ask('pools'), key=lambda row: row.pool)
        for row in rows:
            row.ClearField('age_usec')
            row.ClearField('gifts')
        return rows

    def is_consistent(self):
        """Stores, tenants, rows and status tell the same story."""
        stores, tenants, rows, status = (self.ask(w) for w in ('stores', 'tenants', 'pools', 'status'))
        charged = sum(s.charged for s in stores.values())
        return charged == sum(t.bytes for t in tenants.values()) == sum(r.size for r in rows) == status.bytes and \
            sum(s.pools for s in stores.values()) == sum(t.pools for t in tenants.values()) == len(rows) == status.pools

    # the end

    def expect_errors(self, pattern):
        """This test causes messages of priority "error" that match."""
        self.expected_errors.append(pattern)

    def dismiss(self):
        """End all users; then every pool must be gone."""
        self.end_users()
        wait_for(lambda: self.ask('status').pools == 0, SECONDS, 'all pools are gone', every=0.05)

    def finish(self):
        """And nobody may have complained."""
        try:
            self.dismiss()
            assert self.is_consistent()
            assert self.ask('status').bytes == 0
            if self._admin:
                self._admin.close()
            errors = [e for e in journal(self.began)
                      if e[0] <= 3 and not any(re.search(p, e[2]) for p in self.expected_errors)]
            assert errors == []
        finally:
            self.end_users()

    def end_users(self):
        for process in self.processes:
            process.kill()
            process.wait()
        for program in self.programs:
            program.kill()
            program.wait()
