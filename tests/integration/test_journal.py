# SPDX-License-Identifier: BSD-3-Clause
"""What the journal has: a real journald, in a mount namespace of its own, and the questions that operators ask it."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from ctlrun import CTL
from daemon import ALICE, BOB, broker, needs_root, store, tenant, wait_for
from fakeprovisioner import FakeProvisioner, LoneBroker
from pmbproto import GIB, MIB, ROOT, Client

JOURNALD = '/lib/systemd/systemd-journald'
WHO_HELD = ROOT / 'examples/monitoring/who-held'
CREATED, RESIZED, REVOKED, RELEASED = ('ef9107cb325d4f70ac6d4bda9b7f3c97', '0eb0f6514f54416c9a2680da2468ff8a',
                                       '2ebcfa15e41c4012b8e816fc499c76d2', '6d3e95bc5d594887ad644559ca2458c2')
REVOKING = '93e83fcae76741bb885bf0be34973d73'
PROVISIONED, DEPROVISIONED = '80bf4424fb894403b8454840193cc98b', '0d665d3010bc4036b6afe4d838233a00'
AVAILABLE, UNAVAILABLE = '4abb386da7dc423db4a11882506f5a0e', '9a9a067de91540c6aacce009b7c36346'
REFUSED = 'f363e11f5e9c477d90212166154c14a3'

needs_journald = pytest.mark.skipif(
    not (pathlib.Path(JOURNALD).exists() and shutil.which('jq') and shutil.which('nsenter') and
         pathlib.Path('/etc/machine-id').exists() and pathlib.Path('/etc/machine-id').read_text().strip()),
    reason='needs systemd-journald, jq and a machine id')


class Journal:
    """A journald whose /run is a directory of ours."""

    def __init__(self, dir):
        self.run = dir / 'run'
        (self.run / 'log/journal').mkdir(parents=True)
        self.child = subprocess.Popen(
            ['unshare', '--mount', '--propagation', 'private', 'sh', '-c',
             f'mount --bind {self.run} /run && exec {JOURNALD}'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: (self.run / 'systemd/journal/socket').exists(), 10, 'journald listens')

    def prefix(self):
        """To start a process whose standard error is, as it thinks, the journal."""
        return ['nsenter', f'--mount=/proc/{self.child.pid}/ns/mnt', 'sh', '-c',
                'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec "$@"', 'sh']

    def read(self, *words):
        return subprocess.run(['journalctl', '-D', self.run / 'log/journal', '--no-pager', '-q', *words], capture_output=True,
                              text=True, check=True, env={'LC_ALL': 'C.UTF-8', 'TZ': 'UTC', 'PATH': os.environ['PATH']}).stdout

    def records(self, *words):
        return [json.loads(line) for line in self.read('-o', 'json', *words).splitlines()]

    def stop(self):
        self.child.terminate()
        self.child.wait()


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path)
    yield journal
    journal.stop()


@pytest.fixture
def daemon(start, journal):
    sections = [broker(), store('main', 'dir', '1G'), tenant('a', User=ALICE, Bytes='64M'), tenant('b', User=BOB)]
    daemon = start(*sections, prefix=journal.prefix())
    daemon.main_pid = lambda: daemon.supervisor.pid  # the prefix is gone when it runs
    return daemon


def ctl(daemon, *words):
    subprocess.run([CTL, '-S', daemon.socket, '-q', *words], check=True)


# ---------------------------------------------------------------------------------------------------- the records

@needs_root
@needs_journald
def test_records_have_fields(daemon, journal):
    user = daemon.user(ALICE)
    pool = user.create(4 * MIB, max=16 * MIB, name='web').pool
    id = f'{pool:016x}'
    ctl(daemon, 'resize', id, '8M')
    with pytest.raises(Exception, match='QUOTA'):
        user.create(GIB)
    ctl(daemon, 'drain', 'main')
    ctl(daemon, 'drain', 'main', '--undo')
    ctl(daemon, 'set-limit', 'a', 'Pools=5')
    ctl(daemon, 'reload')
    subprocess.run(['timeout', '-s', 'INT', '1', CTL, '-S', daemon.socket, '-q', 'revoke', '--grace', '60', id], check=False)
    ctl(daemon, 'revoke', id)
    user.process.kill()
    wait_for(lambda: not daemon.pools())
    records = wait_for(lambda: (r := journal.records('-t', 'pmbrokerd', f'POOL_ID={id}')) and len(r) == 5 and r)
    assert [r['MESSAGE_ID'] for r in records] == [CREATED, RESIZED, REVOKING, REVOKED, RELEASED]
    assert [(r['BYTES_BEFORE'], r['BYTES']) for r in records] == [
        ('0', str(4 * MIB)), (str(4 * MIB), str(8 * MIB)), (str(8 * MIB), str(8 * MIB)), (str(8 * MIB), str(8 * MIB)),
        (str(8 * MIB), '0')]
    for r in records:
        assert (r['TENANT'], r['STORE'], r['UID'], r['PID'], r['POOL_NAME']) == \
            ('a', 'main', str(ALICE), str(user.process.pid), 'web')
        assert r['SYSLOG_IDENTIFIER'] == 'pmbrokerd' and r['_UID'] == str(pathlib.Path(f'/proc/{daemon.child("broker")}').stat().st_uid)
    assert ['BY_UID' in r for r in records] == [False, True, True, True, False]
    assert (records[1]['BY_UID'], records[0]['PRIORITY'], records[2]['PRIORITY']) == ('0', '6', '5')

    daemon.may_crash = True
    os.kill(daemon.child('provisioner'), signal.SIGKILL)
    daemon.wait_until_ready()
    told = wait_for(lambda: (r := journal.records('STORE=main', f'MESSAGE_ID={AVAILABLE}', f'MESSAGE_ID={UNAVAILABLE}')) and
                    len(r) == 3 and r)
    assert [r['MESSAGE'] for r in told] == ['store main is available: 1G of dir',
                                            'store main is not available: the provisioner is away',
                                            'store main is available: 1G of dir']

    refused, = journal.records(f'MESSAGE_ID={REFUSED}')
    assert (refused['REFUSAL'], refused['ASKED'], refused['LIMIT'], refused['USED'], refused['TENANT'], refused['UID']) == \
        ('quota-bytes', str(GIB), str(64 * MIB), str(8 * MIB), 'a', str(ALICE))
    # Every kind that can be had without NVDIMMs has been there, and is explained.
    seen = {r['MESSAGE_ID'] for r in journal.records('-t', 'pmbrokerd') if 'MESSAGE_ID' in r}
    assert len(seen) == 12
    verbose = journal.read('-o', 'verbose', '-t', 'pmbrokerd')
    for field in 'POOL_ID', 'TENANT', 'STORE', 'UID', 'PID', 'BYTES', 'COMMAND':
        assert re.search(rf'^    {field}=\S', verbose, re.M), field
    assert '    MESSAGE=tenant a has other limits: Pools=5; uid 0 pid ' in verbose


@needs_root
@needs_journald
def test_provisioning_is_on_record(journal):
    """Who had a store made and taken down again; a plan is no news."""
    lone = LoneBroker(prefix=journal.prefix())
    try:
        admin = Client(lone.socket)
        wait_for(lambda: admin.status().provisioner)
        lone.provisioner.stores = [FakeProvisioner.store('pm', kind=3)]
        lone.provisioner.stores_changed()
        wait_for(lambda: 'pm' in admin.stores())
        admin.ask('provision', store='pm')
        admin.ask('provision', store='pm', apply=True)
        admin.ask('deprovision', store='pm', force=True)
        records = wait_for(lambda: (r := journal.records('STORE=pm', 'BY_UID=0')) and len(r) == 2 and r)
    finally:
        lone.close()
    assert [r['MESSAGE_ID'] for r in records] == [PROVISIONED, DEPROVISIONED]
    for r in records:
        assert (r['BY_PID'], r['PRIORITY'], r['SYSLOG_IDENTIFIER']) == (str(os.getpid()), '5', 'pmbrokerd')
    assert [r['MESSAGE'].split(';')[0] for r in records] == ['store pm: provisioning', 'store pm: deprovisioning: with all its pools']


@needs_root
@needs_journald
def test_refusals_do_not_flood(daemon, journal):
    user, other = daemon.user(ALICE), daemon.user(BOB)
    begin = time.monotonic()
    for _ in range(200):
        with pytest.raises(Exception, match='QUOTA'):
            user.create(GIB)
    with pytest.raises(Exception, match='QUOTA'):
        other.create(2 * GIB)  # the other user's is told nevertheless
    time.sleep(0.3)
    by_user = [r['UID'] for r in journal.records(f'MESSAGE_ID={REFUSED}')]
    assert 10 <= by_user.count(str(ALICE)) <= 11 + time.monotonic() - begin and by_user.count(str(BOB)) == 1


@needs_root
@needs_journald
def test_a_journal_that_hangs_keeps_nobody_waiting(daemon, journal):
    """What it does not take is lost, and counted: it is told how much that was when it reads again."""
    queue = int(pathlib.Path('/proc/sys/net/unix/max_dgram_qlen').read_text())
    user = daemon.user(ALICE)
    journal.child.send_signal(signal.SIGSTOP)
    try:
        for _ in range(queue // 2 + 20):  # two records each
            user.drop(user.create(2 * MIB).pool)
    finally:
        journal.child.send_signal(signal.SIGCONT)
    time.sleep(0.2)
    user.drop(user.create(2 * MIB).pool)

    def told():
        lost = [re.fullmatch(r'(\d+) records were lost, as the journal did not take them', r['MESSAGE'])
                for r in journal.records('-t', 'pmbrokerd')]
        return [int(m[1]) for m in lost if m]
    wait_for(told, 10, 'the journal knows what it has not')
    records = [r for r in journal.records('-t', 'pmbrokerd') if r.get('MESSAGE_ID') in (CREATED, RELEASED)]
    assert len(records) + sum(told()) == 2 * (queue // 2 + 21)


# -------------------------------------------------------------------------------------------------------- the audit

def held(journal, when=None):
    """{pool: (bytes, tenant, uid)} and the last line, from the journal alone."""
    text = journal.read('-t', 'pmbrokerd', '-o', 'json')
    out = subprocess.run([WHO_HELD, *([f'@{when:.6f}'] if when else [])], input=text, capture_output=True, text=True, check=True)
    *lines, last = out.stdout.splitlines()
    pools = {}
    for line in lines:
        _, size, tenant_name, _, uid, _, *_, id = line.split()
        pools[id] = int(size), tenant_name, int(uid)
    return pools, last


@needs_root
@needs_journald
def test_who_held_what_when(daemon, journal):
    """At every moment what the daemon said at that moment; also when the broker was started again in between."""
    def expected():
        return {f'{row.pool:016x}': (row.size, row.tenant, row.uid) for row in daemon.pools()}

    def now():
        time.sleep(0.05)
        moment = time.time(), expected()
        time.sleep(0.05)
        return moment

    moments = [now()]
    alice, bob = daemon.user(ALICE), daemon.user(BOB)
    pools = [alice.create(2 * MIB, max=32 * MIB).pool for _ in range(4)]
    moments.append(now())
    alice.resize(pools[0], 8 * MIB)
    bob.create(64 * MIB)
    moments.append(now())
    alice.give_back(pools[0], (1, 2))
    alice.drop(pools[1])
    moments.append(now())
    daemon.may_crash = True
    os.kill(daemon.child('broker'), signal.SIGKILL)
    daemon.wait_until_ready()
    wait_for(lambda: len(daemon.pools()) == 4)
    moments.append(now())
    bob.process.kill()
    wait_for(lambda: len(daemon.pools()) == 3)
    moments.append(now())
    for i, (when, pools_then) in enumerate(moments):
        found, last = held(journal, when)
        assert found == pools_then, i
        assert last == f'{sum(size for size, *_ in pools_then.values())} bytes in {len(pools_then)} pools'
    assert held(journal)[0] == moments[-1][1]


# ----------------------------------------------------------------------------------------------------- the catalogue

@pytest.fixture
def catalogue(tmp_path):
    """A root directory with our catalogue in its database."""
    if not shutil.which('journalctl'):
        pytest.skip('needs journalctl')
    directory = tmp_path / 'root/usr/lib/systemd/catalog'
    directory.mkdir(parents=True)
    shutil.copy(ROOT / 'systemd/pmbroker.catalog', directory)
    with contextlib.suppress(FileExistsError):
        (tmp_path / 'root/var/lib/systemd/catalog').mkdir(parents=True)
    result = subprocess.run(['journalctl', f'--root={tmp_path}/root', '--update-catalog'], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, '')
    return tmp_path / 'root'


def test_catalogue(catalogue):
    """It can be read, and has an entry for every id in the source."""
    text = subprocess.run(['journalctl', f'--root={catalogue}', '--no-pager', '--dump-catalog'], capture_output=True, text=True,
                          check=True).stdout
    ids = re.findall(r'\{"([0-9a-f]{32})"', (ROOT / 'daemon/ipc/chronicle.c').read_text())
    assert len(ids) == 16
    for id in ids:
        entry = re.search(rf'^-- {id}\n(.*?)(?=^-- |\Z)', text, re.M | re.S)[1]
        assert re.search(r'^Subject: \S', entry, re.M) and re.search(r'^Defined-By: pmbroker$', entry, re.M)
        assert re.search(r'^Documentation: man:pmbroker', entry, re.M)
        assert len(entry.split('\n\n', 1)[1].strip()) > 40
    # What it refers to are fields that the records have.
    fields = set(re.findall(r'@([A-Z_]+)@', text))
    assert fields == {'POOL_ID', 'PID', 'COMMAND', 'UID', 'BYTES', 'BYTES_BEFORE', 'STORE', 'TENANT', 'REFUSAL', 'BY_UID'}
