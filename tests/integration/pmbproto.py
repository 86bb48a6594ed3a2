# SPDX-License-Identifier: BSD-3-Clause
"""The client's side of the protocol, made from proto/pmbroker.proto alone: nothing of the library is used.

Client is one session, with what a program does with its pools' memory. Process is a process of any user that has
sessions of its own: Process.connect() gives a Remote, whose methods are those of Client, carried out over there.
"""

import array
import contextlib
import ctypes
import fcntl
import gc
import importlib
import mmap
import os
import pathlib
import pickle
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
UNIT = 2 * MIB
PACKET_MAX = 4096
EVENTS = ('resized', 'reclaim', 'revoked', 'closing', 'revoking', 'damaged', 'happened')
TIMEOUT = 10

libc = ctypes.CDLL(None)
libc.close_range.argtypes = [ctypes.c_uint, ctypes.c_uint, ctypes.c_int]


def tee(pipe, other, n):
    """As tee(2): the other pipe gets what is in the first one, and stays there."""
    return libc.tee(pipe, other, ctypes.c_size_t(n), 2)


def _generate():
    with tempfile.TemporaryDirectory(prefix='pmbroker-pb-') as out:
        subprocess.run(['protoc', f'--proto_path={ROOT}/proto', f'--python_out={out}', 'pmbroker.proto'], check=True)
        sys.path.insert(0, out)
        try:
            return importlib.import_module('pmbroker_pb2')
        finally:
            sys.path.remove(out)


pb = _generate()
BODIES = {f.name: f.message_type._concrete_class for f in pb.ClientPacket.DESCRIPTOR.oneofs_by_name['body'].fields}


class Refused(Exception):
    """The answer was an Error: its fields are attributes, the code is a name."""

    def __init__(self, error):
        super().__init__(error)
        self.code = pb.Code.Name(error.code)
        self.errno = error.errno_value
        self.asked, self.limit, self.used, self.subject = error.asked, error.limit, error.used, error.subject

    def __str__(self):
        return f'{self.code} asked={self.asked} limit={self.limit} used={self.used} subject={self.subject!r}'


class Closed(Exception):
    """The daemon has ended the session."""


# -------------------------------------------------------------------------------------------------------- by hand

