# SPDX-License-Identifier: BSD-3-Clause
"""Black-box tests: the real daemon, asked over its socket.

The daemon of $BUILD (default: build) is started for each test; when the test is over, every pool must be gone, and
after SIGTERM every process, mount and file too. What needs root is skipped without.
"""

import contextlib
import signal

import pytest

pytest.register_assert_rewrite('daemon', 'pmbproto')

from daemon import IS_ROOT, PMBROKERD, Daemon  # noqa: E402
from pmbproto import Refused  # noqa: E402

TEST_SECONDS = 60

running = []  # daemons, for the report of a failure


@contextlib.contextmanager
def _daemons():
    daemons = []

    def start(*sections, **how):
        daemon = Daemon(*sections, **how)
        daemons.append(daemon)
        running.append(daemon)
        return daemon

    try:
        yield start
        for daemon in daemons:
            daemon.finish()
    finally:
        for daemon in daemons:
            daemon.remove()


@pytest.fixture
def start(request):
    """start(section, ...) starts a daemon that is stopped, and looked over, after the test."""
    with _daemons() as start_one:
        yield start_one


@pytest.fixture(scope='module')
def start_shared():
    """The same for a daemon that all tests of a module share."""
    with _daemons() as start_one:
        yield start_one


@pytest.fixture(params=['tmpfs', 'dir'])
def kind(request):
    """The contract holds over every kind of store."""
    if request.param == 'tmpfs' and not IS_ROOT:
        pytest.skip('needs root: tmpfs stores')
    return request.param


@pytest.fixture
def refused():
    """with refused('CODE', asked=...): the request inside is refused with exactly these figures."""
    @contextlib.contextmanager
    def expect(code, **figures):
        with pytest.raises(Refused) as e:
            yield
        got = {'code': e.value.code, **{k: getattr(e.value, k) for k in figures}}
        assert got == {'code': code, **figures}, str(e.value)
    return expect


@pytest.fixture(autouse=True)
def time_limit():
    """No test hangs."""
    def on_alarm(_signal, _frame):
        pytest.fail(f'not done after {TEST_SECONDS} s')

    old = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for daemon in running:
            report.sections.append((f'pmbrokerd in {daemon.dir}', '\n'.join(daemon.log_lines()[-200:])))
    if report.when == 'teardown':
        running[:] = [d for d in running if d.dir.exists()]


def pytest_configure(config):
    if not PMBROKERD.exists():
        raise pytest.UsageError(f'there is no {PMBROKERD}: build it, or say where it is by BUILD=')
    # What a shell starts in the background ignores SIGINT, and so would all programs that are started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A thread that plays somebody and fails has not played it.
    config.addinivalue_line('filterwarnings', 'error::pytest.PytestUnhandledThreadExceptionWarning')
