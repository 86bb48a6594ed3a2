# SPDX-License-Identifier: BSD-3-Clause
"""From a bare NVDIMM to a store that is served, and back; and what is somebody else's stays as it is."""

import contextlib
import ctypes
import functools
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import time

import pytest

from daemon import wait_for
from fsdax_store import Client as Program
from jobproto import AVAILABLE, Provisioner
from pmbproto import Client, Closed
from system import BROKER, CONFIG_DIR, PROVISIONER, SECONDS, SOCKET, ctl, main_pid, run, since, systemctl

CONFIG = CONFIG_DIR / 'fsdax.conf'
MIB = 1 << 20
PR_SET_THP_DISABLE = 41
PROVISIONED, DEPROVISIONED = '80bf4424fb894403b8454840193cc98b', '0d665d3010bc4036b6afe4d838233a00'
AVAILABLE_AGAIN, UNAVAILABLE = '4abb386da7dc423db4a11882506f5a0e', '9a9a067de91540c6aacce009b7c36346'


def regions():
    """What pmbrokerctl regions says, a namespace's rows in their region's `namespaces`."""
    found = []
    for row in json.loads(ctl('regions', '--json'))['regions']:
        if row['namespace'] is None:
            found.append(dict(row, namespaces=[]))
        else:
            found[-1]['namespaces'].append(row)
    return found


def told_of(store, began):
    """The broker's records of this store since then."""
    out = run('journalctl', since(began), '--output=json', '_SYSTEMD_UNIT=' + BROKER, f'STORE={store}')
    return [json.loads(line) for line in out.splitlines() if line.startswith('{')]


def region(address):
    return next(r for r in regions() if r['address'] == address)


@functools.cache
def found_at(mib, labels):
    """Addresses of the regions of this size that can, or cannot, have labels: the same for as long as the machine runs."""
    return sorted(r['address'] for r in regions() if (r['size'], r['labels'] != 'no') == (mib * MIB, labels))


def addresses():
    """Two regions that namespaces can be cut from, whether they have labels yet or not, and one that cannot have any."""
    return found_at(1024, labels=True), found_at(512, labels=False)[0]


def able():
    return addresses()[0][0]


def unable():
    return addresses()[1]


def bare():
    """A small region whose labels nobody ever writes."""
    return found_at(64, labels=True)[0]


def bare_until_now():
    """For one test only: labels, once written, cannot be taken back before the next boot."""
    return found_at(256, labels=True)[0]


def theirs():
    """A small region without labels."""
    return found_at(64, labels=False)[0]


def kernel_view():
    """Everything there is, as ndctl sees it."""
    return run('ndctl', 'list', '-RDNi')


def marks():
    return sorted(n.get('name', '') for n in json.loads(run('ndctl', 'list', '-N') or '[]'))


def row(store):
    return json.loads(ctl('stores', store, '--json'))['stores'][0]


def known(store):
    """Its row, None while the broker does not know it (yet)."""
    try:
        return Client(SOCKET).stores().get(store)
    except (OSError, Closed):  # it is being restarted
        return None


def provision(store, apply=False):
    status, out = run('pmbrokerctl', 'provision', '--store', store, *(['--apply'] if apply else []), '--json',
                      check=False)
    report = json.loads(out[out.index('{'):])['stores'][0]
    assert (status != 0) == report['refused']
    return report['steps']


def states(steps):
    return {s['state'] for s in steps}


def wait_available(store):
    def is_available():
        nonlocal found
        found = known(store)
        return found and found.available

    found = None
    wait_for(is_available, SECONDS, lambda: f'{store} is available; it is {found and found.reason or "unknown"}', every=0.1)


def wait_refused(store):
    """And the reason."""
    def reason():
        found = known(store)
        assert not found or not found.available
        return found.reason if found and not found.reason.startswith('preparing') else None

    return wait_for(reason, SECONDS, f'{store} is refused', every=0.1)


def reload():
    systemctl('reload', 'pmbrokerd.service')


