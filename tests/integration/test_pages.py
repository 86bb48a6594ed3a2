# SPDX-License-Identifier: BSD-3-Clause
"""What README and the manual pages say is so: programs compile, configurations are good, names exist."""

import re
import subprocess

import pytest

from daemon import BUILD, PMBROKERD, broker, store, tenant
from pmbproto import ROOT

PAGES = sorted((ROOT / 'man').glob('*.[1-9]'))
README = (ROOT / 'README.md').read_text()
SOURCE_DIRECTORIES = ['base', 'bench', 'client', 'conf', 'ctl', 'daemon', 'exporter', 'proto', 'tests', 'tools', 'man']
HEADER = (ROOT / 'client/pmbroker.h').read_text()
SYMBOLS = set(re.findall(r'^\s+(pmb_\w+);$', (ROOT / 'client/libpmbroker.sym').read_text(), re.M))


def page(name):
    """As it is read: without fonts, with the escapes resolved."""
    text = (ROOT / 'man' / name).read_text()
    text = re.sub(r'\\f[BIRP]', '', text)
    return re.sub(r'\\([-e&~]|\(..)', lambda m: {'-': '-', 'e': '\\', '&': '', '~': ' ', '(aq': "'"}.get(m[1], ' '), text)


def block(text, tag):
    return re.search(rf'^\.\\" {re.escape(tag)}\n\.EX\n(.*?)\n\.EE$', text, re.M | re.S)[1]


# -------------------------------------------------------------------------------------------------------- programs

def compile_it(source, path):
    """By the command that README and pmbroker(7) name, against what was built."""
    path.with_suffix('.c').write_text(source)
    subprocess.run(['cc', '-Wall', '-Wextra', '-Werror', '-o', path, path.with_suffix('.c'), f'-I{ROOT}/client',
                    f'-L{BUILD}', '-lpmbroker', f'-Wl,-rpath,{BUILD.resolve()}'], check=True)
    return path


def test_program_of_the_overview_is_the_example():
    """So it was compiled, and the guest's walk runs it."""
    source = (ROOT / 'examples/first.c').read_text()
    program = block(page('pmbroker.7'), 'first.c')
    assert source.split('\n', 2)[2].strip() == program
    assert max(map(len, program.splitlines())) <= 80