def varint(n):
    """A number as protobuf writes it."""
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, value):
    """One field by hand: bytes as length-delimited, a number as varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def packet(body, serial=1, request_id=0, **fields):
    """The bytes of a request."""
    if 'units' in fields:
        fields['units'] = [pb.UnitRange(first=f, count=c) for f, c in fields['units']]
    p = pb.ClientPacket(serial=serial, request_id=request_id, **{body: BODIES[body](**fields)})
    return p.SerializeToString()


# ------------------------------------------------------------------------------------------------------- a session

class Client:
    """One session, and the memory of the pools that were granted over it."""

    def __init__(self, path, hello=True, program='test'):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self.sock.connect(path)  # waits while the backlog is full
        self.sock.settimeout(TIMEOUT)
        self.serial = 100
        self.asked = set()
        self.answers = {}
        self.events = []
        self.fds = {}
        self.maps = {}
        self.spare = []
        if hello:
            self.hello_reply = self.ask('hello', major=1, program=program)

    def close(self):
        """End the session; the memory stays mapped."""
        self.sock.close()

    def give_up(self, pool):
        """Let go of a pool's descriptor and mapping without telling anybody."""
        if pool in self.maps:
            self.maps.pop(pool).close()
        if pool in self.fds:
            os.close(self.fds.pop(pool))

    # packets

    def send_raw(self, data, fds=()):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
        return self.sock.sendmsg([data], control)

    def send(self, body, request_id=0, serial=None, **fields):
        """Send a request, return its serial."""
        if serial is None:
            self.serial += 1
            serial = self.serial
        self.asked.add(serial)
        self.send_raw(packet(body, serial, request_id, **fields))
        return serial

    def _recvmsg(self):
        return self.sock.recvmsg(65536, socket.CMSG_SPACE(4 * 16), socket.MSG_CMSG_CLOEXEC)

    def recv_raw(self):
        """One packet and its descriptors; b'' at the end."""
        try:
            data, control, flags, _ = self._recvmsg()
        except ConnectionResetError:  # told once, even before what was sent in good order
            data, control, flags, _ = self._recvmsg()
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        fds = array.array('i')
        for level, kind, value in control:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            fds.frombytes(value)
        return data, list(fds)

    def recv(self):
        """One ServerPacket. Holds it to the protocol; keeps a pool's descriptor."""
        data, fds = self.recv_raw()
        if not data:
            raise Closed()
        assert len(data) <= 16384
        p = pb.ServerPacket()
        p.ParseFromString(data)
        assert p.serial != 0 and p.WhichOneof('body')
        if fds:
            assert len(fds) == 1 and p.WhichOneof('body') == 'grant'
            if p.grant.pool in self.fds:
                self.spare.append(fds[0])
            else:
                self.fds[p.grant.pool] = fds[0]
        return p

    def take(self):
        """Receive one packet and put it where it belongs; returns its length."""
        p = self.recv()
        if p.WhichOneof('body') in EVENTS:
            self.events.append(p)
        else:
            assert p.serial in self.asked, f'an answer to nothing: {p}'
            self.asked.remove(p.serial)
            self.answers[p.serial] = p
        return p.ByteSize()

    def answer(self, serial):
        """The answer's body; an Error is raised as Refused."""
        while serial not in self.answers:
            self.take()
        p = self.answers.pop(serial)
        body = getattr(p, p.WhichOneof('body'))
        if p.WhichOneof('body') == 'error':
            raise Refused(body)
        return body

    def ask(self, body, request_id=0, **fields):
        return self.answer(self.send(body, request_id, **fields))

    def is_answered(self, serial, seconds):
        """Whether the answer comes within that time."""
        end = time.monotonic() + seconds
        while serial not in self.answers:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return False
            self.take()
        return True

    def event(self, kind, seconds=TIMEOUT):
        """The next event of that kind (others are kept), or None."""
        end = time.monotonic() + seconds
        while True:
            for p in self.events:
                if p.WhichOneof('body') == kind:
                    self.events.remove(p)
                    return getattr(p, kind)
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return None
            self.take()

    def rest(self):
        """All packets until the daemon ends the session; fails when it does not."""
        packets = []
        while True:
            try:
                packets.append(self.recv())
            except Closed:
                return packets

    def rest_raw(self):
        """The same, as bytes."""
        packets = []
        while data := self.recv_raw()[0]:
            packets.append(data)
        return packets

    def next_or_end(self, seconds):
        """1 when a packet came, 0 at the end, None when neither happened in time."""
        if not select.select([self.sock], [], [], seconds)[0]:
            return None
        return int(bool(self.recv_raw()[0]))

    def flood(self, body, n, **fields):
        """Send up to n requests and read nothing, until the daemon has enough of it: how many went."""
        self.sock.settimeout(3)
        for i in range(n):
            try:
                self.send(body, **fields)
            except OSError:
                return i
        return n

    def waits_to_be_read(self):
        """Bytes of all packets that lie in the socket."""
        count = array.array('i', [0])
        fcntl.ioctl(self.sock, termios.FIONREAD, count)
        return count[0]

    def shutdown(self, how):
        self.sock.shutdown(how)

    # requests

    def hello(self):
        return self.hello_reply

    def create(self, size, **fields):
        return self.ask('create_pool', size=size, **fields)

    def destroy(self, pool, **fields):
        return self.ask('destroy_pool', pool=pool, **fields)

    def drop(self, pool):
        """Let go of a pool's memory, then of the pool."""
        self.give_up(pool)
        return self.destroy(pool)

    def resize(self, pool, size):
        return self.ask('resize_pool', pool=pool, size=size)

    def give_back(self, pool, *units):
        return self.ask('give_back', pool=pool, units=units)

    def revoke(self, pool):
        return self.ask('revoke_pool', pool=pool)

    def pool(self, pool):
        """The row of one pool."""
        rows = self.ask('get_pool', pool=pool).rows
        assert len(rows) == 1
        return rows[0]

    def _pages(self, body, after=0):
        rows = []
        while True:
            page = self.ask(body, after=after)
            rows += page.rows
            after = page.next
            if after == 0:
                return rows

    def pools(self):
        return self._pages('list_pools')

    def resume(self):
        return self._pages('resume_pools')

    def tenants(self):
        return {row.name: row for row in self._pages('list_tenants')}

    def stores(self):
        return {row.name: row for row in self.ask('list_stores').rows}

    def status(self):
        return self.ask('get_status')

    # memory

    def number_of(self, pool):
        """Of its descriptor, in this process."""
        return self.fds[pool]

    def has_fd(self, pool):
        return pool in self.fds

    def spare_fds(self):
        return len(self.spare)

    # time

    def measure(self, body, n, **fields):
        """Seconds that each of n requests takes."""
        seconds = []
        for _ in range(n):
            begin = time.perf_counter()
            self.ask(body, **fields)
            seconds.append(time.perf_counter() - begin)
        return seconds

    def measure_pools(self, size, n):
        """Seconds that each of n creates takes, and each destroy after it."""
        created, destroyed = [], []
        for _ in range(n):
            begin = time.perf_counter()
            pool = self.create(size).pool
            middle = time.perf_counter()
            self.give_up(pool)
            between = time.perf_counter()
            self.destroy(pool)
            created.append(middle - begin)
            destroyed.append(time.perf_counter() - between)
        return created, destroyed

    def map(self, pool, length=0):
        """Map the pool's file, all of it or so many bytes."""
        if pool in self.maps:
            self.maps.pop(pool).close()
        self.maps[pool] = mmap.mmap(self.fds[pool], length or os.fstat(self.fds[pool]).st_size)

    def _map(self, pool):
        if pool not in self.maps:
            self.map(pool)
        return self.maps[pool]

    def adopt_memory(self, other):
        """Use the descriptors and mappings of an earlier session of this process."""
        self.fds, self.maps = other.fds, other.maps

    def write(self, pool, offset, data):
        m = self._map(pool)
        m[offset:offset + len(data)] = data

    def read(self, pool, offset, n):
        return self._map(pool)[offset:offset + n]

    def pread(self, pool, offset, n):
        """Read without touching the mapping: in tmpfs even a look at a hole takes a page."""
        return os.pread(self.fds[pool], n, offset)

    def fill(self, pool, value, first=0, count=None):
        """Write every byte of these units: value, value + 1, ... by unit."""
        m = self._map(pool)
        for i in range(first, len(m) // UNIT if count is None else first + count):
            m[i * UNIT:(i + 1) * UNIT] = bytes([(value + i) % 256]) * UNIT

    def is_filled(self, pool, value, first=0, count=None):
        m = self._map(pool)
        end = len(m) // UNIT if count is None else first + count
        return all(m[i * UNIT:(i + 1) * UNIT] == bytes([(value + i) % 256]) * UNIT for i in range(first, end))

    def pin(self, pool, offset):
        """Have a page of it in a pipe; the fd to read that from."""
        reader, writer = os.pipe()
        page = ctypes.c_char.from_buffer(self._map(pool), offset)
        place = (ctypes.c_size_t * 2)(ctypes.addressof(page), 4096)
        del page
        n = libc.vmsplice(writer, place, 1, 0)
        os.close(writer)
        return reader if n == 4096 else None

    def touch(self, pool, *offsets):
        """Store a byte at each offset, in a child: 0, or the number of the signal that killed it."""
        m = self._map(pool)
        pid = os.fork()
        if pid == 0:
            for offset in offsets:
                m[offset] = 1
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) * -1

    def touch_pages(self, pool, offset, n):
        return self.touch(pool, *range(offset, offset + n, 4096))

    def pwrite(self, pool, offset, n):
        """Write n bytes: how many went, and the errno that ended it."""
        block, done = b'\xa5' * MIB, 0
        while done < n:
            try:
                done += os.pwrite(self.fds[pool], block[:n - done], offset + done)
            except OSError as e:
                return done, e.errno
        return done, 0

    def fallocate(self, pool, offset, n):
        try:
            os.posix_fallocate(self.fds[pool], offset, n)
        except OSError as e:
            return e.errno
        return 0

    def ftruncate(self, pool, length):
        try:
            os.ftruncate(self.fds[pool], length)
        except OSError as e:
            return e.errno
        return 0

    def stat(self, pool):
        """Length and allocated bytes of the file."""
        st = os.fstat(self.fds[pool])
        return st.st_size, st.st_blocks * 512


