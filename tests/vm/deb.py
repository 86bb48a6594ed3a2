#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""
The Debian packages, in an emulated machine that has nothing of pmbroker:

    deb.py BUILD [ARGUMENT...]

What is in BUILD/deb (`make deb`) is installed, used, upgraded to the same under a higher version, removed and purged
there, by guest/check_packages.py, or those of its tests that pytest chooses by the arguments. The machine has no network:
all that the packages depend on has to be in the image.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from machine import TESTS, Machine, Over, die, make_image
from run import Suite, run_suites

NAME = 'packages'


def upgraded(deb, directory):
    """The same package with a higher version, which the others of this set depend on."""
    unpacked = directory / 'unpacked'
    subprocess.run(['dpkg-deb', '-R', deb, unpacked], check=True)
    control = unpacked / 'DEBIAN/control'
    text = control.read_text()
    version = re.search(r'^Version: (.*)$', text, re.M)[1]
    control.write_text(text.replace(version, f'{version}.1'))
    subprocess.run(['dpkg-deb', '--root-owner-group', '-Zgzip', '-b', unpacked, directory], check=True,
                   stdout=subprocess.DEVNULL)
    shutil.rmtree(unpacked)


def main(argv):
    if not argv:
        sys.exit(__doc__)
    build = pathlib.Path(argv[0]).resolve()
    debs = [d for d in (build / 'deb').glob('*.deb') if '-dbgsym_' not in d.name]
    if not debs:
        die(f'there are no packages in {build}/deb')
    os.umask(0o022)
    image = make_image()
    directory = build / 'vm-deb'
    shutil.rmtree(directory, ignore_errors=True)
    over = Over(build, directory, installed=False)
    first, second = (over.root / TESTS / 'debs' / which for which in ('first', 'second'))
    for d in (first, second):
        d.mkdir(parents=True)
    for deb in debs:
        shutil.copy(deb, first)
        upgraded(deb, second)
    color = f'--color={"yes" if sys.stdout.isatty() else "no"}'
    (over.guest / f'arguments.{NAME}').write_text('\n'.join([color, '-x', 'check_packages.py', *argv[1:]]) + '\n')
    began = time.monotonic()
    machine = Machine(directory / NAME, image, over.close())
    return 1 if run_suites([Suite(NAME, machine, '')], began) else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
