# SPDX-License-Identifier: BSD-3-Clause
"""The emulated machine, as everybody here boots it: a Debian with systemd as PID 1, NVDIMMs, and pmbroker installed."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]
TESTS = 'usr/lib/pmbroker-tests'

# What emulation is slow at: another level of page tables, and copying byte by byte, which libc and the kernel do where
# the processor says that it is good at that (erms, and rep_good below). -cx16: newer kernels crash under emulation
# with it.
CPU = 'max,-cx16,-erms,-la57'
KERNEL = [
    'console=ttyS0', 'quiet', 'systemd.show_status=0', 'mitigations=off', 'clearcpuid=rep_good',
    # A slow host is no mistake of the guest's kernel: its watchdogs are off, and it takes for granted that its timer ticks,
    # which it would end at not seeing in a moment in which the host is elsewhere. A mistake ends it, instead of leaving it
    # hang.
    'panic=-1', 'oops=panic', 'nowatchdog', 'rcupdate.rcu_cpu_stall_suppress=1', 'no_timer_check',
    # Its time stamp counter is good, though it does not know: the other clock is a device, whose emulation is slow.
    'tsc=reliable', 'clocksource=tsc',
]


def die(words):
    print(f'vm: {words}')
    sys.exit(1)


def make_image():
    """The directory with kernel, initrd and root, made if need be."""
    done = subprocess.run([HERE / 'build-image.sh'], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        die('there is no image')
    return pathlib.Path(done.stdout.strip())


class Over:
    """What is laid over the image's root: pmbroker as `make install` has it, unless not, and what is run in there."""

    def __init__(self, build, directory, installed=True):
        self.build, self.root = build, directory / 'over'
        self.file = directory / 'over.squashfs'
        self.root.mkdir(parents=True)
        if installed:
            self.install()
        self.add_tests()

    def install(self):
        """Below /usr, as a package: /lib and the like are links in the guest."""
        done = subprocess.run(
            [os.environ.get('MAKE', 'make'), '--no-print-directory', '-s', '-C', TREE, f'BUILD={self.build}',
             f'DESTDIR={self.root}', 'PREFIX=/usr', 'UNITDIR=/usr/lib/systemd/system', 'install'],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            print(done.stdout)
            die('make install failed')

    def add_tests(self):
        """They find each other, the protocol and the programs as they do in the tree."""
        tests, build = self.root / TESTS, self.build
        self.guest = tests / 'tests/vm/guest'
        shutil.copytree(HERE / 'guest', self.guest, ignore=shutil.ignore_patterns('__pycache__'))
        for directory in ('systemd/system', 'sysusers.d'):
            (self.root / 'usr/lib' / directory).mkdir(parents=True, exist_ok=True)
        for path in [*self.guest.glob('*.service'), *self.guest.glob('*.target')]:
            shutil.move(path, self.root / 'usr/lib/systemd/system')
        shutil.move(self.guest / 'pmbroker-tests.conf', self.root / 'usr/lib/sysusers.d')
        for path in [TREE / 'proto/pmbroker.proto', *TREE.glob('tests/integration/*.py')]:
            (tests / path.relative_to(TREE)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tests / path.relative_to(TREE))
        for path in [*build.glob('examples/*'), *build.glob('tests/integration/*'), *build.glob('tests/vm/*')]:
            if path.is_file() and os.access(path, os.X_OK):
                (tests / 'build' / path.relative_to(build)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, tests / 'build' / path.relative_to(build))
        for path in ('/usr/sbin/pmbrokerd', '/usr/bin/pmbrokerctl'):
            (tests / 'build' / pathlib.Path(path).name).symlink_to(path)

    def close(self):
        """No more is added to it. Not compressed: that takes longer than it saves."""
        subprocess.run(['mksquashfs', self.root, self.file, '-no-progress', '-quiet', '-all-root', '-no-xattrs', '-noI',
                        '-noD', '-noF'], check=True, stdout=subprocess.DEVNULL)
        return self.file


class Machine:
    """Turned off at first."""

    def __init__(self, directory, image, over):
        self.dir, self.image, self.over = directory, image, over
        self.nvdimms, self.n_nvdimms = [], 0
        self.dir.mkdir(parents=True, exist_ok=True)

    def add_nvdimm(self, mib, labels, node=0, kept=False):
        """
        `node` is the NUMA node that its memory can become. What is kept stays in a file from one boot to the next, and is
        as fast as the disk that the file is on; a guest would wait for that disk where it expects memory.
        """
        n = self.n_nvdimms
        self.n_nvdimms += 1
        # The labels are taken from the end, and the rest is cut down to whole units.
        mib += 2 if labels else 0
        kind = f'memory-backend-file,share=on,mem-path=nvdimm{n},align=2M' if kept else 'memory-backend-ram'
        self.nvdimms += [
            '-object', f'{kind},id=m{n},size={mib}M',
            '-device', f'nvdimm,id=nv{n},memdev=m{n},node={node}{",label-size=128K" if labels else ""}']
        if kept:
            with (self.dir / f'nvdimm{n}').open('wb') as f:
                f.truncate(mib << 20)

    def command(self, target, *qemu, kernel=()):
        """The command line, for its own directory, that boots it until systemd has reached pmbroker-TARGET.target."""
        words = [*KERNEL, f'systemd.unit=pmbroker-{target}.target', *kernel]
        return [
            'qemu-system-x86_64', '-machine', 'q35,nvdimm=on', '-accel', 'tcg,thread=multi', '-cpu', CPU, '-smp', '2',
            '-m', '2G,slots=8,maxmem=8G', '-object', 'memory-backend-ram,id=ram,size=2G',
            '-numa', 'node,nodeid=0,memdev=ram,cpus=0-1', '-numa', 'node,nodeid=1', '-numa', 'node,nodeid=2',
            '-numa', 'node,nodeid=3', *self.nvdimms,
            '-drive', f'file={self.image}/root.squashfs,if=virtio,format=raw,readonly=on',
            '-drive', f'file={self.over},if=virtio,format=raw,readonly=on',
            '-net', 'none', '-no-reboot', '-kernel', f'{self.image}/vmlinuz', '-initrd', f'{self.image}/initrd',
            '-append', shlex.join(words), *qemu]

    def start(self, target, *qemu, kernel=(), **kwargs):
        return subprocess.Popen(self.command(target, '-display', 'none', *qemu, kernel=kernel), cwd=self.dir,
                                stdin=subprocess.DEVNULL, **kwargs)

    def remove_nvdimms(self):
        for path in self.dir.glob('nvdimm*'):
            path.unlink()
