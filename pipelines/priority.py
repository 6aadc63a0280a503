"""Who goes first where two processes want a core: the studio, before what trains or proves for it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

GIVES_WAY = 5  # niceness: of a core that both want, the studio gets three quarters; alone, a run gets all of it


def give_way() -> None:
    """Let the studio's own process go first, so that a page answers while a run trains. For a process of its own.

    Linux may share out the cores by session first (`sched_autogroup_enabled`, see sched(7)), and every run has a
    session of its own: then the niceness of the session is the one that counts.
    """
    if not hasattr(os, "nice"):
        return
    os.nice(max(0, GIVES_WAY - os.nice(0)))
    if os.getsid(0) != os.getpid():
        return  # it would speak for all that share its terminal
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(GIVES_WAY))
