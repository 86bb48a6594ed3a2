# SPDX-License-Identifier: BSD-3-Clause
"""A thousand pools of 250 processes: what it takes to hold them, to list them, and to get rid of them."""

import time

import pytest

from daemon import ALICE, IS_SANITIZED, broker, needs_root, store, tenant, wait_for
from pmbproto import MIB, UNIT, Client

PROCESSES, POOLS, USERS = 250, 4, 5
MOST_MEMORY = 32 * MIB


@pytest.fixture
def daemon(start, kind):
    return start(
        broker(),
        store('main', kind, '4G'),
        *[tenant(f'user-{i}', User=ALICE + i, Bytes='1G', Pools=PROCESSES * POOLS // USERS) for i in range(USERS)])


def page_by_page(daemon):
    """All rows over a session of its own, and the time from the first request to the last answer."""
    client = Client(daemon.socket)
    begin = time.perf_counter()
    packets, after, rows = 0, 0, []
    while True:
        page = client.ask('list_pools', after=after)
        packets += 1
        rows += page.rows
        after = page.next
        if after == 0:
            break
    seconds = time.perf_counter() - begin
    client.close()
    wait_for(lambda: daemon.status().sessions == PROCESSES + 1)
    return rows, packets, seconds


@needs_root
def test_a_thousand_pools(daemon, kind, capsys):
    processes = [daemon.process(ALICE + i % USERS) for i in range(PROCESSES)]
    users = [process.connect(daemon.socket) for process in processes]

    begin = time.monotonic()
    for _ in range(POOLS):
        for user in users:
            user.later('create', UNIT)
    pools = {process.finish().pool for process in processes for _ in range(POOLS)}
    created = time.monotonic() - begin
    assert len(pools) == PROCESSES * POOLS
    for user in users[::10]:
        for pool in [row.pool for row in user.resume()]:
            user.fill(pool, 1)

    # Listing: the best of three, since whatever else this machine does is none of the daemon's cost.
    lists = [page_by_page(daemon) for _ in range(3)]
    for rows, _, _ in lists:
        assert {row.pool for row in rows} == pools
        assert sum(row.used for row in rows) == 100 * UNIT
        assert all(row.used_known for row in rows)
    listed = min(seconds for _, _, seconds in lists)
    status, tenants = daemon.status(), daemon.tenants()
    assert (status.pools, status.bytes) == (1000, 1000 * UNIT)
    assert {(t.pools, t.bytes) for name, t in tenants.items() if name != 'default'} == {(200, 200 * UNIT)}

    rss = {role: daemon.rss(daemon.child(role)) for role in ('broker', 'provisioner')}
    cpu = {role: daemon.cpu_seconds(daemon.child(role)) for role in rss}
    time.sleep(1)
    idle = {role: daemon.cpu_seconds(daemon.child(role)) - cpu[role] for role in rss}

    begin = time.monotonic()
    for process in processes:
        process.kill()
    killed = time.monotonic() - begin
    begin = time.monotonic()
    wait_for(lambda: daemon.status().pools == 0, 10, 'all pools are gone')
    released = time.monotonic() - begin
    for process in processes:
        process.wait()
    daemon.processes.clear()
    status = daemon.status()
    assert (status.pools, status.bytes, daemon.stores()['main'].charged) == (0, 0, 0)

    with capsys.disabled():
        print(f'\nscale: {kind}: list of 1000 pools {listed * 1e3:.1f} ms in {lists[0][1]} pages, '
              f'created in {created * 1e3:.0f} ms, killed in {killed * 1e3:.0f} ms, '
              f'gone {released * 1e3:.0f} ms later, broker {rss["broker"] / MIB:.1f} MiB, provisioner {rss["provisioner"] / MIB:.1f} MiB, '
              f'idle {idle["broker"] * 100:.0f}+{idle["provisioner"] * 100:.0f} % CPU')
    if not IS_SANITIZED:
        assert listed < 0.05
        assert max(rss.values()) < MOST_MEMORY
        assert released < 1
