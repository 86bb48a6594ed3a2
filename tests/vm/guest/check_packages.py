# SPDX-License-Identifier: BSD-3-Clause
"""
The life of the packages on a machine that had none of them: each test goes on where the one before it ended. Not one of
the ordinary tests, which have pmbroker installed already: tests/vm/deb.py boots the machine for it.
"""

import json
import os
import pathlib
import pwd
import re
import time
import urllib.request

import pytest

from daemon import wait_for
from pmbproto import MIB
from system import (ALICE, BOB, BROKER, EXAMPLES, ROOT, SECONDS, SERVICES, SOCKETS, System, as_user, ctl, is_active,
                    main_pid, processes, run, systemctl)
from test_restart import namespace

FIRST, SECOND = ROOT / 'debs/first', ROOT / 'debs/second'
METRICS = ('pmbroker-metrics.socket', 'pmbroker-metrics.service')
CREATED = 'ef9107cb325d4f70ac6d4bda9b7f3c97'
# What dpkg, apt and systemd remember of their own accord, and users and groups, which Debian does not remove.
ELSEWHERE = re.compile(
    r'/var/lib/(dpkg|apt|ucf|private)(/|$)|/var/cache/(apt|ldconfig|debconf|private)(/|$)|/var/log(/|$)|/etc/ld\.so\.cache|'
    r'/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|/var/lib/systemd/catalog/|/run/(pmbroker-suite|systemd|udev|dbus|log|user)(/|$)|'
    r'/(var/)?tmp/pytest|/usr/lib/pmbroker-tests|/var/lib/systemd/(timers|coredump|linger)')


def files():
    """Everything that is on the machine's own file systems."""
    found = run('find', '/', '-xdev', '-print', check=False)[1].splitlines()
    found += run('find', '/run', '-xdev', '-print', check=False)[1].splitlines()
    return {f for f in found if not ELSEWHERE.search(f)}


def apt(*words):
    env = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
    print(run('apt-get', '-y', '-q', *words, env=env, cwd='/'))


def versions(status='ii'):
    """{package: version} of those that are installed ("ii"), or removed but for their configuration ("rc")."""
    out = run('dpkg-query', '-W', '-f', '${db:Status-Abbrev} ${Package} ${Version}\n', '*pmbroker*', check=False)[1]
    return dict(line.split()[1:] for line in out.splitlines() if line.startswith(status))


def packages(directory):
    return sorted(str(p) for p in directory.glob('*.deb'))


def versions_in(directory):
    return {p.name.split('_')[0]: p.name.split('_')[1] for p in directory.glob('*.deb')}


def scrape():
    with urllib.request.urlopen('http://127.0.0.1:9842/metrics', timeout=SECONDS) as response:
        return response.read().decode()


@pytest.fixture(scope='module')
def before():
    """What there was before anything was installed."""
    assert versions() == {} and processes() == []
    return files()


def test_install(before, figure):
    """Installing leaves a running service with the store that the configuration has by default."""
    began = time.monotonic()
    apt('install', *packages(FIRST))
    figure(f'apt install: {time.monotonic() - began:.1f} s')
    assert versions() == versions_in(FIRST)
    assert run('dpkg', '--audit') == ''
    assert [is_active(u) for u in SOCKETS] == ['active'] * 2
    assert systemctl('is-enabled', *SOCKETS, BROKER).split() == ['enabled'] * 3
    assert [is_active(u) for u in METRICS] == ['inactive'] * 2  # for those who want it
    wait_for(lambda: [is_active(u) for u in SERVICES] == ['active'] * 2, SECONDS, 'both services run', every=0.1)
    store, = json.loads(ctl('stores', '--json'))['stores']
    assert (store['name'], store['kind'], store['state']) == ('ram', 'tmpfs', 'available')
    assert systemctl('--failed', '--no-legend', 'list-units').strip() == ''
    # The triggers of other packages have run: for the journal's explanations, and for the loader.
    assert 'Subject: Pool @POOL_ID@ was created' in run('journalctl', '--no-pager', '--dump-catalog', CREATED)
    assert 'libpmbroker.so.0 ' in run('/sbin/ldconfig', '-p')
    assert pwd.getpwnam('pmbroker').pw_shell.endswith('/nologin')


