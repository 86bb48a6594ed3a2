# SPDX-License-Identifier: BSD-3-Clause
"""Clients in containers: what "I RUN CONTAINERS" of pmbroker(7) says of them. A container is made of the same namespaces
here, by unshare, with the daemon's directory mounted in it."""

import pathlib
import re
import signal
import subprocess

import pytest

from daemon import ALICE, BUILD, broker, needs_root, store, tenant, wait_for
from pmbproto import MIB, ROOT

pytestmark = needs_root

# What is mounted, by root: the programs, and what is to be shared of the daemon.
PREPARE = '''
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/build /run/pmbroker
mount --bind "$1" /run/build
if [ -d "$2" ]; then
    mount --bind "$2" /run/pmbroker
    mount -o remount,bind,ro /run/pmbroker
else
    touch /run/pmbroker/s
    mount --bind "$2" /run/pmbroker/s
fi
shift 2
exec "$@"
'''


class Container:
    """A shell in namespaces of its own."""

    def __init__(self, what, uid=0, user_namespace=False):
        become = ['setpriv', f'--reuid={uid}', f'--regid={uid}', '--clear-groups']
        enter = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc']
        # Who has no user namespace needs root to make the others.
        inside = [*become, *enter, '--user', '--map-root-user'] if user_namespace else [*enter, *become]
        argv = ['unshare', '--mount', 'sh', '-c', PREPARE, 'sh', BUILD, what, *inside, 'sh']
        self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, cwd='/',
                                        env={'PATH': '/run/build:/run/build/examples:/usr/sbin:/usr/bin:/sbin:/bin',
                                             'PMBROKER_SOCKET': '/run/pmbroker/s'})

    def run(self, command):
        """Exit status, and what was said."""
        self.process.stdin.write(f'{command}\necho "@$?"\n')
        self.process.stdin.flush()
        out = ''
        for line in self.process.stdout:
            if m := re.fullmatch(r'@(\d+)\n', line):
                return int(m[1]), out
            out += line
        pytest.fail(f'the container has ended: {out}')

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def daemon(start):
    return start(broker(), store('main', 'tmpfs', '128M'), tenant('alice', User=ALICE, Bytes='64M'),
                 tenant('default', Bytes='2M'))


@pytest.fixture
def contain():
    containers = []

    def start_one(*args, **kwargs):
        containers.append(Container(*args, **kwargs))
        return containers[-1]

    yield start_one
    for container in containers:
        container.kill()


@pytest.fixture
def contain_user(contain):
    """The same with a user namespace, where the kernel lets users make them."""
    if subprocess.run(['setpriv', f'--reuid={ALICE}', 'unshare', '--user', 'true'], capture_output=True).returncode:
        pytest.skip('the kernel does not let users make user namespaces')
    return lambda *args: contain(*args, uid=ALICE, user_namespace=True)


def names_and_ids(pid):
    """The process's name, and its ids in the namespaces from ours inwards."""
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
    return re.search(r'^Name:\t(.*)', status, re.M)[1], [int(n) for n in re.search(r'^NSpid:(.*)', status, re.M)[1].split()]


def test_container_is_known_by_its_user_and_process_on_the_host(daemon, contain_user):
    """In there it is root, and process 1 or so; to the daemon it is the user who made it."""
    container = contain_user(daemon.dir)
    assert container.run('id -u') == (0, '0\n')
    assert int(container.run('echo $$')[1]) < 10
    container.run('holder --size 16 >/dev/null 2>&1 &')
    row, = wait_for(lambda: [r for r in daemon.pools() if r.size == 16 * MIB], 5, 'the container has its pool')
    assert (row.uid, row.tenant) == (ALICE, 'alice')
    name, ids = names_and_ids(row.pid)
    assert name == 'holder' and len(ids) == 2 and ids[0] == row.pid and ids[1] < 10
    status, said = container.run('pmbrokerctl tenants')
    assert status == 1 and 'only the administrators' in said


def test_pools_end_with_the_container(daemon, contain_user):
    container = contain_user(daemon.dir)
    container.run('holder --size 16 >/dev/null 2>&1 &')
    wait_for(lambda: daemon.status().pools == 1, 5, 'the container has its pool')
    container.kill()
    wait_for(lambda: daemon.status().pools == 0, 3, 'the pool is gone')


def test_root_without_a_user_namespace_is_root(daemon, contain):
    container = contain(daemon.dir)
    assert container.run('pmbrokerctl tenants --noheadings -o NAME') == (0, 'alice\ndefault\n')


def test_directory_is_to_be_mounted_and_not_the_socket(daemon, contain):
    """After a restart that makes the socket anew, who has the directory gets through."""
    directory, socket = contain(daemon.dir, uid=ALICE), contain(daemon.socket, uid=ALICE)
    assert [c.run('pmbrokerctl -q')[0] for c in (directory, socket)] == [0, 0]
    daemon.supervisor.send_signal(signal.SIGTERM)
    assert daemon.supervisor.wait(10) == 0
    daemon.start()
    assert directory.run('pmbrokerctl -q')[0] == 0
    assert socket.run('pmbrokerctl -q')[0] == 3


@pytest.mark.parametrize('name', ['run.sh', 'compose.yaml', 'kubernetes.yaml'])
def test_examples_mount_the_directory_for_a_user_of_their_own(name):
    text = (ROOT / 'examples/containers' / name).read_text()
    assert '/run/pmbroker' in text and 'pmbroker.sock' not in text
    assert re.search(r'ro \\\n|read_only: true|readOnly: true', text)
    assert '20001' in text and 'User=20001\n' in (ROOT / 'examples/containers/pools.conf').read_text()


def test_examples_tenants(start):
    text = (ROOT / 'examples/containers/pools.conf').read_text()
    daemon = start(broker(), store('main', 'tmpfs', '128M'), text)
    assert list(daemon.tenants()) == ['first', 'pods', 'containers', 'default']
    assert daemon.user(20001).create(2 * MIB).tenant == 'first'
