#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""
The real thing: pmbroker under systemd, with NVDIMMs, in an emulated machine (machine.py).

    run.py BUILD                 run guest/test_*.py in there, in two such machines that share the work
    run.py BUILD ARGUMENT...     run those that pytest chooses by these arguments (-k restart, say), in one
    run.py --shell BUILD         a root shell in there, on this terminal

What was built in BUILD is installed over the image that build-image.sh makes. Everything that comes back (results, the
journal, the console) is in BUILD/vm/MACHINE. Fails when a test fails or does not run, when the kernel warns or panics,
and when a machine hangs.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time

from machine import Machine, Over, make_image

# More than pmbroker-suite.service gives the suite, plus a boot.
SECONDS = 1000
# Two emulated machines share the processors with all that this one does, and what waits for something may wait too long. So
# many tests that did not pass are tried once more, alone; it is said, and what they left the first time stays.
TRIED_AGAIN = 10
# What the first machine does; the second does all the rest.
FIRST = ['test_fsdax_provision.py', 'test_kmem.py', 'test_walk.py']
BAD = re.compile('WARNING:|BUG:|Oops|Kernel panic|general protection fault|kernel BUG at|INFO: task .* blocked')


def new_machine(directory, image, over):
    """
    Three NVDIMMs have a NUMA node of their own, so that their memory can become a node's: two with labels, which
    namespaces can be cut from, and one without. Four are for single tests: labels, once written, cannot be taken back
    before the next boot.
    """
    machine = Machine(directory, image, over)
    for mib, labels, node in ((1024, True, 1), (1024, True, 2), (512, False, 3), (64, True, 0), (256, True, 0),
                              (64, False, 0), (768, True, 0)):
        machine.add_nvdimm(mib, labels, node)
    return machine


def lines_of(path):
    return path.read_text(errors='replace').splitlines() if path.exists() else []


class Suite(threading.Thread):
    """A machine that runs tests, from its boot to the judgement."""

    def __init__(self, name, machine, prefix):
        super().__init__(daemon=True)
        self.name, self.machine, self.prefix = name, machine, prefix
        self.dir, self.results = machine.dir, machine.dir / 'guest'
        self.qemu, self.late, self.passed = None, False, 0
        self.complaints = []

    def say(self, line):
        sys.stdout.write(f'{self.prefix}{line}\n')
        sys.stdout.flush()

    def run(self):
        began = time.monotonic()
        try:
            self.boot()
            self.fetch()
            self.judge()
        except Exception as e:  # whatever it is, this machine did not pass
            self.complaints.append(f'{type(e).__name__}: {e}')
        self.seconds = int(time.monotonic() - began)

    def boot(self):
        with (self.dir / 'results.tar').open('wb') as f:
            f.truncate(64 << 20)
        self.qemu = self.machine.start(
            'suite', '-serial', 'file:console', '-serial', 'stdio',
            '-drive', 'file=results.tar,if=virtio,format=raw,cache=unsafe', kernel=[f'pmbroker.machine={self.name}'],
            stdout=subprocess.PIPE, text=True, errors='replace')
        timer = threading.Timer(SECONDS, self.be_late)
        timer.start()
        with (self.dir / 'suite').open('w', buffering=1) as f:
            for line in self.qemu.stdout:
                f.write(line)
                self.say(line.rstrip())
        self.status = self.qemu.wait()
        timer.cancel()

    def be_late(self):
        self.late = True
        self.end()

    def end(self):
        if self.qemu:
            self.qemu.kill()

    def fetch(self):
        tar = self.dir / 'results.tar'
        self.results.mkdir()
        try:
            with tarfile.open(tar) as t:
                t.extractall(self.results)
        except tarfile.ReadError:
            self.complaints.append('the guest has left no results')
        tar.unlink()

    def judge(self):
        # The console too: the last words of a kernel come no other way.
        warnings = sorted({line for path in (self.dir / 'console', self.results / 'dmesg') for line in lines_of(path)
                           if BAD.search(line)})
        if warnings:
            (self.dir / 'kernel-warnings').write_text('\n'.join(warnings) + '\n')
            self.complaints += ['the kernel warned:', *warnings[:20]]
        if self.late:
            self.complaints.append(f'the guest was not done after {SECONDS} s')
        elif self.status != 0:
            self.complaints.append(f'QEMU ended with status {self.status}')
        if not (self.results / 'complete').exists():
            self.complaints += ['the guest ended before the suite did', *lines_of(self.dir / 'console')[-20:]]
        elif not (self.results / 'status').exists():
            begun = lines_of(self.results / 'begun')
            self.complaints.append(f'the suite was not done in time; it hung in {begun[-1] if begun else "the beginning"}')
        # Each that was found has to have run; a test that is skipped has not.
        found = set(lines_of(self.results / 'found'))
        passed = {line.removeprefix('passed ') for line in lines_of(self.results / 'results') if line.startswith('passed ')}
        self.passed = len(passed)
        if not found:
            self.complaints.append('no test was found')
        self.complaints += [f'did not pass: {test}' for test in sorted(found - passed)]
        status = lines_of(self.results / 'status')
        if not self.complaints and status != ['0']:
            self.complaints.append(f'pytest ended with status {status}')