def test_program_of_the_readme(start, tmp_path):
    """It says what README says, but for the id."""
    source = re.search(r'```c\n(.*?)```', README, re.S)[1]
    told = ' '.join(re.search(r'&& ./a.out\n((?:    .*\n)+)', README)[1].split())
    daemon = start(broker(), store('main', 'dir', '1G'), tenant('default', Bytes='infinity'))
    out = subprocess.run([compile_it(source, tmp_path / 'program')], env={'PMBROKER_SOCKET': daemon.socket},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout
    assert re.sub(r'[0-9a-f]{16}', 'ID', ' '.join(out.split())) == re.sub(r'[0-9a-f]{16}', 'ID', told)


# --------------------------------------------------------------------------------------------------- configurations

def configurations():
    found = {f'README {i}': text for i, text in enumerate(re.findall(r'```ini\n(.*?)```', README, re.S))}
    for path in PAGES:
        for i, text in enumerate(re.findall(r'^\.EX\n(\[(?:Store|Tenant|Broker).*?)\n\.EE$', page(path.name), re.M | re.S)):
            found[f'{path.name} {i}'] = text
    found['pmbroker.7 walk'] = re.search(r'<<EOF\n(.*?)\nEOF', page('pmbroker.7'), re.S)[1]
    found['containers'] = (ROOT / 'examples/containers/pools.conf').read_text()
    return found


@pytest.mark.parametrize('where', configurations())
def test_configuration_is_good(where, tmp_path):
    """With users and groups that every system has in the place of those that are named."""
    text = re.sub(r'^(User|Group)=[a-z]+$', r'\1=root', configurations()[where], flags=re.M)
    path = tmp_path / 'pmbrokerd.conf'
    path.write_text(text + '\n')
    done = subprocess.run([PMBROKERD, '--check-config', '--config', path], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    headings = re.findall(r'^\[.*\]$', text, re.M)
    assert headings and set(headings) <= set(done.stdout.splitlines())


# ------------------------------------------------------------------------------------------------------------ names

@pytest.mark.parametrize('name', ['README.md', *(p.name for p in PAGES)])
def test_names_of_the_library_exist(name):
    text = page(name) if name[-1].isdigit() else (ROOT / name).read_text()
    known = SYMBOLS | {n for pair in re.findall(r'\b(?:struct|enum) (pmb_\w+)|\b(PMB_\w+)\b', HEADER) for n in pair}
    used = set(re.findall(r'\b(?:pmb|PMB)_\w*[a-zA-Z]\b', re.sub(r'^\.TH .*', '', text, flags=re.M)))
    assert used <= known, used - known


def test_memkind_names_exist():
    """Those of the table are in memkind's header."""
    used = set(re.findall(r'\bmemkind_\w+', page('pmbroker.7')))
    header = subprocess.run(['cc', '-E', '-'], input='#include <memkind.h>\n', stdout=subprocess.PIPE, text=True,
                            check=True).stdout
    assert len(used) >= 15
    assert used <= set(re.findall(r'\bmemkind_\w+', header))


def test_daemon_page_has_every_option():
    """And no other."""
    text = subprocess.run([PMBROKERD, '--help'], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r'--[a-z-]+', text))
    assert len(options) > 10
    told = page('pmbrokerd.8')
    modes = told[told.index('.SH MODES'):told.index('.SH SIGNALS')]
    assert set(re.findall(r'(?<![\w-])--[a-z-]+', modes)) == options


def test_daemon_page_has_every_variable():
    """Of its environment, by name in the sources."""
    told = page('pmbrokerd.8')
    section = told[told.index('.SH ENVIRONMENT'):told.index('.SH FILES')]
    used = set()
    for path in (ROOT / 'daemon').rglob('*.c'):
        used |= set(re.findall(r'getenv\("(\w+)"\)', path.read_text()))
    assert used and used <= set(re.findall(r'[A-Z_]{5,}', section))


def test_units_are_named_in_a_page():
    units = {p.name.removesuffix('.in') for p in (ROOT / 'systemd').iterdir() if re.search(r'\.(service|socket)(\.in)?$', p.name)}
    assert len(units) >= 4
    told = ' '.join(page(p.name) for p in PAGES)
    assert {unit for unit in units if unit not in told} == set()


def test_examples_are_named():
    """Each program in README's table, and nothing else."""
    programs = {p.name for p in (ROOT / 'examples').glob('*.c')}
    assert set(re.findall(r'^\| \[(\w[\w-]*\.c)\]', README, re.M)) == programs


# ----------------------------------------------------------------------------------------------------------- README

def test_readme_installs_as_the_overview_does():
    """The words are README's, the commands those of the walk."""
    walk = [line[2:] for line in page('pmbroker.7').splitlines() if line.startswith('# ')]
    install = walk[:walk.index('pmbrokerctl status')]
    assert install[0].startswith('make install') and len(install) == 4
    lines = [line.strip() for line in README.splitlines()]
    assert [line for line in lines if line in install] == install


def test_readme_links_lead_somewhere():
    links = re.findall(r'\]\(([^)#]+)\)', README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
    anchors = {'#' + re.sub(r'[^a-z0-9 -]', '', h.lower()).replace(' ', '-') for h in re.findall(r'^#+ (.*)', README, re.M)}
    assert set(re.findall(r'\]\((#[^)]+)\)', README)) <= anchors


def promises():
    """The commands of the table of promises."""
    table = re.search(r'^\| promise .*?\n((?:\|.*\n)+)', README, re.M)[1]
    rows = [row.strip('|\n ').split('|') for row in table.splitlines()[1:]]
    assert len(rows) > 15 and all(len(row) == 2 for row in rows)
    return [re.findall(r'`([^`]+)`', row[1]) for row in rows]


def names_of_tests(target):
    """The names of all tests that a target runs, each behind that of its file."""
    where = {'check-integration': 'tests/integration', 'check-vm': 'tests/vm/guest'}[target]
    return [f'{path.name}::{name}' for path in (ROOT / where).glob('test_*.py')
            for name in re.findall(r'^def (test_\w+)', path.read_text(), re.M)]


def test_promises_have_a_command_each():
    assert [row for row in promises() if not row or not row[0].startswith('make ')] == []


def test_commands_of_the_promises_exist():
    """The targets, the steps of the demo, the unit tests; and -k finds a test."""
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M))
    steps = len(re.findall(r'^ *step "', (ROOT / 'tools/demo.sh').read_text(), re.M))
    commands = {c for row in promises() for c in row if c.startswith('make ')}
    selections = set()
    for command in commands:
        target, *arguments = command.split(maxsplit=2)[1:]
        assert target in targets, command
        if m := re.fullmatch(r"ARGS='-k (.*)'", arguments[0] if arguments else ''):
            selections.add((target, m[1].strip('"')))
        else:
            assert not arguments, command
    for number in re.findall(r'step (\d+)', README):
        assert 1 <= int(number) <= steps
    for name in re.findall(r'\(test-([\w-]+)', README):
        assert (ROOT / f'tests/unit/test-{name}.c').exists()
    assert {target for target, _ in selections} == {'check-integration', 'check-vm'}
    for target, expression in selections:
        # As pytest reads it: words are looked for in the names of files and tests.
        condition = re.sub(r'\b(?!(?:and|or|not)\b)\w+', r"('\g<0>' in name)", expression)
        assert any(eval(condition, {'name': name}) for name in names_of_tests(target)), expression


