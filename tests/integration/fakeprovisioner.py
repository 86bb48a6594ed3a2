# SPDX-License-Identifier: BSD-3-Clause
"""A provisioner that a test plays itself, and a broker alone that takes it for one."""

import array
import collections
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import jobproto
from jobproto import (AVAILABLE, BUILD, CREATE, GROW, POOL, POOLS, RELEASE, REPLY, REQUEST, SHRINK, STORE, STORES,
                      TRAMPOLINE, UNIT, USAGE, VERSION, EVENT_DAMAGE, EVENT_STORES)
from reach import reachable_by_all

NOBODY = 65534
Request = collections.namedtuple('Request', 'version kind serial pool bytes length account store n tail')


class FakeProvisioner:
    """Answers as one does whose kernel always agrees, unless answers[kind] is a function that says otherwise: it gets the
    request and returns (error, elements, tail[, used]), or None to say nothing. What it holds is in `pools`: id -> [bytes,
    length, flags, record]."""

    def __init__(self, path):
        self.stores = [self.store('main')]
        self.pools = {}
        self.answers = {}
        self.asked = []
        self.waiting = []
        self.connection = None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        os.chown(path, NOBODY, -1)
        self.listener.listen(4)
        threading.Thread(target=self._serve, daemon=True).start()

    @staticmethod
    def store(name, index=0, flags=AVAILABLE, capacity=64 * UNIT, reason='', kind=2, page_size=4096, node=0):
        return STORE.pack(*jobproto.Store(capacity, index, kind, flags, page_size, name.encode(), reason.encode(), node))

    def _serve(self):
        while True:
            try:
                self.connection, _ = self.listener.accept()
                while data := self.connection.recv(65536):
                    self._handle(Request(*REQUEST.unpack_from(data), data[REQUEST.size:]))
            except OSError:
                if self.listener.fileno() < 0:
                    return

    def _handle(self, request):
        self.asked.append(request.kind)
        if request.kind in self.answers:
            answer = self.answers[request.kind](request)
            if answer is None:
                self.waiting.append(request)
                return
        else:
            answer = self.carry_out(request)
        self.reply(request, *answer)

    def carry_out(self, q):
        if q.kind == STORES:
            return 0, len(self.stores), b''.join(self.stores)
        if q.kind == POOLS:
            rows = [POOL.pack(id, b, length, 0, flags, len(record), record)
                    for id, (b, length, flags, record) in sorted(self.pools.items()) if id > q.pool]
            return 0, len(rows), b''.join(rows)
        if q.kind == CREATE:
            self.pools[q.pool] = [q.bytes, q.length, 2, q.tail]
        elif q.kind in (GROW, SHRINK):
            self.pools[q.pool][:2] = [q.bytes, q.length]
        elif q.kind == RELEASE:
            self.pools.pop(q.pool, None)
        return 0, 0, b''

    def reply(self, q, error=0, n=0, tail=b'', used=0):
        control = []
        if q.kind == CREATE and error == 0:
            fd = os.memfd_create('pool')
            os.ftruncate(fd, q.length)
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))]
        packet = REPLY.pack(VERSION, q.kind, q.serial, q.pool, q.bytes, q.length, used, error, q.store, n, 0) + tail
        self.connection.sendmsg([packet], control)
        if control:
            os.close(fd)

    def answer_waiting(self):
        """Do, and answer, what was left unanswered."""
        while self.waiting:
            q = self.waiting.pop(0)
            self.reply(q, *self.carry_out(q))

    def stores_changed(self):
        self.connection.send(REPLY.pack(VERSION, EVENT_STORES, 0, 0, 0, 0, 0, 0, 0, 0, 0))

    def tell_damage(self, bytes, offset=0, pool=0, store=0):
        self.connection.send(REPLY.pack(VERSION, EVENT_DAMAGE, 0, pool, bytes, 0, offset, 0, store, 0, 0))

    def hang_up(self):
        self.connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()


class LoneBroker:
    """The broker as its unit starts it."""

    def __init__(self, config='[Broker]\nReconnectSec=30s\n', nofile=None, prefix=()):
        self.prefix = prefix
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='pmb-'))
        self.dir.chmod(0o755)
        (self.dir / 'conf').write_text(config)
        self.socket = str(self.dir / 's')
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.socket)
        os.chmod(self.socket, 0o666)
        self.listener.listen(16)
        self.provisioner = FakeProvisioner(str(self.dir / 'jobs'))
        self.limit = ['/usr/bin/prlimit', f'--nofile={nofile}:{nofile}'] if nofile else []
        self.start()

    def fds(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def start(self):
        fd = self.listener.fileno()
        os.set_inheritable(fd, True)
        environment = {k: v for k, v in os.environ.items() if k != 'NOTIFY_SOCKET'}
        with open(self.dir / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, '-S', '-E', '-c', TRAMPOLINE, str(fd), 'clients', *self.limit, '/usr/bin/setpriv',
                 f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', str(reachable_by_all(BUILD / 'pmbrokerd')),
                 '--broker', '--config', str(self.dir / 'conf'), '--jobs', str(self.dir / 'jobs')],
                pass_fds=[fd], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self):
        return (self.dir / 'log').read_text()

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.provisioner.close()
        self.listener.close()
        shutil.rmtree(self.dir, ignore_errors=True)
