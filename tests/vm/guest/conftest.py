# SPDX-License-Identifier: BSD-3-Clause
"""Tests that take a whole machine: systemd is PID 1, and what they ask is the installed daemon."""

import signal
import time

import pytest

import record

pytest.register_assert_rewrite('system')
import system as machine  # noqa: E402

TEST_SECONDS = 240


@pytest.fixture
def system(request):
    """The system, serving and empty; after the test it must be that again."""
    s = machine.System(request.node.began)
    try:
        s.wait_until_ready()
        yield s
        s.finish()
    finally:
        s.end_users()


@pytest.fixture
def configure(system):
    """configure(text): a drop-in of the configuration with this text, in effect."""
    path = machine.CONFIG_DIR / 'test.conf'

    def configure(text, reload=True):
        machine.CONFIG_DIR.mkdir(exist_ok=True)
        path.write_text(text)
        if reload:
            machine.systemctl('reload', machine.BROKER)

    yield configure
    # A store goes only when it is empty.
    system.dismiss()
    path.unlink()
    machine.systemctl('reload', machine.BROKER)


@pytest.fixture
def figure():
    """figure(text): for those who read what the run says, also when all is well."""
    return record.write_figure


@pytest.fixture
def stopped():
    """Nothing of ours runs but the sockets."""
    machine.systemctl('stop', *machine.SERVICES)
    machine.systemctl('start', *machine.SOCKETS)
    assert machine.processes() == []


# No test hangs, nor do what is before it and after it; what is said about it takes the time that it takes.

def limited(phase):
    def on_alarm(_signal, _frame):
        pytest.fail(f'{phase} not done after {TEST_SECONDS} s')

    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    item.began = time.time()
    yield from limited('setup')


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    yield from limited('test')


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    yield from limited('teardown')


# The journal of a test goes with the report of its failure.


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        since = machine.since(item.began)
        report.sections.append(('journal', machine.run('journalctl', '--output=short-monotonic', since)))