@contextlib.contextmanager
def configured(name, text):
    """Inside, this store is configured; afterwards it is gone, and what was made for it too."""
    CONFIG_DIR.mkdir(exist_ok=True)
    CONFIG.write_text(f'[Store {name}]\nType=fsdax\n{text}\n')
    reload()
    wait_for(lambda: known(name), SECONDS, 'it is known', every=0.05)
    try:
        yield
    finally:
        for store in re.findall(r'Store (\w+)', CONFIG.read_text()):
            if (found := known(store)) and found.available or f'pmbroker:{store}' in marks():
                ctl('deprovision', store, '--force')
        CONFIG.unlink()
        reload()
        wait_for(lambda: not known(name), SECONDS, 'it is gone', every=0.05)


def file_system(address):
    """The namespace's block device, and what is on it."""
    for n in json.loads(run('ndctl', 'list', '-N', '-r', region(address)['region'])):
        return pathlib.Path('/dev', n['blockdev'])
    return None


class Copy:
    """What was on a device; hashing it would take an emulated machine longer."""

    def __init__(self, device):
        self.device, self.path = device, pathlib.Path('/run/copy')
        run('dd', f'if={device}', f'of={self.path}', 'bs=1M', 'conv=sparse')

    def is_same(self):
        return run('cmp', '-s', self.device, self.path, check=False)[0] == 0


# ----------------------------------------------------------------------------------------------------------- consent

def test_labels_take_consent(system):
    """Without InitLabels=yes nothing is written; a plan says what would help."""
    before = kernel_view()
    with configured('pm', f'Region={bare()}'):
        reason = wait_refused('pm')
        assert 'InitLabels=yes' in reason
        assert 'refused' in states(provision('pm', apply=True))
        assert kernel_view() == before
    with configured('pm', f'Region={unable()}\nInitLabels=yes'):
        assert f'Adopt={unable()}' in wait_refused('pm')
        assert kernel_view() == before
    with configured('pm', 'Region=0xdead0000'):
        reason = wait_refused('pm')
        # And what there is, as much as there is room for.
        assert 'there is no 0xdead0000' in reason and any(r['address'] in reason for r in regions())


def test_labels_spare_what_is_there(system):
    """InitLabels=yes is not for NVDIMMs with something on them."""
    device = file_system(bare())
    run('mkfs.ext4', '-q', '-L', 'precious', device)
    before, view = Copy(device), kernel_view()
    with configured('pm', f'Region={bare()}\nInitLabels=yes'):
        assert 'precious' in wait_refused('pm')
        assert 'refused' in states(provision('pm', apply=True))
        assert before.is_same() and kernel_view() == view
    run('wipefs', '-a', '-q', device)


# ---------------------------------------------------------------------------------------------- from nothing to served

def test_bare_region_by_configuration_alone(system):
    first = bare_until_now()
    assert [n['content'] for n in region(first)['namespaces']] == ['nothing']
    with configured('pm', f'Region={first}\nInitLabels=yes\nSize=50%'):
        wait_available('pm')
        found = row('pm')
        assert found['kind'] == 'fsdax' and 80 * MIB < found['capacity'] < 128 * MIB and found['page'] == 2 * MIB
        assert found['dax'] and found['quota'] and found['seal'] and found['reason'] is None
        assert [n['content'] for n in region(first)['namespaces']] == ['namespace of store pm, ext4 "pmbroker:pm"']
        assert region(first)['free'] >= 128 * MIB

        # Again changes nothing, and says so.
        view, uuid = kernel_view(), run('blkid', '-o', 'value', '-s', 'UUID', '-p', file_system(first))
        assert states(provision('pm')) == {'exists'}
        assert 'nothing to do, nothing changed' in ctl('provision', '--store', 'pm', '--apply')
        assert (kernel_view(), run('blkid', '-o', 'value', '-s', 'UUID', '-p', file_system(first))) == (view, uuid)
        # Nor does a restart, with and without what systemd keeps for it.
        system.kill(PROVISIONER)
        assert row('pm') == found
        systemctl('restart', PROVISIONER)
        system.wait_until_ready()
        systemctl('stop', PROVISIONER)
        systemctl('start', PROVISIONER)
        wait_available('pm')
        assert row('pm') == found
        assert (kernel_view(), run('blkid', '-o', 'value', '-s', 'UUID', '-p', file_system(first))) == (view, uuid)
        # No path leads there from outside.
        assert 'pmbroker/mnt/pm' not in pathlib.Path('/proc/self/mountinfo').read_text()
    assert region(first)['namespaces'] == [] and region(first)['free'] == 256 * MIB