def to_try_again(suites):
    """What did not pass, if all else was well and it was not much: with its parameters, if it has any."""
    complaints = [c for s in suites for c in s.complaints]
    tests = sorted({re.sub(r'^did not pass: (vm/guest/)?|\[.*', '', c) for c in complaints if c.startswith('did not pass')})
    return tests if len(complaints) <= TRIED_AGAIN and all(c.startswith('did not pass') for c in complaints) else []


def run_suites(suites, began):
    """Those that something was wrong with; all has been said."""
    # Whoever ends this ends the machines.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for suite in suites:
            suite.start()
        for suite in suites:
            suite.join()
    finally:
        for suite in suites:
            suite.end()
    for suite in suites:
        for line in lines_of(suite.results / 'figures'):
            print(f'vm: {line}')
    for suite in suites:
        for line in suite.complaints:
            print(f'vm: {suite.name}: {line}')
        failed = sum(c.startswith('did not pass') for c in suite.complaints)
        print(f'vm: {suite.name}: {suite.passed} passed, {failed} failed ({suite.seconds} s)'
              f'{"; see " + str(suite.dir) if suite.complaints else ""}')
    passed, bad = sum(s.passed for s in suites), [s for s in suites if s.complaints]
    print(f'vm: {passed} passed, {len(bad)} of {len(suites)} machines failed ({time.monotonic() - began:.0f} s)')
    return bad


def main(argv, place='vm'):
    shell = argv[:1] == ['--shell']
    if len(argv) < 1 + shell:
        sys.exit(__doc__)
    build, arguments = pathlib.Path(argv[shell]).resolve(), argv[shell + 1:]
    os.umask(0o022)
    image = make_image()
    directory = build / place
    shutil.rmtree(directory, ignore_errors=True)
    over = Over(build, directory)
    if shell:
        machine = new_machine(directory / 'shell', image, over.close())
        print("vm: 'exit' ends it; so does C-a x", flush=True)
        os.chdir(machine.dir)
        command = machine.command('shell', '-nographic', '-serial', 'mon:stdio')
        os.execvp(command[0], command)

    began = time.monotonic()
    shares = {'guest': arguments} if arguments else {'first': FIRST, 'second': [f'--ignore={f}' for f in FIRST]}
    for name, words in shares.items():
        # The other end is no terminal, and does not know whether this one is.
        color = f'--color={"yes" if sys.stdout.isatty() else "no"}'
        (over.guest / f'arguments.{name}').write_text('\n'.join([color, *words]) + '\n')
    file = over.close()
    suites = [Suite(name, new_machine(directory / name, image, file), f'{name}: ' if len(shares) > 1 else '')
              for name in shares]
    bad = run_suites(suites, began)
    again = to_try_again(bad) if not arguments else []
    if again:
        print(f'vm: ONCE MORE, in a machine of its own that nothing else runs beside: {" ".join(again)}', flush=True)
        return main([str(build), *again], 'vm-again')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
