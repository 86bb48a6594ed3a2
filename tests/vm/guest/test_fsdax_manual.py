# SPDX-License-Identifier: BSD-3-Clause
"""An administrator who is quick: what is asked for while a store is being looked at is done all the same."""

from pmbproto import pb
from system import CONFIG_DIR, ctl
from test_fsdax_provision import addresses, wait_available

CONFIG = CONFIG_DIR / 'manual.conf'


def test_apply_right_after_a_reload(system):
    """With Provision=manual a reload only looks whether the store can be served; --apply meanwhile makes it."""
    (address, *_), _ = addresses()
    CONFIG_DIR.mkdir(exist_ok=True)
    CONFIG.write_text(f'[Store quick]\nType=fsdax\nRegion={address}\nInitLabels=yes\nSize=64M\nProvision=manual\n')
    try:
        for _ in range(2):
            assert system.admin.ask('reload').applied
            steps = system.admin.ask('provision', store='quick', apply=True).steps
            print(steps)
            assert not any(step.state in (pb.REFUSED, pb.BROKEN) for step in steps)
            wait_available('quick')  # the broker learns it a moment after the answer
            ctl('deprovision', 'quick')
    finally:
        CONFIG.unlink()
        ctl('reload')