def test_manual(system):
    """Provision=manual makes nothing by itself; a plan changes nothing; erasing is seen."""
    first = able()
    view = kernel_view()
    with configured('pm', f'Region={first}\nInitLabels=yes\nSize=128M\nProvision=manual\nScrub=release'):
        assert 'provision --apply' in wait_refused('pm')
        assert 'planned' in states(provision('pm')) and kernel_view() == view
        assert 'done' in states(provision('pm', apply=True))
        assert row('pm')['state'] == 'available'
        ctl('deprovision', 'pm')
        assert 'deprovisioned' in row('pm')['reason']
        assert region(first)['namespaces'] == []
        reload()
        time.sleep(1)
        assert row('pm')['state'] == 'unavailable'
        # The journal has who wanted it, and what came of it.
        records = told_of('pm', system.began)
        asked = [r for r in records if 'BY_UID' in r]
        assert [(r['MESSAGE_ID'], r['BY_UID']) for r in asked] == [(PROVISIONED, '0'), (DEPROVISIONED, '0')]
        between = records[records.index(asked[0]):records.index(asked[1])]
        assert AVAILABLE_AGAIN in [r['MESSAGE_ID'] for r in between]
        assert (records[-1]['MESSAGE_ID'], 'deprovisioned' in records[-1]['MESSAGE']) == (UNAVAILABLE, True)


def test_too_large(system):
    first = able()
    with configured('pm', f'Region={first}\nInitLabels=yes\nSize=4G'):
        reason = wait_refused('pm')
        assert 'Size=' in reason and '4G' in reason
        assert region(first)['namespaces'] == []


def test_two_stores_of_one_region(system):
    first = able()
    section = f'Region={first}\nInitLabels=yes\n'
    with configured('pm', f'{section}Size=128M\n[Store px]\nType=fsdax\n{section}Size=400M\n'
                          'Filesystem=xfs\nTrustedTenants=yes'):
        wait_available('pm')
        wait_available('px')
        assert not row('px')['seal'] and row('px')['quota'] and row('px')['dax']
        assert [m for m in marks() if m] == ['pmbroker:pm', 'pmbroker:px']
        ctl('deprovision', 'px')
        assert [m for m in marks() if m] == ['pmbroker:pm']
        assert row('pm')['state'] == 'available'


def force_out(store, client, pool):
    """Deprovision, while a client that has a pool there does what the library does when it is told."""
    with subprocess.Popen(['pmbrokerctl', 'deprovision', store, '--force'], stdout=subprocess.PIPE, text=True) as p:
        assert client.event('revoked', SECONDS).pool == pool
        wait_for(lambda: client.touch(pool, 0) == signal.SIGBUS, SECONDS, 'its memory is gone', every=0.1)
        client.give_up(pool)
        out = p.communicate()[0]
        assert p.returncode == 0, out


def test_deprovision_takes_what_is_ours(system):
    """Not while pools live, unless they shall go; what is somebody else's in the same region stays, byte for byte."""
    first = able()
    with configured('pm', f'Region={first}\nInitLabels=yes\nSize=128M'):
        wait_available('pm')
        made = json.loads(run('ndctl', 'create-namespace', '-r', region(first)['region'], '-m', 'fsdax', '-s', '64M',
                              '-n', 'theirs'))
        device = pathlib.Path('/dev', made['blockdev'])
        run('mkfs.ext4', '-q', '-L', 'precious', device)
        before = Copy(device)
        client = system.user()
        pool = client.create(4 * MIB, store='pm').pool
        client.fill(pool, 1)
        status, out = run('pmbrokerctl', 'deprovision', 'pm', check=False)
        assert status == 1 and '1 pool' in out and '--force' in out
        assert known('pm').available and client.is_filled(pool, 1)
        force_out('pm', client, pool)
        assert [n['content'] for n in region(first)['namespaces']] == ['"theirs", ext4 "precious"']
        assert before.is_same()
        run('ndctl', 'destroy-namespace', '-f', made['dev'])


