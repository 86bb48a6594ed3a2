# SPDX-License-Identifier: BSD-3-Clause
"""pmbrokerctl --host with a real sshd: in a network namespace of its own, with keys of its own."""

import json
import os
import shutil
import subprocess

import pytest

from ctlrun import CTL, DONE, REFUSED, UNREACHABLE, said
from daemon import broker, needs_root, store, tenant, wait_for
from pmbproto import MIB

SSHD = shutil.which('sshd', path='/usr/sbin:/usr/local/sbin:' + os.environ['PATH'])
PORT = 2222
LOOPBACK_UP = '''
import fcntl, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
'''

pytestmark = [needs_root, pytest.mark.skipif(not SSHD, reason='needs sshd')]


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    """An sshd that lets us in as root, and a program that takes ssh's place and knows how to get there."""
    dir = tmp_path_factory.mktemp('ssh')
    dir.chmod(0o755)
    for key in 'host', 'user':
        subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', dir / key], check=True)
    shutil.copy(dir / 'user.pub', dir / 'authorized')
    (dir / 'known').write_text(f'[127.0.0.1]:{PORT} ' + (dir / 'host.pub').read_text())
    (dir / 'sshd_config').write_text(f'''
ListenAddress 127.0.0.1
Port {PORT}
HostKey {dir}/host
AuthorizedKeysFile {dir}/authorized
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
SetEnv PATH={CTL.parent}:/usr/bin:/bin
''')
    (dir / 'ssh_config').write_text(f'''
Host there
  HostName 127.0.0.1
  Port {PORT}
  IdentityFile {dir}/user
  UserKnownHostsFile {dir}/known
  GlobalKnownHostsFile /dev/null
Host *
  IdentitiesOnly yes
  BatchMode yes
''')
    os.makedirs('/run/sshd', mode=0o755, exist_ok=True)
    sshd = subprocess.Popen(['unshare', '--net', '/usr/bin/python3', '-c', LOOPBACK_UP + f'''
import os
os.execv({SSHD!r}, [{SSHD!r}, "-D", "-e", "-f", "{dir}/sshd_config"])'''], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: 'listening' in sshd.stderr.readline(), 10, 'sshd listens')
    ssh = dir / 'ssh-there'
    ssh.write_text(f'#!/bin/sh\nexec nsenter --net=/proc/{sshd.pid}/ns/net ssh -F {dir}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    yield ssh
    sshd.terminate()
    sshd.wait()


@pytest.fixture
def daemon(start):
    return start(broker(), store('main', 'dir', '1G'), tenant('default', Bytes='512M'))


@pytest.fixture
def there(host, daemon):
    def run(*words, status=DONE, err='', name='root@there'):
        result = subprocess.run([CTL, '-H', name, '-S', daemon.socket, *words], capture_output=True, text=True, timeout=30,
                                env={'PATH': os.environ['PATH'], 'PMBROKER_SSH': str(host), 'HOME': '/nonexistent'})
        assert (result.returncode, result.stderr) == (status, err), result.stdout
        return result.stdout
    return run


def test_all_verbs_work(daemon, there):
    user = daemon.user(0)
    pool = user.create(8 * MIB, max=64 * MIB, name='web').pool
    id = f'{pool:016x}'
    assert json.loads(there('status', '-J'))['pools'] == 1
    assert there('list', '-o', 'ID,NAME,USER,LIMIT', '--noheadings').split() == [id, 'web', '0', '8M']
    assert there('show', 'web', '-o', 'ID', '--noheadings') == f'{id}\n'
    assert there('stores', '-o', 'NAME', '--noheadings') == 'main\n'
    assert there('tenants', '-o', 'NAME', '--noheadings') == 'default\n'
    rows = json.loads(there('sessions', '-J'))['sessions']
    assert [r['role'] for r in rows if r['command'] == 'pmbrokerctl'] == ['admin']  # the bridge
    assert there('resize', 'web', '+8M') == f'pool {id}: 16M\n'
    assert there('set-limit', 'default', 'Pools=9') == 'tenant default: set until the broker restarts\n'
    assert there('drain', 'main', '-q') == ''
    assert there('drain', 'main', '--undo', '-q') == ''
    assert there('reload', '-q') == ''
    assert there('metrics').endswith('# EOF\n')
    assert there('top').startswith('pmbrokerd ')
    there('provision', '--store', 'nix', '-q', status=REFUSED,
          err=said('store nix: there is no such store for this tenant'))
    assert there('revoke', 'web', '-q') == ''
    there('show', 'nix', status=4, err=said('pool nix: there is no such pool'))


def test_a_thousand_rows(daemon, there):
    """Many packets, both ways."""
    users = [daemon.user(0) for _ in range(3)]
    pools = [f'{user.create(2 * MIB).pool:016x}' for user in users for _ in range(80)]
    assert there('list', '-o', 'ID', '--noheadings').split() == pools


def test_events_come_through(daemon, host):
    child = subprocess.Popen([CTL, '-H', 'root@there', '-S', daemon.socket, 'monitor', '-q', '--count', '2'], text=True,
                             stdout=subprocess.PIPE, env={'PATH': os.environ['PATH'], 'PMBROKER_SSH': str(host)})
    wait_for(lambda: any(r.watching for r in daemon.admin.ask('list_sessions').rows), 10)
    user = daemon.user(0)
    user.drop(user.create(2 * MIB).pool)
    out, _ = child.communicate(timeout=10)
    assert [line.split()[2] for line in out.splitlines()] == ['pool-created', 'pool-released']
    wait_for(lambda: not any(r.watching for r in daemon.admin.ask('list_sessions').rows), 10, 'the bridge has gone')


def test_the_daemon_over_there_is_away(there):
    there('-S', '/nonexistent', 'list', status=UNREACHABLE,
          err=said('cannot reach pmbrokerd at /nonexistent: No such file or directory') +
          said('no pmbrokerd was reached on root@there'))


def test_ssh_says_what_is_wrong(host, there):
    result = subprocess.run([CTL, '-H', 'nobody@there', 'list'], capture_output=True, text=True, timeout=30,
                            env={'PATH': os.environ['PATH'], 'PMBROKER_SSH': str(host)})
    assert result.returncode == UNREACHABLE
    assert 'Permission denied' in result.stderr and result.stderr.endswith(said('no pmbrokerd was reached on nobody@there'))
