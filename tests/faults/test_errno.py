# SPDX-License-Identifier: BSD-3-Clause
"""Each system call that an operation takes fails with each errno that the kernel might think of. The request succeeds,
or fails with an error that says so; what was not answered with success may be asked again; books, records, files and
mounts stay right, and both daemons live."""

import random

import pytest

from conftest import FULL
from system import Meddle
from test_kill import Create, Death, Destroy, GiveBack, Grow, Reload, Revoke, look_over

ERRNOS = {'EPERM': 1, 'EINTR': 4, 'EIO': 5, 'EAGAIN': 11, 'ENOMEM': 12, 'ENFILE': 23, 'EMFILE': 24, 'ENOSPC': 28,
          'ENOBUFS': 105, 'ETOOMANYREFS': 109, 'EDQUOT': 122}
SAMPLE = 1  # points of each operation, victim and errno that a failure is put in, if not all


@pytest.mark.parametrize('victim', ['broker', 'provisioner'])
@pytest.mark.parametrize('operation', [Create, Destroy, Grow, GiveBack, Death, Revoke, Reload],
                         ids=lambda o: o.__name__.lower())
def test_call_that_fails(system, operation, victim):
    op = operation(system)
    op.begin()
    with Meddle([system.process(victim).pid]) as meddle:
        assert op.run()
    look_over(system, op, True)
    rng, hits, ended, wrong = random.Random(operation.__name__ + victim), 0, [], []
    for name, number in sorted(ERRNOS.items()) if FULL else rng.sample(sorted(ERRNOS.items()), 4):
        every, hits_before = range(1, meddle.count + 1), hits
        for n in every if FULL else rng.sample(every, len(every)):
            if not FULL and hits - hits_before == SAMPLE:
                break
            pids = [system.process(role).pid for role in ('broker', 'provisioner')]
            op.begin()
            with Meddle([system.process(victim).pid], '--fail', f'{n}:{number}') as failed:
                answered = op.run()
            hits += failed.was_hit
            system.revive(any_end=True)
            if pids != [system.process(role).pid for role in ('broker', 'provisioner')]:
                ended.append(f'{name} of call {failed.number} (the {n}.)')
            try:
                look_over(system, op, answered)
            except BaseException as e:
                wrong.append(f'{name} of call {failed.number} (the {n}.): {e}')
                break
    assert not wrong and not ended, f'ended by {ended}; wrong after {wrong}'
    op.end()
    assert hits > 0
    print(f'errno: {operation.__name__.lower()}, {victim}: {meddle.count} calls, {hits} failures')