@pytest.mark.parametrize('scrub, stays', [('release', False), ('never', True)])
def test_what_deprovision_leaves(system, scrub, stays):
    """Where the namespace was, there is nothing to be read with Scrub=release."""
    first, text = able(), b'SECRETzz'
    with configured('pm', f'Region={first}\nInitLabels=yes\nSize=64M\nScrub={scrub}'):
        wait_available('pm')
        client = system.user()
        pool = client.create(8 * MIB, store='pm').pool
        client.write(pool, 0, text * (8 * MIB // len(text)))
        force_out('pm', client, pool)
    raw = json.loads(run('ndctl', 'create-namespace', '-r', region(first)['region'], '-m', 'raw', '-s', '64M'))
    found = pathlib.Path('/dev', raw['blockdev']).read_bytes().count(text)
    assert (found > 0) == stays
    run('ndctl', 'destroy-namespace', '-f', raw['dev'])


# -------------------------------------------------------------------------------------------------- what it is like

@contextlib.contextmanager
def without_huge_pages():
    """Inside, processes that are started get no pages of 2 MiB, as on a kernel or an alignment that has none."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        libc.prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)


def test_pages_of_4k(tmp_path):
    """They are refused, or served as what they are: 512 times the page faults."""
    section = f'[Store p]\nType=fsdax\nRegion={able()}\nInitLabels=yes\nSize=128M\n'

    def store():
        with p.connect() as jobs:
            return jobs.stores()[0]

    with without_huge_pages(), Provisioner(tmp_path, section, keeper=True) as p:
        wait_for(lambda: '4K' in store().reason, SECONDS, 'it is refused', every=0.1)
        assert 'RequireDax=no' in store().reason and not store().flags & AVAILABLE
        p.reload(f'{section}RequireDax=no\n')
        wait_for(lambda: store().flags & AVAILABLE, SECONDS, 'it is served', every=0.1)
        assert store().page_size == 4096
        with p.connect() as jobs:
            reply = jobs.create(1, 8 * MIB)
            client = Program(reply.fd)
            client('map', 8 * MIB)
            assert int(client('touch', 0, 8 * MIB)) >= 8 * MIB // 4096
            client.end()
            assert jobs.release(1).error == 0
    run('ndctl', 'destroy-namespace', '-f', '-r', region(able())['region'], 'all')


def test_xfs_takes_trust():
    """It holds less, and one has to say that this will do."""
    path = pathlib.Path('/run/xfs.conf')
    section = '[Store p]\nType=fsdax\nRegion=region0\nFilesystem=xfs\n'
    path.write_text(section)
    status, out = run('pmbrokerd', '--check-config', '--config', path, check=False)
    assert status != 0 and 'TrustedTenants' in out
    path.write_text(f'{section}TrustedTenants=yes\n')
    assert 'TrustedTenants=yes' in run('pmbrokerd', '--check-config', '--config', path)


# ------------------------------------------------------------------------------------------------------------- adopt

def test_adopt_without_labels(system):
    with configured('pl', f'Adopt={unable()}'):
        wait_available('pl')
        assert row('pl')['capacity'] > 450 * MIB and row('pl')['page'] == 2 * MIB
        assert states(provision('pl')) == {'exists'}
    # It stays, empty.
    assert [n['content'] for n in region(unable())['namespaces']] == ['nothing']
    with configured('pl', f'Adopt={unable()}'):
        wait_available('pl')


def test_adopt_by_uuid(system):
    first = able()
    with configured('pm', f'Region={first}\nInitLabels=yes\nSize=128M'):
        wait_available('pm')
    made = json.loads(run('ndctl', 'create-namespace', '-r', region(first)['region'], '-m', 'fsdax', '-s', '128M',
                          '-n', 'theirs'))
    with configured('pu', f'Adopt={made["uuid"]}'):
        wait_available('pu')
    assert [n['content'] for n in region(first)['namespaces']] == ['"theirs", nothing']
    run('ndctl', 'destroy-namespace', '-f', made['dev'])
    with configured('pu', f'Adopt={made["uuid"]}'):
        assert 'there is no namespace' in wait_refused('pu')


def test_what_is_adopted_is_named_for_good():
    for wrong in ('/dev/pmem0', 'pmem1', 'namespace0.0'):
        path = pathlib.Path('/run/wrong.conf')
        path.write_text(f'[Store p]\nType=fsdax\nAdopt={wrong}\n')
        status, out = run('pmbrokerd', '--check-config', '--config', path, check=False)
        assert status != 0 and wrong in out


# ----------------------------------------------------------------------------------------------------------- foreign

def a_file_system(device):
    run('mkfs.ext4', '-q', '-L', 'data', device)


def a_partition_table(device):
    entry = struct.pack('<BBBBBBBBII', 0, 0, 2, 0, 0x83, 0, 0, 0, 2048, 4096)
    with open(device, 'r+b') as f:
        f.write(bytes(446) + entry + bytes(48) + b'\x55\xaa')


def another_store(device):
    run('mkfs.ext4', '-q', '-L', 'pmbroker:other', device)


@pytest.mark.parametrize('make, words', [(a_file_system, 'ext4 "data"'), (a_partition_table, 'partition table'),
                                         (another_store, 'pmbroker:other')])
def test_foreign_content_survives(system, make, words):
    """A mistaken configuration changes not a byte."""
    device = file_system(theirs())
    make(device)
    before = Copy(device)
    with configured('pl', f'Adopt={theirs()}\nScrub=release'):
        assert words in wait_refused('pl')
        assert 'refused' in states(provision('pl', apply=True))
        assert run('pmbrokerctl', 'deprovision', 'pl', check=False)[0] == 1
        assert before.is_same()
    assert before.is_same()
    run('wipefs', '-a', '-q', device)


def test_mounted_by_somebody_else(system):
    """Also when there is nothing to be seen on it."""
    fd = os.open(file_system(theirs()), os.O_RDWR | os.O_EXCL)
    try:
        with configured('pl', f'Adopt={theirs()}'):
            assert 'in use' in wait_refused('pl')
    finally:
        os.close(fd)


def test_mark_with_foreign_content(system):
    """Even what was made for a store is not touched when somebody has put something else on it."""
    first = able()
    with configured('pm', f'Region={first}\nInitLabels=yes\nSize=128M'):
        wait_available('pm')
        systemctl('stop', *('pmbrokerd.socket', 'pmbroker-provisioner.socket', 'pmbrokerd.service', PROVISIONER))
        device = file_system_by_ndctl('pmbroker:pm')
        run('mkfs.ext4', '-q', '-F', '-L', 'mine', device)
        before = Copy(device)
        systemctl('start', 'pmbrokerd.socket', 'pmbroker-provisioner.socket')
        assert '"mine"' in wait_refused('pm')
        assert before.is_same()
        assert run('pmbrokerctl', 'deprovision', 'pm', check=False)[0] == 1
        assert before.is_same()
        run('wipefs', '-a', '-q', device)
        provision('pm', apply=True)
        assert row('pm')['state'] == 'available'


def file_system_by_ndctl(name):
    return next(f"/dev/{n['blockdev']}" for n in json.loads(run('ndctl', 'list', '-N')) if n.get('name') == name)


# -------------------------------------------------------------------------------------------------------------- kill

def test_killed_while_it_provisions(system):
    """kill -9 at any moment: the next start finds what is half-made, and nothing is ever doubled."""
    system.expect_errors('Reload failed for pmbroker-provisioner')  # it may be killed in the middle of that
    first = able()
    for milliseconds in (200, 700, 1300, 2200):
        with configured('pm', f'Region={first}\nInitLabels=yes\nSize=128M'):
            time.sleep(milliseconds / 1000)
            pid = main_pid(PROVISIONER)
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: main_pid(PROVISIONER) not in (0, pid), SECONDS, 'it has started again', every=0.1)
            wait_available('pm')
            assert [m for m in marks() if m] == ['pmbroker:pm'], milliseconds
        assert region(first)['namespaces'] == [] and region(first)['free'] >= 1000 * MIB, milliseconds
