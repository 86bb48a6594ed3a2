# SPDX-License-Identifier: BSD-3-Clause
"""The broker's side of the job protocol (daemon/provisioner/job.h), and a provisioner alone to speak it with."""

import array
import collections
import errno
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('BUILD', ROOT / 'build'))
if not BUILD.is_absolute():
    BUILD = ROOT / BUILD

MIB = 1 << 20
UNIT = 2 * MIB
PAGE = 4096

VERSION = 3
STORES, POOLS, CREATE, GROW, SHRINK, RELEASE, USAGE = range(1, 8)
APPLY = 10
EVENT_STORES, EVENT_AUDIT = 100, 101
EVENT_DAMAGE = 103
AVAILABLE, KEEPS, AUDITED = 1, 2, 4
RELEASING = 1
REVOKED, FINAL = 0, 1
POOLS_MAX = 32
TIMEOUT = 15

REQUEST = struct.Struct('=IIQQQQQII')
REPLY = struct.Struct('=IIQQQQQiIII')
STORE = struct.Struct('=QIIII33s160s3xi')
POOL = struct.Struct('=QQQQII512s')
ENTRY = struct.Struct('=QQ')

Reply = collections.namedtuple('Reply', 'version kind serial pool bytes length used error store n reserved tail fd')
Store = collections.namedtuple('Store', 'capacity index kind flags page_size name reason node')
Pool = collections.namedtuple('Pool', 'pool bytes length used flags record')


