# SPDX-License-Identifier: BSD-3-Clause
"""A daemon that says what a test wants it to say: rows that cannot be had from a real one, refusals, nonsense."""

import socket
import threading

from pmbproto import pb

PAGE = 64
EVENT_SERIAL = 3


class FakeDaemon:
    """Serves the fields below. `answers` maps the name of a request to a function of (session, packet) that answers
    instead; it returns a dict of the ServerPacket's body, bytes to be sent as they are, or None for no answer."""

    def __init__(self, path):
        self.path = str(path)
        self.admin = True
        self.pools = []
        self.stores = []
        self.tenants = []
        self.status = pb.Status()
        self.sessions = []
        self.metrics = pb.Metrics()
        self.answers = {}
        self.requests = []  # (name, body)
        self.on_accept = lambda session: None
        self._sessions = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._listener.bind(self.path)
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for session in self._sessions:
            session.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sessions.append(Session(self, sock))

    def asked(self):
        """The names of the requests, without Hello."""
        return [name for name, _ in self.requests if name != 'hello']


class Session:
    def __init__(self, daemon, sock):
        self.daemon = daemon
        self.sock = sock
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join()

    def send(self, serial, **body):
        self.sock.send(pb.ServerPacket(serial=serial, **body).SerializeToString())

    def event(self, **body):
        self.send(EVENT_SERIAL, **body)

    def _serve(self):
        with self.sock:
            try:
                if self.daemon.on_accept(self) == 'close':
                    return
                while data := self.sock.recv(65536):
                    if self._answer(pb.ClientPacket.FromString(data)) == 'close':
                        return
            except OSError:
                return

    def _answer(self, packet):
        name = packet.WhichOneof('body')
        self.daemon.requests.append((name, getattr(packet, name)))
        answer = (self.daemon.answers.get(name) or getattr(Session, '_' + name))(self, packet)
        if isinstance(answer, bytes):
            self.sock.send(answer)
        elif isinstance(answer, dict):
            self.send(packet.serial, **answer)
        return answer

    def _hello(self, packet):
        return {'hello': pb.HelloReply(major=1, minor=0, version='0.1.0', admin=self.daemon.admin)}

    def _list_pools(self, packet):
        after = packet.list_pools.after
        end = after + PAGE
        return {'pools': pb.PoolList(rows=self.daemon.pools[after:end],
                                     next=end if end < len(self.daemon.pools) else 0)}

    def _get_pool(self, packet):
        rows = [row for row in self.daemon.pools if row.pool == packet.get_pool.pool]
        return {'pools': pb.PoolList(rows=rows)} if rows else refuse('NOT_FOUND')

    def _list_stores(self, packet):
        return {'stores': pb.StoreList(rows=self.daemon.stores)}

    def _list_tenants(self, packet):
        after = packet.list_tenants.after
        end = after + 2
        return {'tenants': pb.TenantList(rows=self.daemon.tenants[after:end],
                                         next=end if end < len(self.daemon.tenants) else 0)}

    def _get_status(self, packet):
        return {'status': self.daemon.status}

    def _resize_pool(self, packet):
        m = packet.resize_pool
        return {'size': pb.PoolSize(pool=m.pool, size=m.size, length=m.size, target=m.size)}

    def _done(self, packet):
        return {'done': pb.Done()}

    _revoke_pool = _watch = _drain_store = _set_limit = _done

    def _list_sessions(self, packet):
        after = packet.list_sessions.after
        rows = [row for row in self.daemon.sessions if row.session > after]
        return {'sessions': pb.SessionList(rows=rows[:2], next=rows[1].session if len(rows) > 2 else 0)}

    def _get_metrics(self, packet):
        return {'metrics': self.daemon.metrics}

    def _reload(self, packet):
        return {'reloaded': pb.ReloadReport(applied=True)}


def refuse(code, errno_value=0, **figures):
    """The body of a refusal."""
    return {'error': pb.Error(code=pb.Code.Value(code), errno_value=errno_value, **figures)}


def hang_up(session, packet=None):
    """An answer: none, and the end of the session."""
    return 'close'


__all__ = ['FakeDaemon', 'hang_up', 'refuse']
