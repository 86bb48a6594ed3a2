# SPDX-License-Identifier: BSD-3-Clause
"""QUICK START of pmbroker(7), typed as it stands in the page that is installed: from NVDIMMs that nobody has used to a
user's program in a pool of 512 MiB, and back.

In the page a comment `.\" walk` marks what is typed: lines with `# ` by root, lines with `$ ` by the user. The others
come back; a word with a digit in it may be another such word, and after ` ...` there is more. Three things are not as
in the page. What it calls region0 is whatever region of this machine suits. `make install` was done before this machine
started. And there is no compiler here: the program was compiled on the host, from the source that the page has
(test_pages.py compares them there).
"""

import json
import pathlib
import re
import shutil
import subprocess

from daemon import wait_for
from system import ALICE, EXAMPLES, SECONDS, as_user, ctl, run

PAGE = pathlib.Path('/usr/share/man/man7/pmbroker.7')
INSTALL = 'make install PREFIX=/usr'
COMPILE = 'cc -o first first.c $(pkg-config --cflags --libs libpmbroker)'
RUN = './first 512'


def typed():
    """(who, command, lines that come back) of everything in the page's walk, in order."""
    text = re.sub(r'\\([-e&]|\(aq)', lambda m: {'-': '-', 'e': '\\', '&': '', '(aq': "'"}[m[1]], PAGE.read_text())
    steps, until = [], None
    for block in re.findall(r'^\.\\" walk\n\.EX\n(.*?)\n\.EE$', text, re.M | re.S):
        for line in block.splitlines():
            if until:
                steps[-1][1] += f'\n{line}'
                until = None if line == until else until
            elif line[:2] in ('# ', '$ '):
                steps.append([line[0], line[2:], []])
                until = (re.findall(r'<<(\w+)$', line) or [None])[0]
            else:
                steps[-1][2].append(line)
    return steps


def bare_region():
    """The name of a region that is for this test alone: labels, once written, cannot be taken back before the next boot."""
    rows = json.loads(ctl('regions', '--json'))['regions']
    return next(r['region'] for r in rows if r['namespace'] is None and r['size'] == 768 << 20)


def shape(line):
    """Words, with what is another one each time left out."""
    return [re.sub(r'\S*\d\S*', 'N', word) for word in line.split()]


def came_back(wanted, out):
    """Whether a line of the page is among those that came back."""
    words = shape(wanted.removesuffix(' ...'))
    got = [shape(line) for line in out.splitlines()]
    return words in got or wanted.endswith(' ...') and any(line[:len(words)] == words for line in got)


class Program(subprocess.Popen):
    """The user's program, on the user's terminal."""

    def __init__(self, home):
        super().__init__(as_user(ALICE, *RUN.split()), cwd=home, text=True, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def until(self, word):
        """What it says up to the line that begins so."""
        out = ''
        for line in self.stdout:
            out += line
            if line.startswith(word):
                break
        return out

    def enter(self):
        """Press Enter; its exit status."""
        self.communicate('\n', timeout=SECONDS)
        return self.returncode


def say(out, back):
    print(out)
    assert [line for line in back if not came_back(line, out)] == []


def test_quick_start(system, tmp_path):
    """Every command succeeds and says what the page says; the user's program gets 512 MiB, and not more."""
    steps = typed()
    commands = [command for _, command, _ in steps]
    assert [commands.count(c) for c in (INSTALL, COMPILE, RUN)] == [1, 1, 1]
    region = bare_region()
    home = pathlib.Path('/run/pmbroker-walk')
    home.mkdir()
    program = None
    try:
        for who, command, back in steps:
            print(who, command)
            if command == INSTALL:
                continue
            if command == COMPILE:
                shutil.copy(EXAMPLES / 'first', home)
                continue
            if command == RUN:
                program = Program(home)
                say(program.until('Enter'), back)
                continue
            if program and 'deprovision' in command:
                assert program.enter() == 0
                program = None
            argv = ('sh', '-e', '-c', command.replace('region0', region))
            say(run(*(argv if who == '#' else as_user(ALICE, *argv)), cwd=home), back)
            if command.startswith('pmbrokerctl list'):
                row, = json.loads(ctl('list', '--json'))['pools']
                assert (row['name'], row['tenant'], row['uid'], row['pid'], row['store'], row['limit']) == \
                    ('first', 'alice', ALICE, program.pid, 'fast', 512 << 20)
                assert row['enforced'] == 'kernel'
        assert program is None
        wait_for(lambda: 'fast' not in ctl('stores', '-o', 'NAME', '--noheadings').split(), SECONDS, 'it is gone')
        assert 'pmbroker' not in run('ndctl', 'list', '-N')
    finally:
        if program:
            program.kill()
        shutil.rmtree(home)
