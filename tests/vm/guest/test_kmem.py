# SPDX-License-Identifier: BSD-3-Clause
"""A dax device as memory of a NUMA node: made, cut into pools, and given back."""

import contextlib
import ctypes
import errno
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from daemon import wait_for
from pmbproto import MIB, Refused
from system import ALICE, BOB, CONFIG_DIR, EXAMPLES, PROVISIONER, SECONDS, SERVICES, as_user, ctl, main_pid, run, systemctl
from test_fsdax_provision import addresses, known, marks, provision, region, reload, row, states, wait_available, wait_refused

UNIT = 2 * MIB
PAGE = 4096
BLOCK = 128 * MIB  # of memory
SYS_MOVE_PAGES = 279
libc = ctypes.CDLL(None, use_errno=True)

# A process that takes memory of a node for itself, or files that it reads, or keeps some from being moved.
HOG = '''
import ctypes, mmap, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
node, megabytes, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
mask = ctypes.c_ulong(1 << node)
assert libc.syscall(238, 2, ctypes.byref(mask), 64) == 0  # set_mempolicy(MPOL_BIND)
if what == 'memory':
    memory = mmap.mmap(-1, megabytes << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
elif what == 'cache':
    fd = os.open(sys.argv[4], os.O_RDONLY)
    for _ in range(megabytes):
        assert len(os.read(fd, 1 << 20)) == 1 << 20
elif what == 'pin':
    memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[0] = 1
    pipe = os.pipe()
    class Iovec(ctypes.Structure):
        _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
    place = Iovec(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 4096)
    assert libc.vmsplice(pipe[1], ctypes.byref(place), 1, 0) == 4096
print('ready', flush=True)
time.sleep(1000)
'''


# ------------------------------------------------------------------------------------------------------------- nodes

def node_figure(node, name):
    text = pathlib.Path(f'/sys/devices/system/node/node{node}/meminfo').read_text()
    return int(re.search(rf'{re.escape(name)}: *(\d+) kB', text)[1]) << 10


def nodes_with_memory():
    found = set()
    for part in pathlib.Path('/sys/devices/system/node/has_memory').read_text().strip().split(','):
        first, _, last = part.partition('-')
        found |= set(range(int(first), int(last or first) + 1))
    return found


def blocks(node):
    """State and zone of each block of memory that the node has."""
    return {(b / 'state').read_text().strip() + ' ' + (b / 'valid_zones').read_text().strip()
            for b in pathlib.Path(f'/sys/devices/system/node/node{node}').glob('memory[0-9]*')}


def pages(client, pool):
    """The node of each 4 KiB page of a pool that its client has touched."""
    maps = pathlib.Path(f'/proc/{client.process.pid}/maps').read_text()
    found = []
    for line in maps.splitlines():
        if line.endswith(f'/{pool:016x}/pool') or line.endswith('/pool'):
            start, end = (int(x, 16) for x in line.split()[0].split('-'))
            found += range(start, end, PAGE)
    assert found, maps
    status = (ctypes.c_int * len(found))()
    assert libc.syscall(SYS_MOVE_PAGES, client.process.pid, len(found), (ctypes.c_void_p * len(found))(*found), None,
                        status, 0) == 0
    return [s for s in status if s != -errno.ENOENT]


