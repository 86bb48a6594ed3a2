# SPDX-License-Identifier: BSD-3-Clause
"""pytest -p record: what was found, begun and done, each in a file that the host reads when all is over."""

import os
import pathlib

import pytest

RESULTS = pathlib.Path(os.environ.get('RUNTIME_DIRECTORY', '/run/pmbroker-suite'))


def write(name, line):
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / name).open('a') as f:
        f.write(line + '\n')


def write_figure(text):
    print(text)
    write('figures', text)


def pytest_collection_finish(session):
    for item in session.items:
        write('found', item.nodeid)


def pytest_runtest_logstart(nodeid):
    write('begun', nodeid)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    item.outcomes = getattr(item, 'outcomes', []) + [report.outcome]
    item.seconds = getattr(item, 'seconds', 0) + report.duration
    if report.when == 'call' and report.capstdout:
        write('output', f'== {item.nodeid}\n{report.capstdout}')
    if report.when == 'teardown':
        bad = [o for o in item.outcomes if o != 'passed']
        write('results', f'{(bad or ["passed"])[0]} {item.nodeid}')
        write('seconds', f'{item.seconds:7.2f} {item.nodeid}')
