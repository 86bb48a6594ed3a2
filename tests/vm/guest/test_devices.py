# SPDX-License-Identifier: BSD-3-Clause
"""What the machine offers: two NVDIMMs with labels, one without, each with a NUMA node of its own."""

import json
import pathlib

from system import run

GIB = 1 << 30


def test_regions():
    out = run('ndctl', 'list', '-RN')
    print(out)
    regions = json.loads(out)['regions']
    assert sorted((r['type'], r['size']) for r in regions) == [('pmem', GIB // 2), ('pmem', GIB), ('pmem', GIB)]
    # Nothing was written to the labels yet, so there is one namespace, of the whole region.
    assert all([n['mode'] for n in r['namespaces']] == ['raw'] for r in regions)


def test_labels():
    """Two of three have an area for them."""
    status = [run('ndctl', 'read-labels', '--size=256', dimm, check=False)[0] for dimm in ('nmem0', 'nmem1', 'nmem2')]
    assert status == [0, 0, 1]


def test_numa_nodes():
    nodes = {p.read_text() for p in pathlib.Path('/sys/bus/nd/devices').glob('region*/target_node')}
    assert len(nodes) == 3 and '0\n' not in nodes
