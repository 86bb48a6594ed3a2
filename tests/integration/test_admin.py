# SPDX-License-Identifier: BSD-3-Clause
"""Who may see and do what, and what a revocation does."""

import errno
import signal
import time

import pytest

from daemon import ADMIN_GROUP, ALICE, BOB, CAROL, broker, needs_root, store, tenant, wait_for
from pmbproto import MIB, UNIT, pb

pytestmark = needs_root


@pytest.fixture
def daemon(start, kind):
    return start(
        broker(AdminGroup=ADMIN_GROUP),
        store('main', kind, '1G'),
        tenant('a', User=ALICE, Bytes='32M'),
        tenant('default', Bytes='infinity'))


# --------------------------------------------------------------------------------------------------------- rights

@pytest.mark.parametrize('body', ['list_stores', 'list_tenants', 'revoke_pool'])
def test_users_are_denied(daemon, refused, body):
    user = daemon.user(ALICE)
    with refused('DENIED', errno=errno.EACCES, asked=0, limit=0, used=0, subject=''):
        user.ask(body)
    assert user.status().pid > 0


def test_rights_are_checked_before_the_body_is_looked_at(daemon, refused):
    """A stranger cannot find out by RevokePool which pools there are."""
    pool = daemon.user(ALICE).create(UNIT).pool
    user = daemon.user(BOB)
    for number in pool, 1:
        with refused('DENIED'):
            user.revoke(number)


def test_lists_of_users_have_their_own_pools(daemon):
    """Those of all processes of the user."""
    alice, bob = daemon.user(ALICE), daemon.user(BOB)
    pool = alice.create(4 * MIB, name='mine').pool
    alice.fill(pool, 1, 0, 1)
    assert bob.pools() == []
    assert daemon.user(ALICE).pools()[0].pool == pool
    row, = alice.pools()
    assert (row.pool, row.name, row.tenant, row.uid, row.pid, row.store, row.size, row.length, row.max, row.state) == \
        (pool, 'mine', 'a', ALICE, alice.process.pid, 'main', 4 * MIB, 4 * MIB, 4 * MIB, pb.STATE_READY)
    assert (row.used, row.used_known, row.target) == (2 * MIB, True, 0)
    assert 0 < row.age_usec < 10 ** 7
    assert row.command.startswith('python') or row.command == 'pytest'


def test_administrators_list_everybody_s(daemon):
    pools = [daemon.user(uid).create(UNIT).pool for uid in (ALICE, BOB, CAROL)]
    for admin in daemon.admin, daemon.user(CAROL, gid=ADMIN_GROUP), daemon.user(CAROL, groups=[7, ADMIN_GROUP]):
        assert admin.hello().admin
        assert [row.pool for row in admin.pools()] == pools
        assert [row.uid for row in admin.pools()] == [ALICE, BOB, CAROL]
        assert admin.pool(pools[0]).uid == ALICE
        assert set(admin.stores()) == {'main'}
        assert set(admin.tenants()) == {'a', 'default'}


def test_user_whose_number_is_the_group_s_is_no_administrator(daemon, refused):
    user = daemon.user(ADMIN_GROUP, gid=5)
    assert not user.hello().admin
    with refused('DENIED'):
        user.stores()


def test_without_admin_group_only_root_is(start, refused):
    daemon = start(broker(AdminGroup=''), store('main', 'dir'))
    assert daemon.admin.hello().admin
    with refused('DENIED'):
        daemon.user(BOB, groups=[ADMIN_GROUP]).stores()


def test_status_tells_users_nothing_of_others(daemon):
    daemon.user(ALICE).create(UNIT)
    status = daemon.user(BOB).status()
    assert (status.pools, status.bytes, status.capacity, status.sessions, status.refusals) == (0, 0, 0, 0, 0)
    assert status.version and status.pid == daemon.status().pid and status.provisioner


def test_status_tells_administrators_all(daemon):
    daemon.user(ALICE).create(4 * MIB)
    status = daemon.status()
    assert (status.pools, status.bytes, status.capacity, status.stores, status.stores_available, status.sessions,
            status.releasing) == (1, 4 * MIB, 1 << 30, 1, 1, 2, 0)
    assert 0 < status.uptime_usec < 60 * 10 ** 6