@contextlib.contextmanager
def hog(node, megabytes, what='memory', *argv):
    process = subprocess.Popen([sys.executable, '-c', HOG, str(node), str(megabytes), what, *argv],
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == 'ready\n'
        yield process
        assert process.poll() is None, 'it was killed'
    finally:
        process.kill()
        process.wait()


def oom_kills():
    """What the kernel has killed for want of memory."""
    return re.findall(r'Killed process \d+ \((\S+)\)', run('dmesg'))


# ------------------------------------------------------------------------------------------------------------ stores

def devices():
    """Of each dax device: mode, and the namespace it is in."""
    return sorted((d['chardev'], d['mode'], d['target_node']) for d in json.loads(run('daxctl', 'list', '-D') or '[]'))


def view():
    """Everything there is, as ndctl and daxctl see it."""
    return run('ndctl', 'list', '-RDNi'), run('daxctl', 'list', '-D')


def configure(text, name):
    CONFIG_DIR.mkdir(exist_ok=True)
    path = CONFIG_DIR / f'kmem-{name}.conf'
    path.write_text(text + '\n[Tenant default]\nBytes=infinity\n')
    reload()
    return path


@contextlib.contextmanager
def configured(text, *names):
    """Inside, these stores are configured; afterwards they are gone, and what was made for them too."""
    config = configure(text, names[0])
    wait_for(lambda: all(known(n) for n in names), SECONDS, 'they are known', every=0.1)
    try:
        yield
    finally:
        wait_for(lambda: all(known(n) for n in names), SECONDS, 'they are known', every=0.1)
        for name in re.findall(r'Store (\w+)', config.read_text()):
            if known(name).available or f'pmbroker:{name}' in marks():
                ctl('deprovision', name, '--force')
        config.unlink()
        reload()
        wait_for(lambda: not any(known(n) for n in names), SECONDS, 'they are gone', every=0.1)


def section(name, address, *more):
    return '\n'.join([f'[Store {name}]', 'Type=kmem', f'Region={address}', 'InitLabels=yes', *more])


def km_section(*more):
    """That of the store which tests of pools share: two whole blocks of memory."""
    return section('km', addresses()[0][0], 'Size=448M', *more)


@contextlib.contextmanager
def auto_online(policy):
    """Inside, the kernel has this one for new memory."""
    switch = pathlib.Path('/sys/devices/system/memory/auto_online_blocks')
    before = switch.read_text()
    switch.write_text(policy)
    try:
        yield
    finally:
        switch.write_text(before)


@pytest.fixture(autouse=True)
def victims():
    """Whom the kernel is expected to kill for want of memory."""
    expected, before = [], len(oom_kills())
    yield expected
    assert set(oom_kills()[before:]) == set(expected)


@pytest.fixture(scope='module')
def store():
    """It, for all of them."""
    with configured(km_section(), 'km'):
        wait_available('km')
        yield


@pytest.fixture
def km(system, store):
    """The node of that store, which is called km."""
    return row('km')['node']


@pytest.fixture
def second():
    """The other NVDIMM."""
    return addresses()[0][1]


# ------------------------------------------------------------------------------------------------------- provisioning

def test_bare_region_by_configuration_alone(system, second):
    before = nodes_with_memory()
    with configured(section('kn', second), 'kn'):
        wait_available('kn')
        found = row('kn')
        node = found['node']
        print(found, blocks(node), ctl('regions'), run('sed', '-n', f'/Node {node}, zone  Movable/,/nr_free/p', '/proc/zoneinfo'))
        assert nodes_with_memory() == before | {node} and node not in before
        assert blocks(node) == {'online Movable'}
        assert found['kind'] == 'kmem' and found['page'] == UNIT and found['enforced'] == 'kernel' and found['keeps']
        assert found['dax'] and found['quota'] and found['seal'] is None
        assert 6 * BLOCK <= node_figure(node, 'MemTotal') and 0 <= node_figure(node, 'MemTotal') - found['capacity'] < 32 * MIB
        assert [n['content'] for n in region(second)['namespaces']] == \
            [f'namespace of store kn, {devices()[0][0]}, memory of node {node}']

        # Again changes nothing, and says so.
        seen = view()
        assert states(provision('kn')) == {'exists'}
        assert 'nothing to do, nothing changed' in ctl('provision', '--store', 'kn', '--apply')
        assert view() == seen
        # Nor does a restart, with and without what systemd keeps for it.
        system.kill(PROVISIONER)
        assert row('kn') == found
        systemctl('stop', PROVISIONER)
        systemctl('start', PROVISIONER)
        wait_available('kn')
        assert row('kn') == found and view() == seen
        assert 'pmbroker/mnt' not in pathlib.Path('/proc/self/mountinfo').read_text()
    assert nodes_with_memory() == before and devices() == []
    assert region(second)['namespaces'] == [] and region(second)['free'] >= 1000 * MIB


def test_manual(system, second):
    """Provision=manual makes nothing by itself; a plan changes nothing; what was made is taken up again after a boot,
    also when the kernel puts memory online by itself, in what zone it likes: pools need one that can be taken out."""
    with configured(section('kn', second, 'Provision=manual', 'Size=448M'), 'kn'):
        seen = view()
        assert 'provision --apply' in wait_refused('kn')
        steps = provision('kn')
        assert [s['step'] for s in steps if s['state'] == 'planned'][-3:] == ['namespace', 'memory', 'self-test']
        assert view() == seen
        assert 'done' in states(provision('kn', apply=True))
        wait_available('kn')

        # As after a boot: the namespace is there, a device.
        systemctl('stop', *SERVICES)
        (device, _, node), = devices()
        run('daxctl', 'offline-memory', device)
        run('daxctl', 'reconfigure-device', '-m', 'devdax', '-f', device)
        with auto_online('online'):
            systemctl('start', 'pmbrokerd.socket', 'pmbroker-provisioner.socket')
            system.wait_until_ready()
            wait_available('kn')
        assert devices() == [(device, 'system-ram', node)] and blocks(node) == {'online Movable'}

        ctl('deprovision', 'kn')
        assert 'deprovisioned' in row('kn')['reason'] and region(second)['namespaces'] == []


def test_too_small(system, second):
    """Not a whole block of memory: numbers, before anything is made."""
    with configured(section('kn', second, 'Size=128M'), 'kn'):
        reason = wait_refused('kn')
        assert '128M' in reason and '288M' in reason
        assert region(second)['namespaces'] == []


# ------------------------------------------------------------------------------------------------------------ foreign

def test_what_is_somebody_elses(system, second):
    """A devdax namespace beside ours, untouched; named by Adopt= it is refused while the node is ours, then taken."""
    ours, size = section('kn', second, 'Size=320M'), '512M'
    with configured(ours, 'kn'):
        wait_available('kn')
        made = json.loads(run('ndctl', 'create-namespace', '-r', region(second)['region'], '-m', 'devdax', '-M', 'mem',
                              '-s', size, '-n', 'theirs'))
        device = made['daxregion']['devices'][0]['chardev']

        def theirs():
            return next(n for n in json.loads(run('ndctl', 'list', '-NX')) if n.get('name') == 'theirs')

        def refusal(steps):
            return ''.join(s['text'] for s in steps if s['state'] == 'refused')

        def deprovision(*names):
            for name in names:
                ctl('deprovision', name)

        seen = theirs()
        assert states(provision('kn', apply=True)) == {'exists'} and theirs() == seen
        configure(f'{ours}\n[Store other]\nType=kmem\nAdopt={made["uuid"]}', 'kn')
        assert 'would be part of node' in wait_refused('other')
        assert '128M of other memory' in refusal(provision('other', apply=True))
        assert theirs() == seen
        deprovision('kn')
        assert theirs() == seen

        assert 'done' in states(provision('other', apply=True))
        found = row('other')
        assert found['capacity'] > 2 * BLOCK and (device, 'system-ram', found['node']) in devices()
        assert f'"theirs", {device}, memory of node {found["node"]}' in [n['content'] for n in region(second)['namespaces']]
        assert states(provision('other')) == {'exists'}
        assert 'of other memory' in refusal(provision('kn', apply=True))  # it has got as far as its namespace
        # It stays, a device as it was.
        deprovision('kn', 'other')
        assert theirs() == seen and [d[:2] for d in devices()] == [(device, 'devdax')]

        # Both at once: one of them has the node.
        programs = [subprocess.Popen(['pmbrokerctl', 'provision', '--apply', '--store', n], stdout=subprocess.DEVNULL)
                    for n in ('kn', 'other')]
        assert sorted(p.wait() for p in programs) == [0, 1]
        assert sorted(row(n)['state'] for n in ('kn', 'other')) == ['available', 'unavailable']
        deprovision('kn', 'other')
        assert theirs() == seen
        run('ndctl', 'destroy-namespace', '-f', made['dev'])


def test_what_holds_something(system):
    """A raw namespace with a file system on it is not made memory."""
    unable = addresses()[1]
    device = next(f"/dev/{n['blockdev']}" for n in json.loads(run('ndctl', 'list', '-N', '-r', region(unable)['region'])))
    run('mkfs.ext4', '-q', '-F', '-L', 'precious', device, '64M')
    seen = view()
    with configured(f'[Store kn]\nType=kmem\nAdopt={unable}', 'kn'):
        assert 'precious' in wait_refused('kn')
        assert 'refused' in states(provision('kn', apply=True)) and view() == seen
    run('wipefs', '-a', '-q', device)


# -------------------------------------------------------------------------------------------------------------- pools

def test_pool(system, km):
    """Its pages are on its node, its limit holds, it is resized while it is used, and outlives both processes."""
    client, other = system.user(ALICE), system.user(BOB)
    kept = other.create(8 * MIB, store='km').pool
    other.fill(kept, 3)
    free = node_figure(km, 'MemFree')
    pool = client.create(32 * MIB, max=256 * MIB, store='km').pool
    assert 30 * MIB < free - node_figure(km, 'MemFree') < 48 * MIB  # all of it is there before it is granted
    cgroup = pathlib.Path('/sys/fs/cgroup' + show_cgroup(PROVISIONER)) / 'memory.stat'
    assert int(re.search(r'^shmem (\d+)', cgroup.read_text(), re.M)[1]) >= 32 * MIB
    client.map(pool)
    client.fill(pool, 7)
    assert pages(client, pool) == [km] * (32 * MIB // PAGE)

    assert client.fallocate(pool, 0, 34 * MIB) == errno.ENOSPC
    assert not client.ftruncate(pool, 64 * MIB)  # which gives it nothing
    assert client.pwrite(pool, 32 * MIB, PAGE) == (0, errno.ENOSPC)
    figures = next(r for r in system.rows() if r.pool == pool)
    assert figures.used == figures.size == 32 * MIB

    assert client.resize(pool, 48 * MIB).size == 48 * MIB
    client.map(pool)
    client.fill(pool, 8, 16, 8)
    assert client.is_filled(pool, 7, 0, 16) and client.is_filled(pool, 8, 16, 8)
    assert pages(client, pool) == [km] * (48 * MIB // PAGE)
    assert client.give_back(pool, (4, 8)).size == 32 * MIB
    assert client.resize(pool, 36 * MIB).size == 36 * MIB
    client.fill(pool, 9, 4, 2)

    def is_whole():
        return client.is_filled(pool, 7, 0, 4) and client.is_filled(pool, 9, 4, 2) and \
            client.is_filled(pool, 7, 12, 4) and client.is_filled(pool, 8, 16, 8) and other.is_filled(kept, 3)

    assert is_whole()
    rows = system.rows()
    system.kill(PROVISIONER)
    assert is_whole() and system.rows() == rows
    system.kill(*SERVICES)
    assert is_whole() and sorted(r.size for r in system.rows()) == [8 * MIB, 36 * MIB]
    assert system.ask('resize', pool, 40 * MIB).size == 40 * MIB
    client.fill(pool, 5, 6, 2)
    assert set(pages(client, pool)) == {km}
    system.dismiss()
    wait_for(lambda: free <= node_figure(km, 'MemFree'), SECONDS, 'the memory is back', every=0.2)


def show_cgroup(unit):
    return systemctl('show', '--property=ControlGroup', '--value', unit).strip()


def test_program(system, km):
    """A program that knows nothing of nodes."""
    out = run(*as_user(ALICE, EXAMPLES / 'holder', '--size', '64', '--store', 'km', '--seconds', '1'))
    print(out, ctl('stores', '-o', '+NODE'))


def test_node_is_too_small(system, km):
    """What others have of the node cannot be promised; nobody is killed, and the refusal has the numbers."""
    client = system.user(ALICE)
    pool = client.create(16 * MIB, max=240 * MIB, store='km').pool
    client.fill(pool, 4)
    capacity = row('km')['capacity']
    with pytest.raises(Refused) as e:
        client.create(capacity, store='km')
    assert (e.value.code, e.value.asked, e.value.limit, e.value.used) == ('STORE_FULL', capacity, capacity, 16 * MIB)
    with hog(km, 140):
        for refused in (lambda: system.user(BOB).create(120 * MIB, store='km'), lambda: client.resize(pool, 136 * MIB)):
            with pytest.raises(Refused) as e:
                refused()
            assert (e.value.code, e.value.errno, e.value.asked, e.value.limit) == \
                ('STORE_FULL', errno.ENOSPC, 120 * MIB, capacity)
            assert 150 * MIB < e.value.used < 190 * MIB
        assert client.pool(pool).size == 16 * MIB and client.is_filled(pool, 4)
        # What does fit is given.
        assert client.resize(pool, 64 * MIB).size == 64 * MIB
    assert client.resize(pool, 136 * MIB).size == 136 * MIB
    assert system.rows()[0].size == row('km')['charged'] == 136 * MIB


def test_cached_files_make_way(system, km):
    """They are no reason for a refusal: the kernel gives them up."""
    unable, place = addresses()[1], pathlib.Path('/run/cached')
    device = next(f"/dev/{n['blockdev']}" for n in json.loads(run('ndctl', 'list', '-N', '-r', region(unable)['region'])))
    place.mkdir()
    run('mkfs.ext4', '-q', '-F', device)
    run('mount', device, place)
    try:
        with open(place / 'file', 'wb') as f:
            f.truncate(150 * MIB)
        with hog(km, 150, 'cache', str(place / 'file')):
            assert node_figure(km, 'MemFree') < 130 * MIB
            client = system.user(ALICE)
            client.fill(client.create(200 * MIB, store='km').pool, 4, 0, 2)
    finally:
        run('umount', place)
        run('wipefs', '-a', '-q', device)


def test_touch(system, km):
    """Allocate=touch: what was promised and not taken is not promised again."""
    configure(km_section('Allocate=touch'), 'km')
    try:
        client = system.user(ALICE)
        free = node_figure(km, 'MemFree')
        pool = client.create(100 * MIB, store='km').pool
        assert free - node_figure(km, 'MemFree') < 8 * MIB
        with hog(km, 80):
            with pytest.raises(Refused) as e:
                client.create(100 * MIB, store='km')
            assert e.value.code == 'STORE_FULL' and 170 * MIB < e.value.used < 210 * MIB
            client.fill(pool, 1, 20, 4)
            assert pages(client, pool) == [km] * (8 * MIB // PAGE)
        system.dismiss()
    finally:
        configure(km_section(), 'km')


def test_memory_goes_between_promise_and_deed(system, km, victims):
    """Whoever was to take it is killed, and nobody else; the client is told, with the numbers."""
    client, other = system.user(ALICE), system.user(BOB)
    kept = other.create(16 * MIB, store='km').pool
    other.fill(kept, 6)
    before = [main_pid(u) for u in SERVICES]
    workers = [int(p) for p in run('pgrep', '-x', 'pmb-worker').split()]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    serial = client.send('create_pool', size=180 * MIB, store='km')
    assert not client.is_answered(serial, 0.5)
    with hog(km, 120):
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        assert client.is_answered(serial, SECONDS)
        with pytest.raises(Refused) as e:
            client.answer(serial)
        assert (e.value.code, e.value.asked) == ('STORE_FULL', 180 * MIB)
        assert 130 * MIB < e.value.used < 170 * MIB
        victims.append('pmb-worker')  # one, or another one for the next create
        assert other.is_filled(kept, 6) and [main_pid(u) for u in SERVICES] == before
        assert client.create(32 * MIB, store='km').pool
    assert client.create(120 * MIB, store='km').pool


def test_deprovision(system, km):
    """Refused while there are pools, and while something cannot be moved; then all is as it was."""
    client = system.user(ALICE)
    pool = client.create(16 * MIB, store='km').pool
    client.fill(pool, 2)
    status, out = run('pmbrokerctl', 'deprovision', 'km', check=False)
    assert status == 1 and 'pool' in out
    assert client.is_filled(pool, 2) and row('km')['state'] == 'available'
    system.dismiss()

    with hog(km, 0, 'pin'):
        status, out = run('pmbrokerctl', 'deprovision', 'km', check=False)
        assert status == 1 and 'holds on to' in out, out
        wait_available('km')
        assert blocks(km) == {'online Movable'}
        again = system.user(ALICE)
        again.fill(again.create(16 * MIB, store='km').pool, 1)
        system.dismiss()
    out = ctl('deprovision', 'km')
    assert 'dax device again' in out and 'destroyed' in out
    assert km not in nodes_with_memory() and devices() == [] and region(addresses()[0][0])['namespaces'] == []