# ---------------------------------------------------------------------------------------------------------- attacks

class Attack:
    """Each method is one thing that a client should not do, on a session of which nothing is expected."""

    def __init__(self, path):
        self.path = path
        self.sock = None
        self.turn = 0
        self.random = random.Random(1)
        self.null = os.open('/dev/null', os.O_RDONLY | os.O_CLOEXEC)
        self.silent = []

    def hang_up(self):
        for sock in self.silent + [self.sock]:
            if sock:
                sock.close()
        self.sock, self.silent = None, []

    def connect(self, hello=True):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        sock.settimeout(TIMEOUT)
        sock.connect(self.path)
        if hello:
            sock.send(packet('hello', 1, major=1))
            sock.recv(PACKET_MAX)
        return sock

    def send(self, data, fds=()):
        """On the session there is, or a new one if it has ended; what comes back is thrown away."""
        if self.sock is None:
            self.turn += 1
            self.sock = self.connect(hello=self.turn % 2 == 0)
            self.sock.setblocking(False)
        try:
            self.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else [])
            while self.sock.recv(1 << 14):
                pass
            raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            self.sock.close()
            self.sock = None
            raise

    def random_bytes(self):
        self.send(self.random.randbytes(self.random.choice([1, 2, 3, 7, 20, 100, 1000, 4096])))

    def empty(self):
        self.send(b'')

    def oversized(self):
        self.send(bytes(self.random.choice([PACKET_MAX + 1, 2 * PACKET_MAX, 65536])))

    def one_descriptor(self):
        self.send(packet('get_status', 7), [self.null])

    def many_descriptors(self):
        self.send(packet('get_status', 7), [self.null] * 253)

    def descriptors_in_a_circle(self):
        """Two sockets, each waiting in the other's queue: only the kernel's collector finds them."""
        a, b = socket.socketpair()
        with a, b:
            socket.send_fds(a, [b'x'], [a.fileno(), b.fileno()])
            socket.send_fds(b, [b'x'], [a.fileno(), b.fileno()])
            self.send(packet('get_status', 7), [a.fileno(), b.fileno()])

    def bomb(self):
        self.send(field(1, 7) + field(self.random.choice([15, 99]), self.random.choice([0, b''])) * 1300)

    def silence(self):
        """Up to two hundred connections that say nothing."""
        if len(self.silent) >= 200:
            self.silent.pop(0).close()
        self.silent.append(self.connect(hello=False))

    def pipeline(self):
        """Requests without end, and not an answer read."""
        if self.sock is None:
            self.sock = self.connect()
        try:
            self.sock.send(packet('list_stores', 7))
        except OSError:
            self.sock.close()
            self.sock = None

    def unread_descriptors(self):
        """Two pools whose descriptors are never taken."""
        if len(self.silent) >= 8:
            self.silent.pop(0).close()
        sock = self.connect()
        self.silent.append(sock)
        for serial in 2, 3:
            sock.send(packet('create_pool', serial, size=UNIT))

    def half_close(self):
        with self.connect() as sock:
            sock.send(packet('list_pools', 2))
            sock.shutdown(self.random.choice([socket.SHUT_WR, socket.SHUT_RD]))

    def child(self):
        """A child writes on the connection of its parent."""
        with self.connect() as sock:
            pid = os.fork()
            if pid == 0:
                with contextlib.suppress(OSError):
                    for serial in range(2, 10):
                        sock.send(packet('create_pool', serial, size=UNIT))
                os._exit(0)
            with contextlib.suppress(OSError):
                for serial in range(10, 18):
                    sock.send(packet('get_status', serial))
            os.waitpid(pid, 0)

    def conflict(self):
        """The same request id, with another body each time."""
        self.send(packet('create_pool', 7, 77, size=self.random.randrange(1, 4) * UNIT))


