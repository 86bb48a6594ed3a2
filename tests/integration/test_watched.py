# SPDX-License-Identifier: BSD-3-Clause
"""AddressSanitizer and valgrind see what is done to blocks of a pool: watched.c makes the mistakes.

The library is the ordinary one for both: with AddressSanitizer there is only the program.
"""

import os
import re
import subprocess

import pytest

from daemon import BUILD, IS_SANITIZED, broker, store, tenant

PROGRAMS = BUILD / 'tests/integration'
MISTAKES = ('after-free', 'neighbour', 'slack', 'beyond', 'moved', 'cut', 'inside')


@pytest.fixture
def daemon(start):
    return start(broker(), store('main', 'dir', '128M'), tenant('default', Bytes='128M'))


def run(daemon, *command, **env):
    done = subprocess.run([str(c) for c in command], env={**os.environ, 'PMBROKER_SOCKET': daemon.socket, **env},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def run_asan(daemon, *what):
    return run(daemon, PROGRAMS / 'watched-asan', *what, ASAN_OPTIONS='exitcode=99')


def run_valgrind(daemon, *what):
    if IS_SANITIZED:
        pytest.skip('valgrind does not run what is built with a sanitizer')
    return run(daemon, 'valgrind', '-q', '--error-exitcode=99', PROGRAMS / 'watched', *what)


@pytest.mark.parametrize('with_tool', [run_asan, run_valgrind])
def test_nothing_is_wrong_with_what_is_right(daemon, with_tool):
    assert with_tool(daemon, 'right') == (0, '')


@pytest.mark.parametrize('with_tool', [run_asan, run_valgrind])
def test_freed_twice(daemon, with_tool):
    """By itself the library notices that only if there was no other block between."""
    assert 'freed twice' in with_tool(daemon, 'twice')[1]


@pytest.mark.parametrize('mistake', MISTAKES)
def test_asan(daemon, mistake):
    status, told = run_asan(daemon, mistake)
    assert status == 99, told
    assert 'AddressSanitizer: use-after-poison' in told
    assert f' in {mistake.replace("-", "_")} ' in told


def test_valgrind(daemon):
    """It goes on after a mistake: the first line of each says what, the second where."""
    status, told = run_valgrind(daemon, *MISTAKES, 'unset')
    lines = [line.partition('== ')[2].strip() for line in told.splitlines()]
    assert status == 99
    for mistake in MISTAKES:
        where, = (i for i, line in enumerate(lines)
                  if re.fullmatch(rf'at 0x\w+: {mistake.replace("-", "_")} \(watched.c:\d+\)', line))
        assert lines[where - 1] == 'Invalid write of size 1', told
    for words in ("is 99 bytes inside a block of size 100 free'd", "is 0 bytes inside a block of size 200 free'd",
                  'Conditional jump or move depends on uninitialised value(s)'):
        assert words in told
