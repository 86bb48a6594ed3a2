# SPDX-License-Identifier: BSD-3-Clause
"""The completion for zsh, in a zsh on a terminal: what it offers comes from the daemon that there is."""

import os
import pty
import re
import select
import signal

import pytest

from ctlrun import CTL, VERBS, fake, pool  # noqa: F401
from daemon import wait_for
from pmbproto import ROOT

# Whatever is added to the offer is written down as well; asked for with ^T, which forgets the line afterwards.
SETUP = rf'''
PS1= PS2=
fpath=({ROOT}/ctl/completions/zsh $fpath)
autoload -Uz compinit
compinit -D -u
compadd() {{
    if [[ ${{@[1,(i)(-|--)]}} != *(-O|-A|-D)* ]]; then
        local -a offered
        builtin compadd -O offered "$@"
        (($#offered)) && print -rl -- "$offered[@]" >>$OFFERED
    fi
    builtin compadd "$@"
}}
offer() {{ : >$OFFERED; zle list-choices; zle kill-buffer; print -rn . >>$OFFERED.done }}
zle -N offer
bindkey '^T' offer
: >$OFFERED.done
'''


class Zsh:
    def __init__(self, dir, socket):
        self.offered, self.done = dir / 'offered', dir / 'offered.done'
        env = {'PATH': f'{CTL.parent}:{os.environ["PATH"]}', 'PMBROKER_SOCKET': socket, 'LC_ALL': 'C.UTF-8', 'TERM': 'dumb',
               'HOME': str(dir), 'OFFERED': str(self.offered)}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe('zsh', ['zsh', '-f', '-i'], env)
        self.asked = 0
        self.type(SETUP, lambda: self.done.exists())

    def type(self, text, done):
        os.write(self.terminal, text.encode())

        def is_done():
            while select.select([self.terminal], [], [], 0)[0]:
                os.read(self.terminal, 4096)  # what it shows; else it would wait for somebody to read it
            return done()
        wait_for(is_done, 20, f'zsh has done {text!r}')

    def complete(self, line):
        """What is offered behind this, without explanations."""
        self.asked += 1
        self.type(line + '\x14', lambda: self.done.stat().st_size == self.asked)
        return sorted(set(self.offered.read_text().splitlines()))

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture
def complete(tmp_path, fake):  # noqa: F811
    zsh = Zsh(tmp_path, fake.path)
    yield lambda words: zsh.complete('pmbrokerctl ' + words)
    zsh.close()


def test_zsh_completion(complete, fake):  # noqa: F811
    assert complete('') == sorted(VERBS)
    assert complete('re') == ['regions', 'reload', 'resize', 'revoke']
    assert complete('-q li') == ['list']
    assert complete('--no') == ['--no-pager', '--noheadings']
    assert complete('show ') == ['0000000000000abc', '3f00000000000001', '3f9c2b7a10d4e586', 'cache', 'web']
    assert complete('revoke 3f') == ['3f00000000000001', '3f9c2b7a10d4e586']
    assert complete(f'-S {fake.path} resize w') == ['web']
    assert complete('-S /nonexistent resize w') == []
    assert complete('resize web ') == []
    assert complete('stores p') == ['pmem0']
    assert complete('tenants ') == ['batch', 'both', 'default']
    assert complete('list -o L') == ['LENGTH', 'LIMIT']
    assert complete('list -o ID,ST') == ['STATE', 'STORE']
    assert complete('list -o +M') == ['MAX']
    assert complete('tenants --output L') == ['LARGEST', 'LIMIT']
    assert complete('drain ') == ['cxl', 'dev', 'pmem0']
    assert complete('drain --p') == ['--permanent']
    assert complete('set-limit b') == ['batch', 'both']
    assert complete('set-limit batch P') == ['PoolBytes=', 'Pools=']
    assert complete('top --sort a') == ['age']
    assert complete('create --size 1 --store p') == ['pmem0']
    assert complete('revoke --grace 30 w') == ['web']
    # Asked each time.
    fake.pools = [pool(0x77, 'new')]
    assert complete('show ') == ['0000000000000077', 'new']


def test_zsh_completion_hostile(complete, fake, tmp_path):  # noqa: F811
    """A name is a word, whatever the daemon's checks may let through, and never a command."""
    fake.pools = [pool(1, f'$(touch {tmp_path}/x)'), pool(2, f'`touch {tmp_path}/x`'), pool(3, "'\""), pool(4, 'a:b')]
    offered = complete('show ')
    assert [word for word in offered if re.fullmatch('[0-9a-f]{16}', word)] == [f'000000000000000{i}' for i in range(1, 5)]
    assert not (tmp_path / 'x').exists()