ATTACKS = [name for name in vars(Attack) if name not in ('__init__', 'hang_up', 'connect', 'send') and name[0] != '_']


# -------------------------------------------------------------------------------------------------------- processes

class _Told:
    """What a Process does when told; object 0 of the other side."""

    def __init__(self, sock):
        self.objects = {0: self}
        self.sock = sock

    def connect(self, path, *args, **kwargs):
        number = max(self.objects) + 1
        self.objects[number] = Client(path, *args, **kwargs)
        return number

    def adopt_memory(self, to, of):
        self.objects[to].adopt_memory(self.objects[of])

    def fork(self, path):
        """How many pools a forked child gets back when it speaks to the daemon itself."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                client = Client(path)
                _send(theirs, len(client.resume()))
            finally:
                os._exit(0)
        theirs.close()
        result = _recv(ours, TIMEOUT)
        ours.close()
        os.waitpid(pid, 0)
        return result

    def exec_again(self):
        """Become a fresh program that serves the same test."""
        os.set_inheritable(self.sock.fileno(), True)
        path = os.path.dirname(os.path.abspath(__file__))
        os.execv(sys.executable, [sys.executable, '-c', f'import sys; sys.path.insert(0, {path!r}); import pmbproto; '
                                  f'pmbproto.serve_after_exec({self.sock.fileno()})'])

    def flood(self, path, body, n, **fields):
        """Ask over n sessions, as fast as they take it, until killed."""
        clients = [Client(path) for _ in range(n)]
        data = packet(body, 5, **fields)
        socks = [client.sock for client in clients]
        for sock in socks:
            sock.setblocking(False)
        while True:
            readable, writable, _ = select.select(socks, socks, [])
            for sock in writable:
                with contextlib.suppress(BlockingIOError):
                    for _ in range(16):
                        sock.send(data)
            for sock in readable:
                with contextlib.suppress(BlockingIOError):
                    while sock.recv(16384):
                        pass

    def measure_connect(self, path, n):
        """Seconds that each of n sessions takes to be served."""
        seconds = []
        for _ in range(n):
            begin = time.perf_counter()
            Client(path).close()
            seconds.append(time.perf_counter() - begin)
        return seconds

    def storm(self, path, n, **fields):
        """Create and destroy over n sessions at once, until killed."""
        clients = [Client(path) for _ in range(n)]
        for client in clients:
            client.send('create_pool', **fields)
        while True:
            for sock in select.select([client.sock for client in clients], [], [])[0]:
                client = next(c for c in clients if c.sock is sock)
                client.take()
                for serial in list(client.answers):
                    p = client.answers.pop(serial)
                    if p.WhichOneof('body') == 'grant':
                        client.give_up(p.grant.pool)
                        client.send('destroy_pool', pool=p.grant.pool)
                    else:
                        client.send('create_pool', **fields)

    def storm_of_connections(self, path):
        """Connect, say something or not, hang up, until killed."""
        hello = packet('hello', 1, major=1)
        while True:
            socks = []
            for i in range(64):
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    sock.connect(path)
                    if i % 2:
                        sock.send(hello)
                socks.append(sock)
            for sock in socks:
                sock.close()

    def attack(self, path, name, n):
        """Do that n times, or until killed (0)."""
        attack = Attack(path)
        step = getattr(attack, name)
        done = 0
        while n == 0 or done < n:
            with contextlib.suppress(OSError):  # the daemon hangs up, or does not take it
                step()
            done += 1
        attack.hang_up()

    def fork_holder(self):
        """Leave a child behind that holds all descriptors; its pid."""
        pid = os.fork()
        if pid == 0:
            signal.pause()
        return pid


def _send(sock, value):
    data = pickle.dumps(value)
    sock.sendall(struct.pack('=Q', len(data)) + data)


def _recv_exactly(sock, n):
    data = bytearray()
    while len(data) < n:
        more = sock.recv(min(n - len(data), 1 << 20))
        if not more:
            raise EOFError('the process has ended')
        data += more
    return bytes(data)


def _recv(sock, seconds):
    sock.settimeout(seconds)
    return pickle.loads(_recv_exactly(sock, struct.unpack('=Q', _recv_exactly(sock, 8))[0]))


def _serve(sock):
    told = _Told(sock)
    sock.settimeout(None)
    while True:
        try:
            target, name, args, kwargs = _recv(sock, None)
        except EOFError:
            return
        try:
            result = (True, getattr(told.objects[target], name)(*args, **kwargs))
        except Exception as e:
            result = (False, e, traceback.format_exc())
        try:
            _send(sock, result)
        except (pickle.PicklingError, TypeError, AttributeError):
            _send(sock, (False, RuntimeError(repr(result[1])), ''))


def serve_after_exec(fd):
    sock = socket.socket(fileno=fd)
    _send(sock, (True, os.getpid()))  # what exec_again() returns
    _serve(sock)


def _become(uid, gid, groups):
    if uid is not None:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, which a new identity clears


class Process:
    """A process of its own, of the user and groups named (None: of ours), that does what it is told."""

    def __init__(self, uid=None, gid=None, groups=()):
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                fd = theirs.fileno()
                libc.close_range(3, fd - 1, 0)
                libc.close_range(fd + 1, 2 ** 32 - 1, 0)
                gc.disable()
                _become(uid, uid if gid is None else gid, groups)
                _serve(theirs)
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        self.sock = ours
        self.told = 0

    def start(self, target, method, /, *args, **kwargs):
        """Tell, and do not wait."""
        _send(self.sock, (target, method, args, kwargs))
        self.told += 1

    def finish(self, seconds=3 * TIMEOUT):
        """The result of the oldest start() that was not finished."""
        result = _recv(self.sock, seconds)
        self.told -= 1
        if result[0]:
            return result[1]
        raise result[1]

    def call(self, target, method, /, *args, **kwargs):
        assert self.told == 0
        self.start(target, method, *args, **kwargs)
        return self.finish()

    def connect(self, path, *args, **kwargs):
        return Remote(self, self.call(0, 'connect', path, *args, **kwargs), path)

    def reconnect(self, path, old):
        """A new session of the same process, which knows the memory of the one before."""
        remote = self.connect(path)
        self.call(0, 'adopt_memory', remote.number, old.number)
        return remote

    def kill(self, sig=signal.SIGKILL):
        if self.pid:
            os.kill(self.pid, sig)

    def wait(self):
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0
            self.sock.close()

    def end(self):
        """End it as a program does that returns from main()."""
        self.sock.shutdown(socket.SHUT_WR)
        self.wait()


class Remote:
    """A Client in another process."""

    def __init__(self, process, number, path):
        self.process = process
        self.number = number
        self.path = path

    def __getattr__(self, name):
        def method(*args, **kwargs):
            return self.process.call(self.number, name, *args, **kwargs)
        return method

    def later(self, method, /, *args, **kwargs):
        """Have it done while others do something; process.finish() gets the result."""
        self.process.start(self.number, method, *args, **kwargs)
