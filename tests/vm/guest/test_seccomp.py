# SPDX-License-Identifier: BSD-3-Clause
"""What somebody could do who has taken over one of the two daemons: tried from inside of it, as the unit has it."""

import contextlib
import errno
import re

from daemon import wait_for
from system import BROKER, PROVISIONER, ROOT, SECONDS, SERVICES, drop_in, journal, systemctl

PROBES = ROOT / 'build/tests/vm/preload-forbidden.so'
REFUSED = errno.EDOTDOT  # nobody else says this
FORBIDDEN = {'ptrace', 'process_vm_readv', 'bpf', 'open_by_handle_at', 'init_module', 'keyctl', 'add_key', 'kexec_load', 'reboot',
             'perf_event_open', 'userfaultfd'}
SOCKETS = {'inet', 'netlink'}


def probes(system, unit):
    """{call: errno}, once all was tried."""
    found = {}
    for _, who, message in journal(system.began):
        if who == unit and (m := re.search(r'probe (\w+) (\d+)$', message)):
            found[m[1]] = int(m[2])
    return 'getpid' in found and found


def test_what_a_daemon_in_strange_hands_cannot_do(system):
    # The list of calls is the unit's; only its answer is another, so that no other reason can be taken for it.
    with contextlib.ExitStack() as stack:
        for unit in SERVICES:
            stack.enter_context(drop_in(unit, f'[Service]\nEnvironment=LD_PRELOAD={PROBES}\nSystemCallErrorNumber=EDOTDOT\n'))
        systemctl('daemon-reload')
        systemctl('restart', *SERVICES)
    found = {unit: wait_for(lambda unit=unit: probes(system, unit), SECONDS, f'{unit} has tried all', every=0.2) for unit in SERVICES}
    systemctl('daemon-reload')
    systemctl('restart', *SERVICES)
    system.wait_until_ready()
    for unit, forbidden in (BROKER, FORBIDDEN | {'mount'}), (PROVISIONER, FORBIDDEN):
        assert {call for call, e in found[unit].items() if e == REFUSED} == forbidden
        assert {found[unit][call] for call in SOCKETS} == {errno.EAFNOSUPPORT}
        assert found[unit]['getpid'] == 0
    # The broker's own doing: see sandbox.h.
    assert (found[BROKER]['execve'], found[BROKER]['execveat']) == (errno.EPERM, errno.EPERM)
    assert found[PROVISIONER]['execve'] == errno.EFAULT
