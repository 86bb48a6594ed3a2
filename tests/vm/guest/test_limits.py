# SPDX-License-Identifier: BSD-3-Clause
"""The limit holds on this kernel too; and a tenant is who systemd says."""

import errno
import signal

import pytest

from daemon import wait_for
from pmbproto import MIB, UNIT, Refused
from system import ALICE, BOB, EXAMPLES, SECONDS, SERVICES, as_user, ctl, is_active, main_pid, run


def test_limit_of_a_pool(system):
    client = system.user()
    pool = client.create(4 * MIB).pool
    assert client.pwrite(pool, 0, 4 * MIB) == (4 * MIB, 0)
    assert client.pwrite(pool, 4 * MIB, 1) == (0, errno.ENOSPC)
    assert client.fallocate(pool, 0, 6 * MIB) == errno.ENOSPC
    assert client.ftruncate(pool, 8 * MIB) == 0
    client.map(pool, 8 * MIB)
    assert client.touch(pool, 0, 4 * MIB - 1) == 0
    assert client.touch(pool, 4 * MIB) == signal.SIGBUS


def test_quota_of_a_tenant(system):
    """By default a quarter of the store, which all users share."""
    client, other = system.user(ALICE), system.user(BOB)
    quota = system.ask('stores')['ram'].capacity // 4
    most = quota // UNIT * UNIT
    client.create(most)
    with pytest.raises(Refused) as e:
        other.create(UNIT)
    assert (e.value.code, e.value.asked, e.value.limit, e.value.used) == ('QUOTA_BYTES', UNIT, quota, most)


def test_unprivileged_program(system):
    out = run(*as_user(ALICE, EXAMPLES / 'memkind-walk'))
    print(out)
    assert 'store ram' in out and 'tenant default' in out and 'refused' in out


def test_owner_that_dies_gives_back(system):
    """This kernel has no SO_PEERPIDFD: the process is found by its number."""
    client = system.user()
    client.create(16 * MIB)
    assert system.ask('status').pools == 1
    client.process.kill()
    wait_for(lambda: system.ask('status').pools == 0, SECONDS, 'the pool is gone', every=0.02)


def test_reload(system, configure):
    """One reload, both processes: a new store and a new tenant, at once; nobody is restarted."""
    before = [main_pid(u) for u in SERVICES]
    configure('[Store second]\nType=tmpfs\nSize=64M\n[Tenant alice]\nUser=20001\nBytes=6M\nStores=second\n')
    client = system.user(ALICE)
    assert client.create(6 * MIB).store == 'second'
    with pytest.raises(Refused):
        client.create(2 * MIB)
    assert [main_pid(u) for u in SERVICES] == before


def test_bad_configuration_changes_nothing(system, configure):
    system.expect_errors('.')
    configure('[Tenant x]\nNonsense=1\n', reload=False)
    for unit in SERVICES:
        status, _ = run('systemctl', 'reload', unit, check=False)
        assert status != 0 and is_active(unit) == 'active'
    assert set(system.ask('tenants')) == {'default'}
    assert system.user().create(2 * MIB).pool


@pytest.mark.parametrize('match', ['Unit=pmb-test-*.service', 'Slice=pmbtest.slice'])
def test_tenant_by_unit(system, configure, match):
    configure(f'[Tenant special]\n{match}\n')
    out = run('systemd-run', '--quiet', '--pipe', '--wait', '--collect', f'--uid={ALICE}', '--unit=pmb-test-1.service',
              '--slice=pmbtest-inner.slice', EXAMPLES / 'memkind-walk')
    assert 'charged to tenant special' in out
    assert 'charged to tenant default' in run(*as_user(ALICE, EXAMPLES / 'memkind-walk'))


def test_tables(system):
    client = system.user(ALICE)
    pool = client.create(4 * MIB, name='mine').pool
    for verb in ('status', 'list', 'stores', 'tenants'):
        print(ctl(verb))
    assert f'{pool:016x}' in ctl('list') and 'mine' in ctl('list')
    assert 'mine' in ctl('list', uid=ALICE)
    assert 'mine' not in ctl('list', uid=BOB)