def test_use(system):
    """A program that is linked with the packaged library, and a session."""
    print(run(*as_user(ALICE, EXAMPLES / 'memkind-walk')))
    client = system.user(ALICE)
    pool = client.create(8 * MIB).pool
    client.fill(pool, 5)
    assert client.is_filled(pool, 5)


def pools(system):
    """What does not change by itself, the smallest first."""
    return sorted((r.size, r.pool, r.uid, r.pid, r.tenant, r.store, r.state) for r in system.ask('pools'))


def replace(system, figure, name, words, directory):
    """apt does something with the packages while programs have pools, and none of them has to notice it."""
    systemctl('start', METRICS[0])
    scrape()
    holders = [system.program(uid, 'nice', '-n', '19', EXAMPLES / 'holder', '--size', size) for uid, size in
               ((ALICE, 4), (BOB, 8))]
    for holder in holders:
        wait_for(lambda: 'blocks' in holder.log.read_text(), SECONDS, 'the holder has its pool')
    units = (*SERVICES, METRICS[1])
    old, rows, mounts = [main_pid(u) for u in units], pools(system), namespace()
    assert len(rows) == 2

    began = time.monotonic()
    apt(*words, *packages(directory))
    figure(f'apt {name}: {time.monotonic() - began:.1f} s')
    assert versions() == versions_in(directory)
    system.wait_until_ready()
    assert (pools(system), namespace()) == (rows, mounts) and system.is_consistent()
    new = [main_pid(u) for u in units]
    assert 0 not in new and not set(old) & set(new)  # what runs is what was installed
    assert 'pmbroker_provisioner_connected 1\n' in scrape()

    # All goes on, and every byte was always as it was written.
    for holder, (_, pool, *_) in zip(holders, rows):
        wait_for(lambda: 'restarted' in holder.log.read_text(), SECONDS, 'the library has noticed')
        ctl('resize', f'{pool:016x}', '+2M')
        holder.terminate()
        assert holder.wait(SECONDS) == 0, holder.log.read_text()
    wait_for(lambda: system.ask('status').pools == 0, SECONDS, 'all pools are gone')


def test_reinstall_under_clients(system, figure):
    replace(system, figure, 'reinstall', ['install', '--reinstall'], FIRST)


def test_upgrade_under_clients(system, figure):
    assert versions_in(SECOND) != versions_in(FIRST)
    replace(system, figure, 'install (an upgrade)', ['install'], SECOND)


def test_remove():
    """With a client: it keeps what it has mapped, and everything else is gone but the configuration."""
    system = System(time.time())
    client = system.user()
    pool = client.create(4 * MIB).pool
    client.fill(pool, 6)
    ctl('set-limit', 'default', 'Pools=7', '--permanent')
    ctl('drain', 'ram', '--permanent')
    written = sorted(pathlib.Path('/etc/pmbroker').rglob('*.conf'))
    assert len(written) == 3
    apt('remove', *versions())
    assert versions() == {} and processes() == []
    assert client.is_filled(pool, 6)
    system.end_users()
    assert [is_active(u) for u in (*SERVICES, *SOCKETS, *METRICS)] == ['inactive'] * 6
    for place in '/run/pmbroker', '/run/pmbroker-provisioner':
        assert not os.path.lexists(place)
    assert not [p for p in pathlib.Path('/proc').glob('[0-9]*/mountinfo') if 'pmbroker/' in p.read_text()]
    assert sorted(pathlib.Path('/etc/pmbroker').rglob('*.conf')) == written  # for those who install it again


def test_purge(before):
    """Nothing is left that was not there at first."""
    there = {**versions(), **versions('rc')}
    assert 'pmbrokerd' in there
    apt('purge', *there)
    assert versions('rc') == versions() == {} and processes() == []
    assert [is_active(u) for u in (*SERVICES, *SOCKETS, *METRICS)] == ['inactive'] * 6
    for place in '/etc/pmbroker', '/var/lib/pmbroker', '/run/pmbroker', '/run/pmbroker-provisioner':
        assert not os.path.lexists(place)
    assert not [p for p in pathlib.Path('/proc').glob('[0-9]*/mountinfo') if 'pmbroker/' in p.read_text()]
    assert sorted(files() - before) == []
    assert sorted(before - files()) == []