def test_stores_are_listed_with_their_figures(daemon, kind):
    daemon.user(ALICE).create(4 * MIB)
    row = daemon.stores()['main']
    assert (row.kind, row.capacity, row.charged, row.pools, row.available, row.reason) == \
        ({'tmpfs': pb.KIND_TMPFS, 'dir': pb.KIND_DIR}[kind], 1 << 30, 4 * MIB, 1, True, '')
    assert row.page_size in (4096, UNIT)
    assert row.keeps_pools == (kind == 'dir')  # stand-alone: nobody keeps the mounts


def test_long_lists_come_in_pages_that_fit(start):
    """As many tenants and pools as make several pages; names as long as they may be."""
    tenants = [tenant(f'tenant-{i:025}', User=30000 + i, Stores=' '.join(f'store-{k:026}' for k in range(4)))
               for i in range(60)]
    daemon = start(broker(), *[store(f'store-{k:026}', 'dir') for k in range(4)], *tenants)
    user = daemon.user(30059)
    pools = [user.create(UNIT, name='n' * 32).pool for _ in range(32)]
    more = daemon.user(30058)
    pools += [more.create(UNIT, name='n' * 32, store='store-' + '0' * 25 + '3').pool for _ in range(8)]
    pools += [daemon.user(30000 + i).create(UNIT, name='n' * 32).pool for i in range(50)]
    rows = daemon.pools()
    assert [row.pool for row in rows] == pools
    assert all(len(row.name) == 32 and len(row.tenant) == 32 and len(row.store) == 32 for row in rows)
    assert list(daemon.tenants()) == [f'tenant-{i:025}' for i in range(60)] + ['default']
    assert len(daemon.stores()) == 4


def test_a_page_of_tenants_fits_with_all_their_stores(start):
    """Each may use as many stores as a row has room for, and has figures as long as they get."""
    stores = [f'store-{k:026}' for k in range(18)] + ['last']
    lists = '\n'.join(f'Stores={name}' for name in stores)
    infinite = dict.fromkeys(['Bytes', 'Pools', 'PoolBytes'], 'infinity')
    daemon = start(broker(), *[store(name, 'dir', '64M') for name in stores],
                   *[tenant(f'tenant-{i:025}', User=30000 + i, **infinite) + lists for i in range(30)])
    for i in range(30):
        daemon.user(30000 + i).create(UNIT)
    rows = daemon.tenants()
    assert len(rows) == 31 and all(row.stores == ' '.join(stores) for name, row in rows.items() if name != 'default')


# --------------------------------------------------------------------------------------------------------- revoke

def test_revoke_takes_the_memory_at_once(daemon, kind):
    user = daemon.user(ALICE)
    pool, kept = user.create(8 * MIB).pool, user.create(4 * MIB).pool
    user.fill(pool, 1)
    user.fill(kept, 2)
    done = daemon.admin.revoke(pool)
    assert done.releasing == (kind == 'dir')
    event = user.event('revoked')
    assert (event.pool, event.reason) == (pool, pb.REVOKED_BY_ADMIN)
    assert user.touch(pool, 0) == signal.SIGBUS
    assert user.is_filled(kept, 2)
    if kind == 'tmpfs':
        # The owner lives and holds descriptor and mapping, and yet:
        assert daemon.stores()['main'].charged == 4 * MIB
        assert daemon.tenants()['a'].bytes == 4 * MIB
        assert [row.pool for row in daemon.pools()] == [kept]
        assert user.stat(pool)[1] <= 4096
    else:
        assert {row.pool: row.state for row in daemon.pools()} == {pool: pb.STATE_RELEASING, kept: pb.STATE_READY}
        assert daemon.status().releasing == 1


