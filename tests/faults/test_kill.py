# SPDX-License-Identifier: BSD-3-Clause
"""The broker, the provisioner or a worker is killed at each of the system calls that an operation takes, then started
again. What was answered is true, what was not has happened or not, nothing is lost, doubled or charged wrongly, and
asking again leads to where the operation would have led. Recovery is such an operation, too: killed while it is at it,
the next one does it."""

import contextlib
import random
import signal
import subprocess
import time

import pytest

from conftest import FULL
from pmbproto import Client, Closed, Process, Refused, pb
from system import MEDDLE, UNIT, Meddle, read_out, wait_for

SAMPLE = 4  # points of each operation and victim, if not all


class User:
    """A client that comes back: a session, its pools, and what must be in them."""

    def __init__(self, system):
        self.system = system
        self.client = Client(system.socket)
        self.request_id = 1000

    def again(self):
        """A new session that knows the memory of the one before."""
        old, self.client = self.client, Client(self.system.socket)
        self.client.adopt_memory(old)
        old.close()

    def ask(self, body, once=False, **fields):
        """Until there is an answer; with `once`, None when there is none, or it is no."""
        for _ in range(500):
            try:
                return self.client.ask(body, **fields)
            except (Closed, OSError):
                if once:
                    return None
                self.again()
            except Refused as e:
                if once:
                    return None
                if e.code not in ('RETRY', 'BUSY'):
                    raise
            time.sleep(0.01)
        pytest.fail(f'{body}: no answer')

    def rows(self):
        self.again()
        return {row.pool: row for row in self.ask('resume_pools').rows}

    def ready(self):
        """Those that are not on their way out."""
        return {pool for pool, row in self.rows().items() if row.state != pb.STATE_RELEASING}


# ------------------------------------------------------------------------------------------------------ operations

class Operation:
    """Something that is asked for, and what may have become of it when it was cut off. It ends where it began."""

    def __init__(self, system):
        self.system = system
        self.user = User(system)
        self.keep = self.user.ask('create_pool', size=4 * UNIT, max=8 * UNIT).pool
        self.user.client.fill(self.keep, 11)
        self.size = 4

    def begin(self):
        """Make ready; nobody meddles yet."""

    def run(self):
        """Ask once. True if there was an answer."""

    def finish(self):
        """Ask again until it is done, and undo it."""

    def check(self, answered):
        """After the restart, before anything is asked again."""

    def end(self):
        self.user.ask('destroy_pool', pool=self.keep)
        self.user.client.close()


class Create(Operation):
    def begin(self):
        self.user.request_id += 1
        self.fields = dict(size=2 * UNIT, max=4 * UNIT, name='new', request_id=self.user.request_id)

    def run(self):
        grant = self.user.ask('create_pool', once=True, **self.fields)
        self.pool = grant.pool if grant else None
        if grant:
            self.user.client.fill(grant.pool, 3)
        return grant is not None

    def check(self, answered):
        new = self.user.ready() - {self.keep}
        assert len(new) <= 1
        if answered:
            assert new == {self.pool} and self.user.client.is_filled(self.pool, 3)

    def finish(self):
        grant = self.user.ask('create_pool', **self.fields)
        assert grant.size == 2 * UNIT
        assert self.user.ready() == {self.keep, grant.pool}
        self.user.client.give_up(grant.pool)
        self.user.ask('destroy_pool', pool=grant.pool)


class Destroy(Operation):
    def begin(self):
        self.pool = self.user.ask('create_pool', size=2 * UNIT).pool
        self.user.client.fill(self.pool, 3)
        self.user.client.give_up(self.pool)

    def run(self):
        return self.user.ask('destroy_pool', once=True, pool=self.pool) is not None

    def check(self, answered):
        row = self.user.rows().get(self.pool)
        assert not (answered and row) or row.state == pb.STATE_RELEASING
        if row and row.state == pb.STATE_READY:  # nothing has happened, nothing is missing
            assert row.size == 2 * UNIT

    def finish(self):
        self.user.ask('destroy_pool', pool=self.pool)
        wait_for(lambda: set(self.user.rows()) == {self.keep})


