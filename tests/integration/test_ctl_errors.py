# SPDX-License-Identifier: BSD-3-Clause
"""pmbrokerctl with daemons that are strange or not there, and with command lines that make no sense."""

import array
import os
import pwd
import re
import socket
import subprocess

import pytest

from ctlrun import CTL, DONE, NO_POOL, REFUSED, UNREACHABLE, USAGE, ctl, fake, no_daemon, pool, said  # noqa: F401
from fakedaemon import hang_up
from pmbproto import MIB, pb


# ------------------------------------------------------------------------------------------------- strange daemons

def test_any_order(ctl, fake):
    """The answer before the one to Hello, and events between."""
    hello = []

    def on_hello(session, packet):
        hello.append(packet.serial)

    def on_list(session, packet):
        session.event(closing=pb.Closing())
        session.sock.send(pb.ServerPacket(serial=9).SerializeToString())  # an event of a later version
        session.event(revoked=pb.Revoked(pool=5))
        session.send(packet.serial, pools=pb.PoolList(rows=fake.pools))
        session.send(hello[0], hello=pb.HelloReply(major=1, admin=True))
    fake.answers = {'hello': on_hello, 'list_pools': on_list}
    assert ctl('list', '-o', 'ID', '--noheadings').count('\n') == 3


def hung_up(fake):
    return said(f'pmbrokerd at {fake.path} closed the connection without an answer')


def test_hang_up(ctl, fake):
    fake.answers['list_pools'] = hang_up
    ctl('list', status=REFUSED, err=hung_up(fake))
    fake.answers['hello'] = hang_up
    ctl('list', status=REFUSED, err=hung_up(fake))
    fake.on_accept = hang_up
    for _ in range(20):  # the connection is reset or closed, as it happens
        ctl('list', status=REFUSED, err=hung_up(fake))


def test_hang_up_between_pages(ctl, fake):
    fake.pools = [pool(i + 1, '') for i in range(100)]
    first = fake.pools[:64]
    fake.answers['list_pools'] = lambda session, packet: (
        hang_up(session) if packet.list_pools.after else {'pools': pb.PoolList(rows=first, next=64)})
    assert ctl('list', status=REFUSED, err=hung_up(fake)) == ''


def test_closing(ctl, fake):
    def close(session, packet):
        session.event(closing=pb.Closing())
        return 'close'
    fake.answers['list_pools'] = close
    ctl('list', status=REFUSED, err=said(f'pmbrokerd at {fake.path} is shutting down'))


@pytest.mark.parametrize('data, why', [
    (b'\xff' * 100, 'a packet that cannot be decoded'),
    (b'\x00', 'a packet that cannot be decoded'),
    (b'\x08\x00', 'a packet that cannot be decoded'),  # serial 0
    (b'GET / HTTP/1.1', 'a packet that cannot be decoded'),
    (b'x' * 16385, 'a packet that is too long, or with a descriptor'),
])
@pytest.mark.parametrize('request_name', ['hello', 'list_pools'])
def test_garbage(ctl, fake, request_name, data, why):
    fake.answers[request_name] = lambda session, packet: data
    ctl('list', status=REFUSED, err=said(f"what answers at {fake.path} does not speak pmbroker's protocol: {why}"))


def test_wrong_answers(ctl, fake):
    def nonsense(why):
        return said(f"what answers at {fake.path} does not speak pmbroker's protocol: {why}")
    fake.answers['list_pools'] = lambda session, packet: {'status': pb.Status()}
    ctl('list', status=REFUSED, err=nonsense('an answer to another question'))
    fake.answers['list_pools'] = lambda session, packet: {}
    ctl('list', status=REFUSED, err=nonsense('an answer to another question'))
    fake.answers['resize_pool'] = lambda session, packet: {'size': pb.PoolSize(pool=1, size=packet.resize_pool.size)}
    ctl('resize', '3' * 16, '2M', status=REFUSED, err=nonsense('the answer is about another pool'))
    fake.answers['hello'] = lambda session, packet: {'done': pb.Done()}
    ctl('list', status=REFUSED, err=nonsense('no answer to Hello'))
    fake.answers['hello'] = lambda session, packet: {'hello': pb.HelloReply(major=2)}
    ctl('list', status=REFUSED, err=nonsense('no answer to Hello'))


def test_descriptor(ctl, fake):
    def with_descriptor(session, packet):
        data = pb.ServerPacket(serial=packet.serial, pools=pb.PoolList()).SerializeToString()
        session.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])
    fake.answers['list_pools'] = with_descriptor
    ctl('list', status=REFUSED, err=said(f"what answers at {fake.path} does not speak pmbroker's protocol: a packet "
                                         'that is too long, or with a descriptor'))


