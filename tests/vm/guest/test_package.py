# SPDX-License-Identifier: BSD-3-Clause
"""What was installed, as systemd sees it."""

import grp
import pathlib
import pwd
import re

import pytest

from system import BROKER, PROVISIONER, SERVICES, SOCKETS, run, systemctl


def test_users():
    user = pwd.getpwnam('pmbroker')
    assert 0 < user.pw_uid < 1000 and user.pw_dir == '/' and user.pw_shell.endswith('/nologin')
    assert grp.getgrnam('pmbroker-admin').gr_mem == []


@pytest.mark.parametrize('path, mode, owner', [
    ('/run/pmbroker', 0o40755, 'root'),
    ('/run/pmbroker/pmbroker.sock', 0o140666, 'root'),
    ('/run/pmbroker-provisioner', 0o40711, 'root'),
    ('/run/pmbroker-provisioner/jobs.sock', 0o140600, 'pmbroker'),
])
def test_places(path, mode, owner):
    st = pathlib.Path(path).stat()
    assert (oct(st.st_mode), pwd.getpwuid(st.st_uid).pw_name) == (oct(mode), owner)


def test_units_are_good():
    assert run('systemd-analyze', 'verify', '--man=no', *SERVICES, *SOCKETS) == ''


def test_sockets_are_enabled():
    assert systemctl('is-enabled', *SOCKETS).split() == ['enabled', 'enabled']


@pytest.mark.parametrize('unit, most', [(BROKER, 0.6), (PROVISIONER, 2.0)])
def test_exposure(unit, most, figure):
    out = run('systemd-analyze', 'security', '--no-pager', unit)
    line = out.rstrip().splitlines()[-1]
    exposure = float(re.search(r'([0-9.]+) [A-Z]+', line)[1])
    figure(f'systemd-analyze security: {unit} {exposure} (at most {most})')
    assert exposure <= most, out


def test_configuration_is_good():
    assert '[Store ram]' in run('pmbrokerd', '--check-config')
