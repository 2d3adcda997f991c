"""Named points at which a fault test may kill the process.

`PAIDAN_FAILPOINT=relay.after_send:3` kills the process by SIGKILL when it reaches that point for the third time. Without the variable a
point costs one comparison.
"""

from __future__ import annotations

import itertools
import os
import signal

_NAME, _, _COUNT = os.environ.get("PAIDAN_FAILPOINT", "").partition(":")
_KILL_AT = int(_COUNT or 1)
_reached = itertools.count(1)


def reach(name: str) -> None:
    """Pass the point `name`; does not return if the process is to die here."""
    if name == _NAME and next(_reached) >= _KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)