def test_every_prefix_and_bit(fake):
    """No answer, however broken, makes it crash: cut off everywhere, and every bit turned around."""
    whole = pb.ServerPacket(serial=(1 << 62) + 2, pools=pb.PoolList(rows=fake.pools[:2], next=0)).SerializeToString()
    broken = [whole[:i] for i in range(len(whole))]
    broken += [whole[:i // 8] + bytes([whole[i // 8] ^ 1 << i % 8]) + whole[i // 8 + 1:]
               for i in range(0, len(whole) * 8, 5)]

    def answer(session, packet):
        session.sock.send(current)
        return 'close'
    fake.answers['list_pools'] = answer
    for current in broken:
        result = subprocess.run([CTL, '-S', fake.path, 'list'], capture_output=True, timeout=20)
        assert result.returncode in (DONE, REFUSED, NO_POOL), current
        assert result.returncode == DONE or result.stderr.count(b'\n') == 1


# ----------------------------------------------------------------------------------------------------- not reachable

def test_unreachable(ctl, fake, tmp_path):
    for words in [()] + [(verb, *operands) for verb, operands in (
            ('status', ()), ('list', ()), ('show', ('x',)), ('stores', ()), ('tenants', ()), ('resize', ('x', '2M')),
            ('revoke', ('x',)))]:
        ctl('-S', '/nonexistent', *words, status=UNREACHABLE,
            err=no_daemon('/nonexistent', 'No such file or directory'))
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gone.bind(str(tmp_path / 'gone'))
    gone.close()
    ctl('-S', tmp_path / 'gone', status=UNREACHABLE, err=no_daemon(tmp_path / 'gone', 'Connection refused'))
    stream = socket.socket(socket.AF_UNIX)
    stream.bind(str(tmp_path / 'stream'))
    stream.listen()
    ctl('-S', tmp_path / 'stream', status=UNREACHABLE,
        err=no_daemon(tmp_path / 'stream', 'Protocol wrong type for socket'))
    stream.close()


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root: another user')
def test_no_permission(fake):
    nobody = pwd.getpwnam('nobody')
    os.chmod(fake.path, 0o600)
    result = subprocess.run([CTL, '-S', fake.path, 'list'], capture_output=True, text=True, cwd='/',
                            user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    assert (result.returncode, result.stderr) == (
        UNREACHABLE, said(f'no permission to reach pmbrokerd at {fake.path}'))


def test_socket_path(ctl, fake):
    environment = {'PMBROKER_SOCKET': fake.path}
    assert ctl('list', '-o', 'ID', env=environment, socket_option=False).startswith('ID')
    ctl('-S', '/nonexistent', 'list', env=environment, socket_option=False, status=UNREACHABLE,
        err=no_daemon('/nonexistent', 'No such file or directory'))
    ctl('-S', '', 'list', status=USAGE, err=said("a socket's path has 1 to 107 characters: ''"))
    ctl('-S', 'x' * 108, 'list', status=USAGE, err=said(f"a socket's path has 1 to 107 characters: '{'x' * 108}'"))


# ------------------------------------------------------------------------------------------------- the command line

@pytest.mark.parametrize('words, why', [
    (['lst'], "unknown verb 'lst'; did you mean 'list'?"),
    (['rezise', 'x', '1'], "unknown verb 'rezise'; did you mean 'resize'?"),
    (['frobnicate'], "unknown verb 'frobnicate'; see pmbrokerctl --help"),
    (['List'], "unknown verb 'List'; did you mean 'list'?"),
    (['list', 'x'], 'usage: pmbrokerctl list'),
    (['status', 'x'], 'usage: pmbrokerctl status'),
    (['show'], 'usage: pmbrokerctl show POOL'),
    (['show', 'a', 'b'], 'usage: pmbrokerctl show POOL'),
    (['resize', 'x'], 'usage: pmbrokerctl resize POOL SIZE|+SIZE|-SIZE'),
    (['revoke'], 'usage: pmbrokerctl revoke POOL'),
    (['--frob'], "unknown or ambiguous option '--frob'; see pmbrokerctl --help"),
    (['list', '-x'], "unknown option '-x'; see pmbrokerctl --help"),
    (['list', '-o'], "an argument is missing after '-o'; see pmbrokerctl --help"),
    (['list', '-J', '-r'], '--json and --raw exclude each other; see pmbrokerctl --help'),
    (['status', '-o', 'ID'], 'status has no columns: --output means nothing here'),
    (['tenants', '-o', 'NAME,NIX'], "unknown column 'NIX'; there are: NAME, CHARGED, LIMIT, PERCENT, POOLS, MAXPOOLS, "
                                    'LARGEST, SET, CREATED, RELEASED, REFUSED, STORES'),
    (['list', '-o', ''], "unknown column ''; there are: ID, NAME, TENANT, USER, UID, PID, COMMAND, STORE, LIMIT, USED, "
                         'MAX, LENGTH, TARGET, STATE, ENFORCED, GRACE, BAD, AGE'),
])
def test_usage(ctl, fake, words, why):
    assert ctl(*words, status=USAGE, err=said(why)) == ''
    assert fake.requests == []


def test_options_anywhere(ctl, fake):
    expected = ctl('list', '-o', 'ID', '--noheadings')
    assert ctl('--noheadings', '-oID', 'list') == expected
    assert ctl('--noheadings', 'list', '--output=ID') == expected
    assert ctl('resize', '-q', 'web', '--bytes', '-2M') == ''
    assert fake.requests[-1][1].size == 62 * MIB


def test_version(ctl, fake):
    assert re.fullmatch(r'pmbrokerctl \d+\.\d+\.\d+\n', ctl('--version'))
    assert ctl('-V', 'list') == ctl('--version')
    assert fake.requests == []


def test_output_cannot_be_written(fake):
    with open('/dev/full', 'w') as full:
        result = subprocess.run([CTL, '-S', fake.path, 'list'], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (REFUSED, said('cannot write the output: No space left on device'))
