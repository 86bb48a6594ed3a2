# SPDX-License-Identifier: BSD-3-Clause
"""Each system call that an operation takes fails with each errno that the kernel might think of. The request succeeds,
or fails with an error that says so; what was not answered with success may be asked again; books, records, files and
mounts stay right, and both daemons live."""

import random
import time

import pytest

from conftest import FULL
from pmbproto import pb
from system import MEDDLE, UNIT, Meddle, read_out, wait_for
from test_kill import Create, Death, Destroy, GiveBack, Grow, Operation, Reclaim, Reload, Revoke, look_over

ERRNOS = {'EPERM': 1, 'EINTR': 4, 'EIO': 5, 'EAGAIN': 11, 'ENOMEM': 12, 'ENFILE': 23, 'EMFILE': 24, 'ENOSPC': 28,
          'ENOBUFS': 105, 'ETOOMANYREFS': 109, 'EDQUOT': 122}
SAMPLE = 1  # points of each operation, victim and errno that a failure is put in, if not all


@pytest.mark.parametrize('victim', ['broker', 'provisioner'])
@pytest.mark.parametrize('operation', [Create, Destroy, Grow, GiveBack, Death, Reclaim, Revoke, Reload],
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


def serves_within(system, victim, seconds):
    """Whether it does; or it has given up by itself, or cannot serve a store."""
    end = time.monotonic() + seconds
    while system.process(victim).poll() is None and time.monotonic() < end:
        if system.is_ready():
            return True
        time.sleep(0.005)
    return False


@pytest.mark.parametrize('victim', ['broker', 'provisioner'])
def test_start_with_a_call_that_fails(system, victim, tmp_path):
    """It serves, or does not; nothing that is there is lost by it, and the next start finds it all."""
    op, out = Operation(system), tmp_path / 'meddled'
    rng, hits, served = random.Random(victim), 0, 0

    def start(*how):
        system.kill(victim)
        out.unlink(missing_ok=True)
        system.start(victim, [str(MEDDLE), *how, '--out', str(out), '--exec'])

    start()
    assert serves_within(system, victim, 10)
    system.kill(victim)
    count = wait_for(lambda: read_out(out))[0]
    system.revive()
    for name, number in sorted(ERRNOS.items()) if FULL else rng.sample(sorted(ERRNOS.items()), 4):
        for n in range(1, count + 1) if FULL else rng.sample(range(1, count + 1), 2):
            start('--fail', f'{n}:{number}')
            served += serves_within(system, victim, 1)
            code = system.process(victim).poll()
            assert code is None or code > 0, f'{name} of the {n}. call: ended by signal {code}: {system.log()[-2000:]}'
            system.kill(victim)
            hits += wait_for(lambda: read_out(out))[1] >= 0
            system.revive(any_end=True)
            row = op.user.rows()[op.keep]
            assert row.size == op.size * UNIT and row.state == pb.STATE_READY, f'{name} of the {n}. call: {row}'
            assert op.user.client.is_filled(op.keep, 11), 'memory was lost'
            system.assert_books()
    op.end()
    assert hits > 0
    print(f'errno: start, {victim}: {count} calls, {hits} failures, served after {served}')