def test_promises_are_kept_by_make_check():
    """But for those that README says are looked at by another."""
    def parts(target):
        recipe = re.search(rf'^{target}:.*\n((?:\t.*\n)+)', (ROOT / 'Makefile').read_text(), re.M)[1]
        return set(re.findall(r'check-[a-z-]+', recipe))

    named = {c.split()[1] for row in promises() for c in row if c.startswith('make ')} - {'demo'}
    apart = set(re.findall(r'`([a-z-]+)`', re.search(r'longer\s+\((.*?)\),\s+of\s+`make\s+check-full`', README, re.S)[1]))
    assert named - parts('check') == apart <= parts('check-full')


# ---------------------------------------------------------------------------------------------------------- HACKING

HACKING = (ROOT / 'HACKING.md').read_text()


def test_files_that_hacking_names_exist():
    files = {f.as_posix() for top in (ROOT / d for d in SOURCE_DIRECTORIES) for f in top.rglob('*')}
    names = {n for n in re.findall(r'`([\w./-]+\.(?:[ch]|py|sh|proto|conf|sym|in))`', HACKING) if not re.search('[A-Z]{3}', n)}
    assert len(names) > 50
    assert {n for n in names if not any(f.endswith('/' + n) for f in files)} == set()


def test_functions_that_hacking_names_exist():
    source = '\n'.join(f.read_text() for d in SOURCE_DIRECTORIES for f in (ROOT / d).rglob('*')
                       if f.suffix in ('.c', '.h', '.py'))
    names = set(re.findall(r'`([a-z_0-9]+)\(\)`', HACKING)) - {'mbind', 'pmb_verb'}
    assert len(names) > 10
    assert {n for n in names if not re.search(rf'\b{n}\(', source)} == set()


def test_privileges_are_those_of_the_unit():
    unit = (ROOT / 'systemd/pmbroker-provisioner.service.in').read_text()
    capabilities = re.search(r'^CapabilityBoundingSet=(.*)$', unit, re.M)[1].split()
    picture = re.search(r'^## Processes\n+```\n(.*?)```', HACKING, re.M | re.S)[1]
    assert re.findall(r'CAP_\w+', picture) == capabilities
    assert f"root, {['no', 'one', 'two', 'three', 'four'][len(capabilities)]} capabilities" in README
