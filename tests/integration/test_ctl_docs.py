# SPDX-License-Identifier: BSD-3-Clause
"""Help, manual and completions know every verb, option and column."""

import os
import re
import subprocess

import pytest

from ctlrun import CTL, VERBS, fake, pool  # noqa: F401
from pmbproto import ROOT


def help_of(*words):
    return subprocess.run([CTL, *words, '--help'], capture_output=True, text=True, check=True).stdout


def columns_of(verb):
    return re.findall(r'^[* ] ([A-Z]+) ', help_of(verb), re.M)


def options_of(verb):
    """Those of its own."""
    text = help_of(verb)
    found = re.search(rf'\nOptions of {verb}:\n(.*?)\n\n', text, re.S)
    return re.findall(r'^      (--[a-z-]+)', found[1], re.M) if found else []


OPTIONS = re.findall(r'^  (?:(-\w), |    )(--\w+)', help_of(), re.M) if CTL.exists() else []


def test_help():
    text = help_of()
    assert re.findall(r'^  ([a-z-]+) ', text, re.M) == list(VERBS)
    assert len(OPTIONS) == 11
    assert all(len(line) <= 100 for line in text.splitlines())
    for verb in VERBS:
        text = help_of(verb)
        assert text.startswith(f'Usage: pmbrokerctl [OPTION...] {verb}')
        assert '\nExamples:\n  pmbrokerctl' in text
        assert all(option in text for _, option in OPTIONS)
        assert 'Options of' in text or not options_of(verb)
        assert all(len(line) <= 100 for line in text.splitlines())


def test_manual():
    """Every verb, option, column and exit status has its place."""
    page = (ROOT / 'man/pmbrokerctl.1').read_text()
    text = page.replace('\\-', '-')
    for verb in VERBS:
        assert re.search(rf'^\.(BR?|SS) "?{verb}\b', text, re.M), verb
        for column in columns_of(verb):
            assert re.search(rf'^\.B {column}$', text, re.M), column
    for short, option in OPTIONS:
        assert option in text and (not short or f'{short}' in text)
    for verb in VERBS:
        for option in options_of(verb):
            assert re.search(rf'^\.BR? {option}\b.*\n(?:.*\n)*?For\n(?:.*\n)*?.*\b{verb}\b', text, re.M), (verb, option)
    for variable in ('PMBROKER_SSH', 'PMBROKER_PAGER', 'NO_COLOR', 'COLUMNS', 'PMBROKER_FD', 'PMBROKER_POOL'):
        assert variable in text
    for status in range(5):
        assert re.search(rf'^\.B {status}$', text, re.M)
    for word in ('PMBROKER_SOCKET', '/run/pmbroker/pmbroker.sock', 'EXAMPLES'):
        assert word in text


@pytest.mark.parametrize('shell', ['bash/pmbrokerctl', 'zsh/_pmbrokerctl'])
def test_completions_know_all(shell):
    text = (ROOT / 'ctl/completions' / shell).read_text()
    for verb in VERBS:
        assert re.search(rf'\b{verb}\b', text)
        for column in columns_of(verb):
            assert re.search(rf'\b{column}\b', text), column
    for short, option in OPTIONS:
        assert option in text and (not short or short in text)
    for verb in VERBS:
        assert all(option in text for option in options_of(verb)), verb


def complete(fake, *words):
    """What bash offers for the last word."""
    script = f'''
. {ROOT}/ctl/completions/bash/pmbrokerctl
COMP_WORDS=(pmbrokerctl "$@")
COMP_CWORD=$#
_pmbrokerctl pmbrokerctl "${{@: -1}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
'''
    env = {'PATH': f'{CTL.parent}:{os.environ["PATH"]}', 'PMBROKER_SOCKET': fake.path, 'LC_ALL': 'C.UTF-8'}
    result = subprocess.run(['bash', '-c', script, 'bash', *words], capture_output=True, text=True, env=env)
    assert (result.returncode, result.stderr) == (0, '')
    return sorted(result.stdout.split())


