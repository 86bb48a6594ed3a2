# SPDX-License-Identifier: BSD-3-Clause
"""<pmbroker.hpp>, as each compiler and each C++ understands it: tests/cxx/containers.cpp does the work."""

import os
import subprocess

import pytest

from daemon import BUILD, broker, store, tenant

PROGRAMS = sorted((BUILD / 'tests/cxx').glob('containers-*'))


def test_all_are_there():
    compilers = {p.name.rsplit('-', 1)[0] for p in PROGRAMS}
    assert 'containers-g++' in compilers
    assert {p.name for p in PROGRAMS} == {f'{c}-{s}' for c in compilers for s in (14, 17, 20)}


@pytest.mark.parametrize('program', PROGRAMS, ids=lambda p: p.name)
def test_containers(start, program):
    daemon = start(broker(), store('main', 'dir', '128M'), tenant('default', Bytes='64M'))
    done = subprocess.run([str(program)], env={**os.environ, 'PMBROKER_SOCKET': daemon.socket},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
    assert daemon.status().bytes == 0
