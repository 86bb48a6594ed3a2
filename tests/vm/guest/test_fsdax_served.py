# SPDX-License-Identifier: BSD-3-Clause
"""Pools on an NVDIMM as clients get them, from the units as they are installed."""

from pmbproto import MIB
from system import ALICE, EXAMPLES, PROVISIONER, SERVICES, as_user, ctl, main_pid, run
from test_fsdax_provision import addresses, configured, wait_available

UNIT = 2 * MIB


def test_life_of_a_pool(system):
    """Created, filled, resized both ways, kept over the death of both processes, released."""
    (first, _), _ = addresses()
    with configured('pm', f'Region={first}\nInitLabels=yes\nSize=400M'):
        wait_available('pm')
        status = open(f'/proc/{main_pid(PROVISIONER)}/status').read()
        print([line for line in status.splitlines() if line.startswith('Cap')])
        client = system.user(ALICE)
        pool = client.create(16 * MIB, max=64 * MIB, store='pm').pool
        client.map(pool)
        client.fill(pool, 7, 0, 8)
        assert client.ftruncate(pool, 0) and client.fallocate(pool, 0, 32 * MIB) and client.pwrite(pool, 0, 1)[1]
        assert client.resize(pool, 24 * MIB).size == 24 * MIB
        client.map(pool)
        client.fill(pool, 8, 8, 4)
        assert client.give_back(pool, (2, 4)).size == 16 * MIB
        assert client.resize(pool, 20 * MIB).size == 20 * MIB
        client.fill(pool, 9, 2, 2)

        def is_whole():
            return client.is_filled(pool, 7, 0, 2) and client.is_filled(pool, 9, 2, 2) and \
                client.is_filled(pool, 7, 6, 2) and client.is_filled(pool, 8, 8, 4)

        assert is_whole()
        before = system.rows()
        print(before)
        system.kill(PROVISIONER)
        assert is_whole() and system.rows() == before
        system.kill(*SERVICES)
        assert is_whole() and [(r.pool, r.size) for r in system.rows()] == [(pool, 20 * MIB)]
        system.dismiss()


def test_program(system):
    """A program that knows nothing of NVDIMMs."""
    (first, _), _ = addresses()
    with configured('pm', f'Region={first}\nInitLabels=yes\nSize=400M'):
        wait_available('pm')
        out = run(*as_user(ALICE, EXAMPLES / 'holder', '--size', '64', '--store', 'pm', '--seconds', '2'))
        print(out, ctl('stores'))
        system.dismiss()
