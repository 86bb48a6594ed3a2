# SPDX-License-Identifier: BSD-3-Clause
"""What the machine offers: three NVDIMMs with a NUMA node of their own, and four for single tests."""

import json
import pathlib

from system import run

MIB = 1 << 20


def test_regions():
    out = run('ndctl', 'list', '-RN')
    print(out)
    regions = json.loads(out)['regions']
    assert sorted(r['size'] // MIB for r in regions) == [64, 64, 256, 512, 768, 1024, 1024]
    assert {r['type'] for r in regions} == {'pmem'}
    # Nothing was written to the labels of the small ones: there is one namespace, of the whole region.
    assert [[n['mode'] for n in r['namespaces']] for r in regions if r['size'] == 64 * MIB] == [['raw']] * 2


def test_labels():
    """Five of seven have an area for them."""
    status = [run('ndctl', 'read-labels', '--size=256', f'nmem{n}', check=False)[0] for n in range(7)]
    assert status == [0, 0, 1, 0, 0, 1, 0]


def test_numa_nodes():
    nodes = {p.read_text() for p in pathlib.Path('/sys/bus/nd/devices').glob('region*/target_node')}
    assert nodes == {'0\n', '1\n', '2\n', '3\n'}