def test_capacity_of_a_revoked_pool_is_another_s(start):
    """All of a full store changes hands while the old owner lives and tries to keep it."""
    daemon = start(broker(), store('main', 'tmpfs', '32M'), tenant('default', Bytes='infinity'))
    user, other = daemon.user(ALICE), daemon.user(BOB)
    pool = user.create(32 * MIB).pool
    user.fill(pool, 1)
    assert not daemon.admin.revoke(pool).releasing
    new = other.create(32 * MIB).pool
    other.fill(new, 2)
    done, error = user.pwrite(pool, 0, 32 * MIB)
    assert done <= 4096 and error == errno.ENOSPC
    assert user.fallocate(pool, 0, 32 * MIB) == errno.ENOSPC
    assert user.ftruncate(pool, 32 * MIB) in (0, errno.EPERM)
    assert user.stat(pool)[1] <= 4096
    assert other.is_filled(new, 2)


def test_revoked_pool_is_gone_for_its_owner(daemon, refused, kind):
    user = daemon.user(ALICE)
    pool = user.create(8 * MIB, max=16 * MIB).pool
    daemon.admin.revoke(pool)
    for request in lambda: user.resize(pool, 16 * MIB), lambda: user.give_back(pool, (0, 1)):
        with refused('NOT_FOUND' if kind == 'tmpfs' else 'BUSY'):
            request()
    assert user.destroy(pool).releasing == (kind == 'dir')


def test_revoke_of_a_pool_that_was_let_go(daemon):
    user = daemon.user(ALICE)
    pool = user.create(8 * MIB).pool
    user.give_up(pool)
    assert not daemon.admin.revoke(pool).releasing
    assert user.event('revoked').pool == pool
    assert daemon.status().bytes == 0


def test_revoke_reaches_an_owner_that_was_away(daemon):
    """No session at the time: the pool is just not among those that come back."""
    process = daemon.process(ALICE)
    old = process.connect(daemon.socket)
    pool = old.create(8 * MIB).pool
    old.fill(pool, 1)
    old.close()
    daemon.admin.revoke(pool)
    user = process.reconnect(daemon.socket, old)
    assert [row.pool for row in user.resume() if row.state == pb.STATE_READY] == []
    assert user.touch(pool, 0) == signal.SIGBUS


def test_all_sessions_of_the_owner_hear_of_it_and_nobody_else(daemon):
    process = daemon.process(ALICE)
    first, second = process.connect(daemon.socket), process.connect(daemon.socket)
    stranger = daemon.user(ALICE)
    pool = first.create(8 * MIB).pool
    daemon.admin.revoke(pool)
    assert first.event('revoked').pool == second.event('revoked').pool == pool
    assert stranger.event('revoked', 0.1) is None


def test_revoke_of_no_pool(daemon, refused):
    with refused('NOT_FOUND'):
        daemon.admin.revoke(1)


def test_revoke_twice(daemon, refused, kind):
    pool = daemon.user(ALICE).create(8 * MIB).pool
    daemon.admin.revoke(pool)
    if kind == 'tmpfs':
        with refused('NOT_FOUND'):
            daemon.admin.revoke(pool)
    else:
        assert daemon.admin.revoke(pool).releasing


def test_revoked_pool_of_a_directory_is_gone_with_its_owner(start):
    daemon = start(broker(), store('main', 'dir', '64M'), tenant('default', Bytes='infinity'))
    process = daemon.process(ALICE)
    user = process.connect(daemon.socket)
    pool = user.create(64 * MIB).pool
    user.fill(pool, 1)
    assert daemon.admin.revoke(pool).releasing
    time.sleep(0.2)
    assert daemon.status().bytes == 64 * MIB
    daemon.forget(process)
    process.kill()
    process.wait()
    wait_for(lambda: daemon.status().bytes == 0, 2, 'the capacity is back')


def test_revoke_of_a_shrinking_pool(daemon, refused):
    user = daemon.user(ALICE)
    pool = user.create(16 * MIB).pool
    other = daemon.user(BOB, groups=[ADMIN_GROUP])
    serial = daemon.admin.send('resize_pool', pool=pool, size=8 * MIB)
    user.event('reclaim')
    user.give_up(pool)
    assert not other.revoke(pool).releasing
    with refused('NOT_FOUND'):
        daemon.admin.answer(serial)
