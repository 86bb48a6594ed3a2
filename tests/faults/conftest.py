# SPDX-License-Identifier: BSD-3-Clause
"""Faults at every system call. By default a sample; with PMBROKER_FULL=1 all of it, which takes an hour."""

import contextlib
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'integration'))

from system import CONFIG, System  # noqa: E402

FULL = os.environ.get('PMBROKER_FULL') == '1'
TEST_SECONDS = 3600 if FULL else 120 + int(60 * float(os.environ.get('PMBROKER_SOAK_MINUTES', 0)))


@pytest.fixture(params=['tmpfs', 'dir'])
def kind(request):
    return request.param


@contextlib.contextmanager
def a_system(kind, config=CONFIG):
    place = tempfile.mkdtemp(prefix='pmb-')  # the broker, which is nobody, has to come there
    os.chmod(place, 0o755)
    system = System(place, kind, config)
    try:
        yield system
    finally:
        system.close()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def system(kind):
    with a_system(kind) as system:
        yield system


@pytest.fixture(autouse=True)
def time_limit():
    def on_alarm(_signal, _frame):
        pytest.fail(f'not done after {TEST_SECONDS} s')

    old = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason='needs root: ptrace of the daemons, and mounts'))
