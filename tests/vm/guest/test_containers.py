# SPDX-License-Identifier: BSD-3-Clause
"""Whom the scopes that container runtimes ask systemd for are charged to, as pmbroker(7) says."""

from daemon import wait_for
from system import ALICE, EXAMPLES, SECONDS

TENANTS = '''
[Tenant pods]
Slice=kubepods.slice
[Tenant containers]
Unit=docker-*.scope
Slice=machine.slice
'''


def test_scope_of_a_runtime_is_charged_to_its_tenant(system, configure):
    configure(TENANTS)
    for scope, where, tenant in (
            ('docker-0123.scope', 'system.slice', 'containers'),
            ('libpod-0123.scope', 'machine.slice', 'containers'),
            ('cri-containerd-0123.scope', 'kubepods-pod1.slice', 'pods'),
            ('cri-containerd-0124.scope', 'kubepods-burstable-pod2.slice', 'pods'),
            ('other.scope', 'system.slice', 'default')):
        program = system.program(0, 'systemd-run', '--scope', '--quiet', f'--uid={ALICE}', f'--unit={scope}',
                                 f'--slice={where}', EXAMPLES / 'holder', '--size', '4')
        row, = wait_for(system.rows, SECONDS, f'{scope} has a pool', every=0.05)
        assert (row.tenant, row.uid, row.pid) == (tenant, ALICE, program.pid), scope
        system.dismiss()
