# SPDX-License-Identifier: BSD-3-Clause
"""The first client starts everything; stopping leaves nothing."""

import pathlib

import pytest

from daemon import wait_for
from pmbproto import MIB
from system import (ALICE, BROKER, EXAMPLES, PROVISIONER, SECONDS, SERVICES, SOCKETS, as_user, ctl, is_active, main_pid,
                    processes, run, show, systemctl)


@pytest.mark.parametrize('client', ['pmbrokerctl', 'example', 'protocol'])
def test_first_client_starts_both(stopped, client, request):
    """Whatever kind of client it is."""
    if client == 'pmbrokerctl':
        print(ctl('status', uid=ALICE))
    elif client == 'example':
        print(run(*as_user(ALICE, EXAMPLES / 'memkind-walk')))
    else:
        system = request.getfixturevalue('system')
        assert system.user().create(2 * MIB).pool
    for unit in SERVICES:
        wait_for(lambda: is_active(unit) == 'active', SECONDS, f'{unit} is active', every=0.1)
    request.getfixturevalue('system')


def test_ready_means_ready(system):
    for unit in SERVICES:
        kind, state, sub, pid, access = show(unit, 'Type', 'ActiveState', 'SubState', 'MainPID', 'NotifyAccess')
        assert (kind, state, sub, access) == ('notify', 'active', 'running', 'main')
        assert int(pid) in processes()
    assert show(BROKER, 'StatusText') == ['Serving']
    assert system.ask('status').pid == main_pid(BROKER)
    assert system.ask('status').keeps_pools
    assert show(PROVISIONER, 'NFileDescriptorStore') == ['1']


def test_broker_has_no_right(system):
    status = pathlib.Path(f'/proc/{main_pid(BROKER)}/status').read_text().splitlines()
    fields = dict(line.split(':\t', 1) for line in status)
    assert {fields[c] for c in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')} == {'0000000000000000'}
    assert '0' not in fields['Uid'].split()
    assert (fields['NoNewPrivs'], fields['Seccomp']) == ('1', '2')


def test_stop_leaves_nothing(system):
    """With a pool in use: its memory is the client's for as long as it lives, but the units are gone."""
    client = system.user()
    pool = client.create(4 * MIB).pool
    client.fill(pool, 1)
    systemctl('stop', *SERVICES, *SOCKETS)
    assert processes() == []
    assert [is_active(u) for u in (*SERVICES, *SOCKETS)] == ['inactive'] * 4
    assert client.is_filled(pool, 1)
    for unit in SERVICES:
        assert not pathlib.Path('/sys/fs/cgroup/system.slice', unit).exists()
    mounts = pathlib.Path('/proc/1/mountinfo').read_text()
    assert 'pmbroker' not in mounts
    systemctl('start', *SOCKETS)
    system.wait_until_ready()
