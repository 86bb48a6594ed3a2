# SPDX-License-Identifier: BSD-3-Clause
"""pmbrokerd --socket: what it makes of the place that it is started in."""

import os
import shutil
import signal
import stat
import subprocess
import time

import pytest

from daemon import PMBROKERD, broker, needs_root, store, wait_for
from pmbproto import MIB


@pytest.fixture
def place(tmp_path):
    """A directory that the broker's user may look into."""
    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_uid == os.geteuid() and str(path) != '/tmp':
            path.chmod(0o755)
    (tmp_path / 'conf').write_text(f'[Store disk]\nType=dir\nPath={tmp_path}/store\nSize=16M\n')
    return tmp_path


def run(place, *arguments, config='conf'):
    """Start it where it cannot run: it says why, and ends."""
    result = subprocess.run(
        [PMBROKERD, '--socket', place / 's', '--config', place / config, '--user', 'nobody', *arguments],
        capture_output=True, text=True, timeout=20)
    assert result.returncode == 1, result.stderr
    return result.stderr


def test_a_bad_configuration_ends_it(place):
    assert 'nowhere' in run(place, config='nowhere')
    (place / 'bad').write_text('[Store x]\nType=tmpfs\nSise=1G\n')
    assert 'bad:3' in run(place, config='bad')
    assert not (place / 's').exists()


@needs_root
def test_no_such_user_and_no_root(place):
    assert 'no user nosuchuser' in run(place, '--user', 'nosuchuser')
    assert 'must not run as root' in run(place, '--user', 'root')


@needs_root
@pytest.mark.parametrize('what', ['foreign', 'writable', 'link'])
def test_a_directory_of_somebody_else_s_is_refused(place, what):
    state = place / 's.d'
    if what == 'link':
        (place / 'elsewhere').mkdir()
        state.symlink_to(place / 'elsewhere')
    else:
        state.mkdir()
        state.chmod(0o777 if what == 'writable' else 0o755)
        if what == 'foreign':
            os.chown(state, 20001, 20001)
    assert 's.d' in run(place)
    assert os.listdir(state) == []


@pytest.mark.parametrize('what', ['s', 's.d/jobs.sock'])
def test_what_is_no_socket_is_not_removed(place, what):
    (place / 's.d').mkdir(mode=0o755)
    (place / what).write_text('dear to somebody')
    said = run(place)
    assert f'{place / what} is there and is no socket: remove it, or name another path by --' in said
    assert (place / what).read_text() == 'dear to somebody'


def test_started_twice(start):
    daemon = start(broker(), store('disk', 'dir'))
    result = subprocess.run([PMBROKERD, '--socket', daemon.socket, '--config', daemon.config, '--user', 'nobody'],
                            capture_output=True, text=True, timeout=20)
    assert result.returncode == 1 and 'another pmbrokerd serves' in result.stderr
    assert daemon.admin.status().provisioner  # the first one goes on


@needs_root
def test_the_umask_does_not_matter(start):
    daemon = start(broker(), store('ram', 'tmpfs'))
    daemon.stop()
    shutil.rmtree(daemon.state)
    old = os.umask(0o077)
    try:
        daemon.start()
    finally:
        os.umask(old)
    mode = os.stat(daemon.socket)
    assert stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o666
    jobs = os.stat(daemon.state / 'jobs.sock')
    assert stat.S_IMODE(jobs.st_mode) == 0o600
    assert daemon.user(20001).create(2 * MIB).pool


@needs_root
def test_nobody_but_the_broker_may_ask_the_provisioner(start):
    daemon = start(broker(), store('ram', 'tmpfs'))
    code = 'import socket,sys; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(sys.argv[1])'
    result = subprocess.run(['/usr/bin/python3', '-c', code, daemon.state / 'jobs.sock'], user=20001,
                            capture_output=True, text=True, timeout=20)
    assert 'PermissionError' in result.stderr


def test_what_dies_is_started_again_but_not_for_ever_at_once(start):
    daemon = start(broker(), store('disk', 'dir'))
    daemon.may_crash = True
    daemon.config.write_text('[Store disk]\nType=nonsense\n')
    before = daemon.log.read_text().count('starting it again')
    os.kill(daemon.child('broker'), signal.SIGKILL)
    time.sleep(2)
    restarts = daemon.log.read_text().count('starting it again') - before
    assert 2 <= restarts <= 6, restarts  # 0.1, 0.2, 0.4, 0.8 s apart
    daemon.configure(broker(), store('disk', 'dir'))
    wait_for(daemon.is_ready, 10, 'it serves again')
