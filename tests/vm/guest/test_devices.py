# SPDX-License-Identifier: BSD-3-Clause
"""What the guest offers."""

import json
import subprocess


def test_regions():
    out = subprocess.run(['ndctl', 'list', '-DRNuv'], check=True, capture_output=True, text=True).stdout
    print(out)
    print(subprocess.run('systemd-analyze; systemd-analyze blame; systemd-analyze critical-chain; numactl -H; lsmod; cat /proc/meminfo; journalctl -b', shell=True, capture_output=True, text=True).stdout)
    assert 0
