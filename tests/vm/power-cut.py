#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""
The power fails while a store is being made, and when it is in use:

    power-cut.py BUILD [--some | MOMENT...]

A machine with a bare NVDIMM makes a store by configuration alone, serves it, and has a program write to a pool of it. At
some moment, so many milliseconds after a line of its journal, QEMU is killed. The next boot on the same NVDIMM has to
find what is half-made, and to serve the store, in one namespace; and the boot after that, in the same one. What pools
held in one boot is not on the NVDIMM in the next. With --some, this is tried at two moments; else at all, or at those
with these numbers. What was built in BUILD is tested, as by run.py.
"""

import concurrent.futures
import mmap
import os
import pathlib
import shutil
import sys
import time

from machine import Machine, Over, make_image

MOMENTS = [('is being prepared', 0), ('is being prepared', 200), ('is being prepared', 500), ('wrote empty labels', 0),
           ('wrote empty labels', 200), ('wrote empty labels', 500), ('made namespace', 0), ('made namespace', 100),
           ('erased', 0), ('made an ext4', 0), ('mounted', 0), ('secret-1 is written', 0)]
SOME = [4, 11]
AT_A_TIME = 2  # machines
BOOT_SECONDS = 300


class Trial(Machine):
    """A machine with one NVDIMM, and one moment."""

    def __init__(self, directory, image, over, number):
        super().__init__(directory / str(number), image, over)
        self.line, self.milliseconds = MOMENTS[number]
        self.add_nvdimm(512, labels=True, kept=True)
        self.boots = []

    def boot(self, until=None):
        """What the guest said, line by line; with a moment, until QEMU was killed."""
        said = self.dir / f'said-{len(self.boots) + 1}'
        qemu = self.start('power-cut', '-serial', 'file:console', '-serial', f'file:{said.name}',
                          kernel=[f'pmbroker.boot={len(self.boots) + 1}'])
        deadline = time.monotonic() + BOOT_SECONDS
        try:
            while qemu.poll() is None and time.monotonic() < deadline:
                if until and said.exists() and until in said.read_text(errors='replace'):
                    time.sleep(self.milliseconds / 1000)
                    break
                time.sleep(0.01)
        finally:
            qemu.kill()
            qemu.wait()
        self.boots.append(said.read_text(errors='replace').splitlines())

    def count(self, text):
        """How often it is on the NVDIMM."""
        with (self.dir / 'nvdimm0').open('rb') as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            n, at = 0, m.find(text)
            while at >= 0:
                n, at = n + 1, m.find(text, at + len(text))
            return n

    def judge(self):
        """What is wrong, if anything."""
        namespaces = [[line for line in said if line.startswith('namespace ')] for said in self.boots[1:]]
        if not all('available' in said and 'complete' in said for said in self.boots[1:]):
            return 'the store is not available'
        if not all(len(n) == 1 and 'pmbroker:pm' in n[0] for n in namespaces):
            return f'these are the namespaces: {namespaces}'
        if namespaces[0] != namespaces[1]:
            return f'another namespace after the third boot: {namespaces}'
        if not all(f'secret-{n} is written' in said for n, said in enumerate(self.boots[1:], 2)):
            return 'no pool was served'
        return None

    def run(self):
        self.boot(until=self.line)
        cut = any(self.line in line for line in self.boots[0]) and 'complete' not in self.boots[0]
        written = 'secret-1 is written' in self.boots[0]
        if written and self.count(b'SECRET-1') == 0:
            return f'it was to be cut off after "{self.line}", but the NVDIMM does not have what was written'
        self.boot()
        left = self.count(b'SECRET-1')
        self.boot()
        left += self.count(b'SECRET-2')
        self.remove_nvdimms()
        if not cut:
            return f'was not cut off after "{self.line}"'
        return self.judge() or (f'{left} words of earlier boots are on the NVDIMM' if left else None)


def main(argv):
    if not argv:
        sys.exit(__doc__)
    os.umask(0o022)
    build = pathlib.Path(argv[0]).resolve()
    numbers = SOME if argv[1:] == ['--some'] else [int(a) for a in argv[1:]] or range(len(MOMENTS))
    directory = build / 'vm-power-cut'
    image = make_image()
    shutil.rmtree(directory, ignore_errors=True)
    over = Over(build, directory).close()
    began, failed = time.monotonic(), 0
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        trials = [Trial(directory, image, over, n) for n in numbers]
        for trial, wrong in zip(trials, pool.map(Trial.run, trials)):
            print(f'power-cut: {trial.milliseconds} ms after "{trial.line}": {wrong or "good"}', flush=True)
            failed += bool(wrong)
            if wrong:
                for said in trial.boots:
                    print('\n'.join(['--', *said]))
    print(f'power-cut: {len(trials) - failed} passed, {failed} failed ({time.monotonic() - began:.0f} s)')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