class Grow(Operation):
    def run(self):
        answer = self.user.ask('resize_pool', once=True, pool=self.keep, size=6 * UNIT)
        return answer is not None

    def check(self, answered):
        size = self.user.rows()[self.keep].size
        assert size == 6 * UNIT if answered else size in (4 * UNIT, 6 * UNIT)

    def finish(self):
        answer = self.user.ask('resize_pool', pool=self.keep, size=6 * UNIT)
        assert answer.size == 6 * UNIT
        client = self.user.client
        client.map(self.keep)
        assert client.touch_pages(self.keep, 4 * UNIT, 2 * UNIT // 4096) == 0
        while self.user.rows()[self.keep].size > 4 * UNIT:  # a repeated gift would be another
            self.user.ask('give_back', pool=self.keep, units=[(4, 2)], once=True)


class GiveBack(Operation):
    def begin(self):
        self.gifts = self.user.rows()[self.keep].gifts

    def run(self):
        answer = self.user.ask('give_back', once=True, pool=self.keep, units=[(1, 2)])
        return answer is not None

    def check(self, answered):
        row = self.user.rows()[self.keep]
        self.done = row.size == 2 * UNIT
        assert self.done or row.size == 4 * UNIT
        assert self.done or not answered
        if row.gifts in (self.gifts, self.gifts + 1):  # otherwise it is not known any more
            assert row.gifts == self.gifts + self.done

    def finish(self):
        client = self.user.client
        assert client.is_filled(self.keep, 11, 0, 1) and client.is_filled(self.keep, 11, 3, 1)
        # What is in the others, the owner has declared free, whether they were taken or not.
        self.user.ask('resize_pool', pool=self.keep, size=4 * UNIT)
        client.fill(self.keep, 11)


class Death(Operation):
    """The owner dies."""

    def begin(self):
        self.other = Process()
        remote = self.other.connect(self.system.socket)
        for _ in range(2):
            pool = remote.create(2 * UNIT).pool
            remote.fill(pool, 5)

    def run(self):
        self.other.kill()
        self.other.wait()
        time.sleep(0.01)
        return True

    def check(self, answered):
        wait_for(lambda: len(self.system.ask('pools')) == 1, what='pools of the dead are gone')

    def finish(self):
        assert set(self.user.rows()) == {self.keep}


class Reclaim(Operation):
    """An administrator shrinks the pool, and its owner gives back."""

    def __init__(self, system):
        super().__init__(system)
        self.other = Process()

    def run(self):
        try:
            admin = self.other.connect(self.system.socket)
        except (Closed, OSError):
            return False
        admin.later('resize', self.keep, 2 * UNIT)
        given, size = None, 0
        with contextlib.suppress(Closed, OSError):
            if self.user.client.event('reclaim', 0.5):
                given = self.user.ask('give_back', once=True, pool=self.keep, units=[(2, 2)])
        time.sleep(0.05)
        self.system.revive()
        with contextlib.suppress(Closed, OSError, Refused):  # at the latest when the time for it is over
            size = self.other.finish().size
        return given is not None and size == 2 * UNIT

    def end(self):
        self.other.end()
        super().end()

    def check(self, answered):
        size = self.user.rows()[self.keep].size
        assert size == 2 * UNIT if answered else size in (2 * UNIT, 4 * UNIT)

    def finish(self):
        wait_for(lambda: self.user.rows()[self.keep].state == pb.STATE_READY)
        self.user.ask('resize_pool', pool=self.keep, size=4 * UNIT)
        self.user.client.fill(self.keep, 11)


class Revoke(Operation):
    def begin(self):
        self.pool = self.user.ask('create_pool', size=2 * UNIT).pool
        self.user.client.fill(self.pool, 3)
        self.user.client.give_up(self.pool)

    def run(self):
        try:
            return self.system.admin.revoke(self.pool) is not None
        except (Closed, OSError, Refused):
            return False

    def check(self, answered):
        row = self.user.rows().get(self.pool)
        assert not row or row.state in ((pb.STATE_RELEASING,) if answered else (pb.STATE_READY, pb.STATE_RELEASING))

    def finish(self):
        self.user.ask('destroy_pool', pool=self.pool)
        wait_for(lambda: set(self.user.rows()) == {self.keep})


class Reload(Operation):
    def run(self):
        if self.system.broker.poll() is None:
            self.system.broker.send_signal(signal.SIGHUP)  # it has the provisioner do it, too
        time.sleep(0.05)
        return True


OPERATIONS = [Create, Destroy, Grow, GiveBack, Death, Reclaim, Revoke, Reload]


# --------------------------------------------------------------------------------------------------------- the test

def look_over(system, operation, answered):
    """After the restart."""
    assert operation.user.rows()[operation.keep].state in (pb.STATE_READY, pb.STATE_RESIZING)
    assert operation.user.client.is_filled(operation.keep, 11, 0, 1), 'memory was lost'
    operation.check(answered)
    operation.finish()
    assert operation.user.client.is_filled(operation.keep, 11, 0, 4), 'memory was lost'
    system.assert_books()
    wait_for(lambda: [row.size for row in system.ask('pools')] == [4 * UNIT], what='nothing else is left')


def points(n, rng):
    return range(1, n + 1) if FULL else sorted(rng.sample(range(1, n + 1), min(n, SAMPLE)))


@pytest.mark.parametrize('victim', ['broker', 'provisioner'])
@pytest.mark.parametrize('operation', OPERATIONS, ids=lambda o: o.__name__.lower())
def test_killed_at_a_call(system, operation, victim):
    """The provisioner's workers are victims as it is itself."""
    op = operation(system)
    op.begin()
    with Meddle([system.process(victim).pid]) as meddle:
        assert op.run()
    look_over(system, op, True)
    rng, hits = random.Random(op.__class__.__name__ + victim), 0
    for n in points(meddle.count, rng):
        op.begin()
        with Meddle([system.process(victim).pid], '--kill', str(n)) as killed:
            answered = op.run()
        hits += killed.was_hit
        # A worker's death is not the provisioner's.
        if killed.was_hit and killed.pid == system.process(victim).pid:
            system.process(victim).wait(10)
        system.revive()
        look_over(system, op, answered)
    op.end()
    assert hits > 0
    print(f'kill: {op.__class__.__name__.lower()}, {victim}: {meddle.count} calls, {hits} kills')


@pytest.mark.parametrize('victim', ['broker', 'provisioner'])
def test_killed_while_it_starts(system, victim, tmp_path):
    """A start with pools, one of them half released, one whose owner has died: recovery. It is killed at a call, and the
    next one, too, at the same: so what one does, and what it leaves to the next, are both tried."""
    op = Operation(system)
    out = tmp_path / 'meddled'

    def prepare():
        other = Process()
        remote = other.connect(system.socket)
        for _ in range(3):
            remote.create(UNIT)
        gone = op.user.ask('create_pool', size=UNIT).pool
        op.user.client.fill(gone, 1)
        op.user.client.give_up(gone)
        op.user.client.send('destroy_pool', pool=gone)
        system.kill(victim)
        other.kill()
        other.wait()
        return gone

    def start(*how):
        out.unlink(missing_ok=True)
        system.start(victim, [str(MEDDLE), *how, '--out', str(out), '--exec'])

    gone = prepare()
    start()
    system.wait_until_ready()
    op.user.ask('destroy_pool', pool=gone)
    time.sleep(0.05)
    system.kill(victim)
    count = wait_for(lambda: read_out(out))[0]
    system.revive()
    rng, hits = random.Random(victim), 0
    every = range(1, count + 1) if FULL else sorted(rng.sample(range(1, count + 1), 2 * SAMPLE))
    for n in every:
        gone = prepare()
        for _ in range(2):
            start('--kill', str(n))
            wait_for(out.exists)
            with contextlib.suppress(subprocess.TimeoutExpired):
                system.process(victim).wait(0.5)  # or it serves already
            system.kill(victim)
            hits += (wait_for(lambda: read_out(out)))[1] >= 0
        system.revive()
        assert op.user.rows()[op.keep].size == 4 * UNIT
        assert op.user.client.is_filled(op.keep, 11), 'memory was lost'
        op.user.ask('destroy_pool', pool=gone)  # it was not answered
        wait_for(lambda: len(system.ask('pools')) == 1, what='pools of the dead are gone')
        system.assert_books()
    op.end()
    print(f'kill: start, {victim}: {count} calls, {hits} kills')
    assert hits >= len(every)  # of twice as many tries: what the second finds to do may be less
