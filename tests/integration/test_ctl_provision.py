# SPDX-License-Identifier: BSD-3-Clause
"""pmbrokerctl regions, provision, deprovision: what is shown, and how it ends."""

import json

import pytest

from ctlrun import DONE, REFUSED, USAGE, ctl, fake, said  # noqa: F401
from pmbproto import pb

EXISTS, PLANNED, STEP_DONE, STEP_REFUSED, BROKEN = 1, 2, 3, 4, 5


def step(kind, state, text='text'):
    return pb.ProvisionStep(kind=kind, state=state, text=text)


def report(*steps):
    return lambda session, packet: {'provisioned': pb.ProvisionReport(store='pmem0', steps=steps)}


@pytest.fixture
def rows(fake):  # noqa: F811
    fake.answers['list_regions'] = lambda session, packet: {'regions': pb.RegionList(rows=[
        pb.RegionRow(region='region0', start=0x100000000, size=1 << 30, free=512 << 20, labels=True, label_area=True,
                     enabled=True, node=1),
        pb.RegionRow(region='region0', namespace='namespace0.0', size=1 << 29, enabled=True, node=-1, mode='fsdax',
                     uuid='u', content='ext4 "x"'),
        pb.RegionRow(region='region1', start=0x200000000, size=1 << 29, label_area=True, enabled=True, node=-1),
        pb.RegionRow(region='region2', start=0x300000000, size=1 << 29, enabled=False, node=0)])}


def test_regions(ctl, rows):  # noqa: F811
    assert ctl('regions') == '''\
REGION  NAMESPACE    ADDRESS     SIZE FREE LABELS MODE  CONTENT
region0 -            0x100000000   1G 512M yes    -     -
region0 namespace0.0 -           512M    - -      fsdax ext4 "x"
region1 -            0x200000000 512M   0B none   -     -
region2 -            0x300000000 512M   0B no     -     -
'''
    found = json.loads(ctl('regions', '--json'))['regions']
    assert found[0] == {'region': 'region0', 'namespace': None, 'address': '0x100000000', 'size': 1 << 30,
                        'free': 512 << 20, 'labels': 'yes', 'node': 1, 'enabled': True, 'mode': None, 'uuid': None,
                        'content': None}
    assert found[1]['uuid'] == 'u' and found[1]['node'] is None and found[3]['enabled'] is False


def test_no_regions(ctl, fake):  # noqa: F811
    fake.answers['list_regions'] = lambda session, packet: {'regions': pb.RegionList()}
    assert json.loads(ctl('regions', '--json')) == {'regions': []}


@pytest.mark.parametrize('steps, words, status', [
    ([(1, EXISTS), (3, PLANNED)], 'to do; --apply does it', DONE),
    ([(1, EXISTS), (7, EXISTS)], 'nothing to do', DONE),
    ([(1, EXISTS), (3, STEP_DONE)], 'done', DONE),
    ([(1, EXISTS), (2, STEP_REFUSED)], 'refused', REFUSED),
    ([(3, STEP_DONE), (5, BROKEN)], 'refused', REFUSED)])
def test_provision(ctl, fake, steps, words, status):  # noqa: F811
    fake.answers['provision'] = report(*(step(*s) for s in steps))
    out = ctl('provision', '--store', 'pmem0', status=status)
    assert out.splitlines()[0] == f'pmem0: {words}' and len(out.splitlines()) == 1 + len(steps)
    found = json.loads(ctl('provision', '--json', status=status))['stores']
    assert [s['refused'] for s in found] == [status == REFUSED] * 2  # pmem0 and cxl
    assert fake.asked() == ['provision', 'list_stores', 'provision', 'provision']


def test_provision_says_that_nothing_changed(ctl, fake):  # noqa: F811
    fake.answers['provision'] = report(step(1, EXISTS, 'a\u202eb'))
    assert ctl('provision', '--apply', '--store', 'pmem0') == '''\
pmem0: nothing to do, nothing changed
  exists   region       a\\xe2\\x80\\xaeb
'''


def test_memory_is_a_step(ctl, fake):  # noqa: F811
    fake.answers['provision'] = report(step(8, EXISTS, 'x'))
    assert ctl('provision', '--store', 'cxl').splitlines()[1] == '  exists   memory       x'


def test_deprovision(ctl, fake):  # noqa: F811
    fake.answers['deprovision'] = report(step(6, STEP_DONE, 'unmounted'))
    assert ctl('deprovision', 'pmem0', '--quiet') == 'pmem0: deprovisioned\n  done     mount        unmounted\n'
    assert json.loads(ctl('deprovision', 'pmem0', '--json')) == {
        'store': 'pmem0', 'refused': False, 'steps': [{'step': 'mount', 'state': 'done', 'text': 'unmounted'}]}


def test_options_belong_to_verbs(ctl):  # noqa: F811
    ctl('stores', '--apply', status=USAGE, err=said('--apply means nothing to stores'))
    ctl('list', '--store', 'x', status=USAGE, err=said('--store means nothing to list'))
    ctl('provision', '--force', status=USAGE, err=said('--force means nothing to provision'))
