# SPDX-License-Identifier: BSD-3-Clause
"""Stores on NVDIMMs with a provisioner of their own, what the kernel says of their pools, and clients of these."""

import collections
import ctypes
import errno
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import time

from daemon import wait_for
from jobproto import FINAL, MIB, RELEASE, UNIT, Provisioner
from system import ALICE, ROOT, as_user, run

import jobproto

GIB = 1 << 30
SECONDS = 60
jobproto.TIMEOUT = SECONDS
FS_IOC_FSGETXATTR, FS_IOC_FIEMAP, FIEMAP_EXTENT_UNWRITTEN = 0x801c581f, 0xc020660b, 0x800
SYS_QUOTACTL_FD, Q_GETQUOTA, PRJQUOTA = 443, 0x800007, 2
libc = ctypes.CDLL(None, use_errno=True)

Figures = collections.namedtuple('Figures', 'size units written length usage limit project sealed')


# -------------------------------------------------------------------------------------------------------- the store

def regions():
    found = json.loads(run('ndctl', 'list', '-R'))
    return sorted(r['dev'] for r in found if r['size'] == GIB)


def wipe():
    """No namespaces; the labels stay, which the kernel would not forget before the next boot. Whoever still holds a file of
    one, if only for a moment, keeps it, and ndctl calls it a success if it has destroyed another."""
    def are_gone():
        for region in regions():
            run('ndctl', 'destroy-namespace', '-f', '-r', region, 'all', check=False)
        return not any(n['size'] for region in regions() for n in json.loads(run('ndctl', 'list', '-N', '-r', region) or '[]'))

    wait_for(are_gone, SECONDS, lambda: f'these are gone: {run("ndctl", "list", "-N")}', every=0.2)


class Store(Provisioner):
    """A provisioner of its own with three stores."""

    def __init__(self, directory):
        self.ids = 0x1000
        self.clients = []
        first, second = regions()
        super().__init__(directory, f'''
[Store one]
Type=fsdax
Region={first}
Size=880M
InitLabels=yes
[Store clean]
Type=fsdax
Region={first}
Size=128M
Scrub=release
InitLabels=yes
[Store x]
Type=fsdax
Region={second}
Size=800M
Filesystem=xfs
TrustedTenants=yes
RequireDax=no
InitLabels=yes
''', keeper=True)
        self.wait()

    def wait(self):
        def ready():
            with self.connect() as jobs:
                self.rows = {s.name: s for s in jobs.stores()}
            print([(s.name, s.flags, s.reason) for s in self.rows.values()])
            return all(s.flags & jobproto.AVAILABLE for s in self.rows.values())
        wait_for(ready, SECONDS, 'the stores are there', every=0.2)

    def index(self, name):
        return self.rows[name].index

    def restart(self, sig=signal.SIGKILL):
        super().restart(sig)
        self.wait()

    def id(self):
        self.ids += 1
        return self.ids

    def path(self, id, store='one'):
        """Seen from the namespace that all is in."""
        return f'/proc/{self.process.pid}/root{self.state}/mnt/{store}/{id:016x}.pool'

    def device(self, store='one'):
        with open(f'/proc/{self.process.pid}/mountinfo') as f:
            return next(re.search(r' (/dev/\S+) ', line).group(1) for line in f if f'/mnt/{store} ' in line)

    def figures(self, id, store='one'):
        """Asked of the kernel, not of what is tested."""
        path = self.path(id, store)
        fd = os.open(path, os.O_RDONLY)
        try:
            attributes = bytearray(28)
            fcntl.ioctl(fd, FS_IOC_FSGETXATTR, attributes)
            flags, _, _, project = struct.unpack_from('=IIII', attributes)
            units, written = set(), set()
            for start, length, kind in extents(fd):
                now = set(range(start // UNIT, (start + length - 1) // UNIT + 1))
                units |= now
                if not kind & FIEMAP_EXTENT_UNWRITTEN:
                    written |= now
            used, limit = quota(fd, project)
            return Figures(len(units) * UNIT, units, written, os.fstat(fd).st_size, used, limit, project, bool(flags & 8))
        finally:
            os.close(fd)

    def quota(self, project, store='one'):
        fd = os.open(os.path.dirname(self.path(1, store)), os.O_RDONLY)
        try:
            return quota(fd, project)
        finally:
            os.close(fd)

    def free(self, store='one'):
        st = os.statvfs(os.path.dirname(self.path(1, store)))
        return st.f_bfree * st.f_frsize

    def client(self, fd, **kwargs):
        c = Client(fd, **kwargs)
        self.clients.append(c)
        return c


def extents(fd):
    at, room = 0, 400
    while True:
        buffer = bytearray(32 + room * 56)
        struct.pack_into('=QQIIII', buffer, 0, at, (1 << 63) - at, 0, 0, room, 0)
        fcntl.ioctl(fd, FS_IOC_FIEMAP, buffer)
        n = struct.unpack_from('=I', buffer, 20)[0]
        for i in range(n):
            start, _, length, _, _, kind = struct.unpack_from('=QQQQQI', buffer, 32 + i * 56)
            yield start, length, kind
            at = start + length
        if n < room:
            return


def place_on_device(fd, offset):
    """Where what is at an offset of a file is on its device, whether it was ever written or not."""
    buffer = bytearray(32 + 56)
    struct.pack_into('=QQIII', buffer, 0, offset, 1, 0, 0, 1)
    fcntl.ioctl(fd, FS_IOC_FIEMAP, buffer)
    assert struct.unpack_from('=I', buffer, 20)[0] == 1
    start, physical = struct.unpack_from('=QQ', buffer, 32)
    return physical + offset - start


def quota(fd, project):
    """(used, limit) in bytes."""
    buffer = ctypes.create_string_buffer(128)
    assert libc.syscall(SYS_QUOTACTL_FD, fd, Q_GETQUOTA << 8 | PRJQUOTA, project, buffer) == 0
    hard, _, used = struct.unpack_from('=QQQ', buffer)
    return used, hard * 1024


class Client:
    """fsdax-client as an ordinary user; its descriptor of the pool is 3."""

    def __init__(self, fd, root=False):
        def become():
            os.dup2(fd, 3)
            os.set_inheritable(3, True)  # it may have been 3 before

        program = [str(ROOT / 'build/tests/integration/fsdax-client')]
        # All other descriptors are closed by exec. Not by another Python: that takes an emulated machine a second.
        self.process = subprocess.Popen(program if root else as_user(ALICE, *program), close_fds=False, preexec_fn=become,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.close(fd)

    def say(self, *words):
        self.process.stdin.write(' '.join(map(str, words)) + '\n')
        self.process.stdin.flush()

    def read(self):
        return self.process.stdout.readline().strip()

    def __call__(self, *words):
        self.say(*words)
        return self.read()

    def end(self):
        self.process.kill()
        self.process.communicate()


# ------------------------------------------------------------------------------------------------------------ pools

def release(jobs, id, how=FINAL, seconds=SECONDS, **args):
    deadline = time.monotonic() + seconds
    while True:
        reply = jobs.ask(RELEASE, pool=id, bytes=how, **args)
        if reply.error != -errno.ETIMEDOUT or time.monotonic() > deadline:
            return reply.error
        time.sleep(0.05)


def assert_at_rest(f, size, length=None, resized=False):
    assert f.size == size and f.length == (size if length is None else length), f
    assert f.sealed and f.project != 0
    assert f.size <= f.usage, f
    # At first with a cluster for the extent tree, if there is none: there is no hole that it could fill.
    assert f.limit == (f.size if resized else max(f.usage, f.size + UNIT)), f
