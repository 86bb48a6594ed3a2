#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""
The power fails while a store is being provisioned: power-cut.py BUILD [MOMENT...]

A guest with a bare NVDIMM provisions a store by configuration alone, and at some moment, so many milliseconds after a
line of its journal, QEMU is killed. The next boot on the same NVDIMM has to find what is half-made and serve the store, in one namespace; and the
boot after that, in the same one. What was built in BUILD is tested, as by run.sh.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]
MOMENTS = [('being prepared', 0), ('being prepared', 150), ('wrote empty labels', 0), ('wrote empty labels', 200),
           ('wrote empty labels', 500), ('wrote empty labels', 800), ('made namespace', 0), ('made namespace', 150),
           ('made an ext4', 0), ('mounted', 100)]
BOOT_SECONDS = 120


def sh(*argv):
    return subprocess.run([str(a) for a in argv], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Machine:
    def __init__(self, build):
        self.dir = build / 'vm-power-cut'
        shutil.rmtree(self.dir, ignore_errors=True)
        over = self.dir / 'over'
        over.mkdir(parents=True)
        os.umask(0o022)
        sh('make', '--no-print-directory', '-s', '-C', TREE, f'BUILD={build}', f'DESTDIR={over}', 'PREFIX=/usr',
           'UNITDIR=/usr/lib/systemd/system', 'install')
        guest = over / 'usr/lib/pmbroker-tests/tests/vm/guest'
        guest.mkdir(parents=True)
        for name in ('setup', 'power-cut'):
            shutil.copy(HERE / 'guest' / name, guest)
        for name in HERE.glob('guest/pmbroker-power-cut.*'):
            shutil.copy(name, over / 'usr/lib/systemd/system')
        sh('mksquashfs', over, self.dir / 'over.squashfs', '-no-progress', '-quiet', '-all-root', '-no-xattrs', '-noI',
           '-noD', '-noF')
        self.image = pathlib.Path(sh(HERE / 'build-image.sh'))
        self.nvdimm = self.dir / 'nvdimm'

    def new_nvdimm(self):
        self.nvdimm.unlink(missing_ok=True)
        with self.nvdimm.open('wb') as f:
            f.truncate(514 << 20)

    def boot(self, moment=None):
        """What the guest said, line by line; with a moment, until QEMU was killed."""
        said = self.dir / 'said'
        said.unlink(missing_ok=True)
        qemu = subprocess.Popen([
            'qemu-system-x86_64', '-machine', 'q35,nvdimm=on', '-accel', 'tcg,thread=multi', '-cpu', 'max,-cx16',
            '-smp', '2', '-m', '1G,slots=2,maxmem=4G',
            '-object', f'memory-backend-file,id=m0,share=on,mem-path={self.nvdimm},size=514M,align=2M',
            '-device', 'nvdimm,id=nv0,memdev=m0,label-size=2M',
            '-drive', f'file={self.image}/root.squashfs,if=virtio,format=raw,readonly=on',
            '-drive', f'file={self.dir}/over.squashfs,if=virtio,format=raw,readonly=on',
            '-display', 'none', '-net', 'none', '-no-reboot',
            '-kernel', self.image / 'vmlinuz', '-initrd', self.image / 'initrd',
            '-append', 'console=ttyS0 quiet panic=-1 oops=panic nowatchdog mitigations=off systemd.show_status=0 '
                       'rcupdate.rcu_cpu_stall_suppress=1 systemd.unit=pmbroker-power-cut.target',
            '-serial', f'file:{self.dir}/console', '-serial', f'file:{said}'], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + BOOT_SECONDS
        try:
            while qemu.poll() is None and time.monotonic() < deadline:
                if moment and said.exists() and moment[0] in said.read_text():
                    time.sleep(moment[1] / 1000)
                    break
                time.sleep(0.01)
        finally:
            qemu.kill()
            qemu.wait()
        return said.read_text().splitlines()


def main():
    machine = Machine(pathlib.Path(sys.argv[1]).resolve())
    failed = 0
    for moment in [MOMENTS[int(a)] for a in sys.argv[2:]] or MOMENTS:
        machine.new_nvdimm()
        before = machine.boot(moment)
        after = [machine.boot(), machine.boot()]
        namespaces = [[line for line in said if line.startswith('namespace ')] for said in after]
        good = all('available' in said and 'complete' in said for said in after) and \
            all(len(n) == 1 and 'pmbroker:pm' in n[0] for n in namespaces) and namespaces[0] == namespaces[1]
        print(f'power-cut: {moment[1]} ms after "{moment[0]}": {"good" if good else "BAD"}')
        if not good:
            print('\n'.join(['', *before, '--', *after[0], '--', *after[1], '']))
        failed += not good
        sys.stdout.flush()
    print(f'power-cut: {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
