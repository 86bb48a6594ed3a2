# SPDX-License-Identifier: BSD-3-Clause
"""Programs that other users shall run."""

import atexit
import pathlib
import shutil
import tempfile


def reachable_by_all(path):
    """The program, or a copy of it where other users may run it: a checkout may be private."""
    path = path.absolute()
    if not path.exists() or all(p.stat().st_mode & 1 for p in [path, *path.parents]):
        return path
    place = pathlib.Path(tempfile.mkdtemp(prefix='pmb-ctl-'))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o755)
    return pathlib.Path(shutil.copy(path, place))