class Jobs:
    """One connection."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(str(path))
        self.socket.settimeout(TIMEOUT)
        self.serial = 0
        self.events = []

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def send(self, kind, pool=0, bytes=0, length=0, account=1, store=0, tail=b'', n=None, version=VERSION):
        self.serial += 1
        if n is None:
            n = {SHRINK: len(tail) // 8, USAGE: len(tail) // 8}.get(kind, len(tail))
        self.socket.send(REQUEST.pack(version, kind, self.serial, pool, bytes, length, account, store, n) + tail)
        return self.serial

    def recv(self):
        """The next packet that is not an event; None when the connection has ended."""
        while True:
            fds = array.array('i')
            try:
                data, control, _, _ = self.socket.recvmsg(65536, 64, socket.MSG_CMSG_CLOEXEC)
            except ConnectionResetError:
                continue  # told once, when it left something unread; what it had answered can still be read
            if not data:
                return None
            for level, type, content in control:
                if level == socket.SOL_SOCKET and type == socket.SCM_RIGHTS:
                    fds.frombytes(content[:4])
            reply = Reply(*REPLY.unpack_from(data), data[REPLY.size:], fds[0] if fds else None)
            if reply.serial != 0:
                return reply
            self.events.append(reply)

    def ask(self, kind, **args):
        serial = self.send(kind, **args)
        reply = self.recv()
        assert reply and reply.serial == serial and reply.kind == kind
        return reply

    def wait_event(self, kind, timeout=5):
        self.socket.settimeout(timeout)
        try:
            while not any(e.kind == kind for e in self.events):
                data = self.socket.recv(65536)
                reply = Reply(*REPLY.unpack_from(data), data[REPLY.size:], None)
                assert reply.serial == 0
                self.events.append(reply)
        finally:
            self.socket.settimeout(TIMEOUT)
        event = next(e for e in self.events if e.kind == kind)
        self.events.remove(event)
        return event

    def stores(self):
        reply = self.ask(STORES)
        assert reply.error == 0 and len(reply.tail) == reply.n * STORE.size
        stores = [Store(*row) for row in STORE.iter_unpack(reply.tail)]
        return [s._replace(name=s.name.rstrip(b'\0').decode(), reason=s.reason.rstrip(b'\0').decode()) for s in stores]

    def pools(self, store=0):
        found, after = [], 0
        while True:
            reply = self.ask(POOLS, store=store, pool=after)
            assert reply.error == 0 and len(reply.tail) == reply.n * POOL.size
            for *numbers, flags, size, record in POOL.iter_unpack(reply.tail):
                found.append(Pool(*numbers, flags & RELEASING, record[:size]))
                after = numbers[0]
            if reply.n < POOLS_MAX:
                return found

    def create(self, pool, bytes, store=0, record=b'a record', **args):
        reply = self.ask(CREATE, pool=pool, bytes=bytes, store=store, tail=record, **args)
        if reply.error == 0:
            assert reply.fd is not None and reply.bytes == bytes
        else:
            assert reply.fd is None
        return reply

    def shrink(self, pool, bytes, ranges, **args):
        return self.ask(SHRINK, pool=pool, bytes=bytes, tail=b''.join(struct.pack('=II', *r) for r in ranges), **args)

    def release(self, pool, how=FINAL, **args):
        """Until it is done, as the broker does."""
        deadline = time.monotonic() + 12
        while True:
            reply = self.ask(RELEASE, pool=pool, bytes=how, **args)
            if reply.error != -errno.ETIMEDOUT or time.monotonic() > deadline:
                return reply
            time.sleep(0.05)

    def usage(self, *pools, store=0):
        reply = self.ask(USAGE, store=store, tail=struct.pack(f'={len(pools)}Q', *pools))
        assert reply.error == 0 and len(reply.tail) == reply.n * ENTRY.size
        return dict(ENTRY.iter_unpack(reply.tail))


# Descriptors are put in place and the pid is known only between fork and exec of the real thing.
from reach import reachable_by_all

# There "/" is no mount point.
IN_CHROOT = not any(line.split()[4] == '/' for line in open('/proc/self/mountinfo'))

TRAMPOLINE = '''
import os, sys
fds = [os.dup(int(fd)) for fd in sys.argv[1].split(',')]
names = sys.argv[2]
while min(fds) < 10:
    fds = [os.dup(fd) for fd in fds]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
os.closerange(3 + len(fds), 64)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
os.execv(sys.argv[3], sys.argv[3:])
'''


class Provisioner:
    """A provisioner on a socket of its own, with the stores of a configuration text."""

    def __init__(self, directory, config, keeper=False, namespace=True, user=None, serves=None):
        self.directory = pathlib.Path(directory)
        self.socket_path = self.directory / 'jobs.sock'
        self.config = self.directory / 'pmbrokerd.conf'
        self.state = self.directory / 'state'
        self.runtime = self.directory / 'run'
        self.keeper = keeper
        self.namespace = namespace
        self.user = user
        self.serves = serves if serves is not None else os.getuid() if user is None else user
        self.process = None
        self.ns_fd = None
        self.config.write_text(config)
        for path in self.state, self.runtime:
            path.mkdir(exist_ok=True)
            if user is not None:
                os.chown(path, user, user)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(self.socket_path))
        self.listener.listen(16)
        os.chmod(self.socket_path, 0o600)
        if os.geteuid() == 0:
            os.chown(self.socket_path, self.serves, -1)
        self.start()

    def start(self, wait=True, prefix=(), environment=None):
        """The prefix is a program that becomes the provisioner in the end, with its arguments."""
        fds, names = [self.listener.fileno()], 'jobs'
        if self.ns_fd is not None:
            if IN_CHROOT:
                pytest.skip('in a chroot: a process that goes back into a mount namespace leaves the chroot')
            fds.append(self.ns_fd)
            names += ':mntns'
        for fd in fds:
            os.set_inheritable(fd, True)
        command = [sys.executable, '-S', '-E', '-c', TRAMPOLINE, ','.join(map(str, fds)), names,
                   *prefix, str(reachable_by_all(BUILD / 'pmbrokerd')), '--provisioner', '--config', str(self.config),
                   '--state-dir', str(self.state), '--runtime-dir', str(self.runtime),
                   '--user', str(self.serves)]
        environment = {**os.environ, **(environment or {})}
        environment.pop('NOTIFY_SOCKET', None)
        if self.keeper:
            environment['NOTIFY_SOCKET'] = '@pmbroker-test-nobody-listens'
        self.log = open(self.directory / 'log', 'ab')
        self.process = subprocess.Popen(command, pass_fds=fds, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, user=self.user)
        if not wait:
            return
        with self.connect() as jobs:
            jobs.stores()
        if self.keeper and self.namespace and self.ns_fd is None:
            self.ns_fd = os.open(f'/proc/{self.process.pid}/ns/mnt', os.O_RDONLY)

    def connect(self):
        return Jobs(self.socket_path)

    def kill(self, sig=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(10)

    def restart(self, sig=signal.SIGKILL):
        self.kill(sig)
        self.start()

    def reload(self, config):
        self.config.write_text(config)
        self.process.send_signal(signal.SIGHUP)

    def log_text(self):
        return (self.directory / 'log').read_text()

    def close(self):
        self.kill()
        self.listener.close()
        if self.ns_fd is not None:
            os.close(self.ns_fd)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()


class Hostile:
    """A process that does something bad with a descriptor (hostile.c)."""

    def __init__(self, fd, mode, bytes=0):
        self.process = subprocess.Popen(
            [sys.executable, '-S', '-E', '-c',
             'import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])',
             str(fd), str(BUILD / 'tests/integration/hostile'), mode, str(bytes)],
            pass_fds=[fd], stdout=subprocess.PIPE)
        self.said = self.process.stdout.readline().decode().strip()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
