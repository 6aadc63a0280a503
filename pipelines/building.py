"""One model is made at a time in this process.

While transformers or PEFT makes a model, torch's default dtype is that model's, and that is one setting for all
threads: a model that another thread makes meanwhile gets its numbers. The embedded base was read in bfloat16 that way,
silently, when a configuration was built beside it (docs/decisions.md). A model's code is also imported when it is first
named, and two threads at once can meet half a module.
"""

from __future__ import annotations

import os
import threading

BUILDING = threading.Lock()
if hasattr(os, "register_at_fork"):  # a fork copies the lock, but not the thread that holds it
    os.register_at_fork(after_in_child=BUILDING._at_fork_reinit)  # type: ignore[attr-defined]