def test_bash_completion(fake):
    assert complete(fake, '') == sorted(VERBS)
    assert complete(fake, 're') == ['regions', 'reload', 'resize', 'revoke']
    assert complete(fake, '-q', 'li') == ['list']
    assert complete(fake, '--no') == ['--no-pager', '--noheadings']
    assert complete(fake, 'list', '--b') == ['--bytes']
    assert complete(fake, 'show', '') == ['0000000000000abc', '3f00000000000001', '3f9c2b7a10d4e586', 'cache', 'web']
    assert complete(fake, 'revoke', '3f') == ['3f00000000000001', '3f9c2b7a10d4e586']
    assert complete(fake, '-S', fake.path, 'resize', 'w') == ['web']
    assert complete(fake, 'resize', 'web', '') == []
    assert complete(fake, 'stores', 'p') == ['pmem0']
    assert complete(fake, 'tenants', '') == ['batch', 'both', 'default']
    assert complete(fake, 'stores', 'dev', 'c') == ['cxl']
    assert complete(fake, 'list', '-o', 'L') == ['LENGTH', 'LIMIT']
    assert complete(fake, 'list', '-o', 'ID,ST') == ['ID,STATE', 'ID,STORE']
    assert complete(fake, 'list', '-o', '+M') == ['+MAX']
    assert complete(fake, 'tenants', '--output', 'L') == ['LARGEST', 'LIMIT']
    assert complete(fake, 'list', '--output', '=', 'L') == ['LENGTH', 'LIMIT']  # bash splits at =
    assert complete(fake, '--socket', '=', '/nonexistent', 'show', '') == []
    assert complete(fake, 'status', 'x', '') == []
    assert complete(fake, 'drain', '') == ['cxl', 'dev', 'pmem0']
    assert complete(fake, 'drain', '--u') == ['--undo']
    assert complete(fake, 'set-limit', 'b') == ['batch', 'both']
    assert complete(fake, 'set-limit', 'batch', 'P') == ['PoolBytes=', 'Pools=']
    assert complete(fake, 'top', '--sort', 'a') == ['age']
    assert complete(fake, 'create', '--size', '1', '--store', 'p') == ['pmem0']
    assert complete(fake, 'create', '--size', '1G', '--', 'printe') == ['printenv']
    assert complete(fake, 'revoke', '--grace', '30', 'w') == ['web']


def test_bash_completion_hostile(fake):
    """A name is not believed, whatever the daemon's checks may let through."""
    fake.pools = [pool(1, '$(touch /tmp/x)'), pool(2, '`id`'), pool(3, "'\""), pool(4, '*')]
    assert complete(fake, 'show', '0') == [f'000000000000000{i}' for i in range(1, 5)]
    assert all(re.fullmatch('[0-9a-z._-]+', word) for word in complete(fake, 'show', ''))


def test_bash_completion_without_daemon(fake):
    assert complete(fake, '-S', '/nonexistent', 'show', '') == []


def test_every_record_is_explained():
    """The message ids of the source are those of the catalogue and of pmbrokerd(8)."""
    source = set(re.findall(r'\{"([0-9a-f]{32})"', (ROOT / 'daemon/ipc/chronicle.c').read_text()))
    catalogue = re.findall(r'^-- ([0-9a-f]{32})$', (ROOT / 'systemd/pmbroker.catalog').read_text(), re.M)
    page = re.findall(r'^([0-9a-f]{32})  ', (ROOT / 'man/pmbrokerd.8').read_text(), re.M)
    assert len(source) == 16
    assert sorted(source) == sorted(catalogue) == sorted(page)
    script = set(re.findall(r'[0-9a-f]{32}', (ROOT / 'examples/monitoring/who-held').read_text()))
    assert script < source


@pytest.mark.parametrize('page', sorted((ROOT / 'man').glob('*.[1-9]')), ids=lambda page: page.name)
def test_pages_are_clean(page):
    """What man says of them is nothing."""
    result = subprocess.run(['man', '--warnings=w', '-Tutf8', '-Z', page], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, '')
