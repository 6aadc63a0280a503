"""The fine-tuning studio: `python studio.py`, then open the printed address."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import sys
import threading

from components.context import Studio
from components.journal import record
from pipelines.errors import InputError
from pipelines.faults import cannot_write
from pipelines.settings import Settings, parse_settings


def main() -> int:
    """Serve the page until the process is told to end; returns the exit status."""
    settings = parse_settings(sys.argv[1:], os.environ)
    try:
        studio = Studio.of(settings)
    except InputError as error:
        print(f"studio.py: {error}", file=sys.stderr)
        return 2
    if closed := cannot_write(settings.runs_dir):
        print(f"studio.py: {closed}: no run can be started; everything else works", file=sys.stderr)
    if taken := _why_not_listen(settings):
        print(f"studio.py: {taken}", file=sys.stderr)
        return 1
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())

    # Read by Gradio when it is imported. It asks the internet for its newest version unless told not to, and
    # summarises its statistics of all events so far after every event.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000")
    # Nothing made while starting is ever garbage; looking for some would take a tenth of the time.
    gc.disable()
    from components import app

    page = app.build(studio)
    try:
        app.serve(page, studio)
        record("serving", port=settings.port, pair=settings.pair, public=settings.public, locked=bool(settings.auth))
        gc.freeze()
        gc.enable()
        studio.warm_up()
        wait(ended)
    finally:
        studio.close()
        page.close()
        record("ended")
    return 0


def wait(ended: threading.Event) -> None:
    """Return when `ended` is set, by a signal too.

    Python runs a signal's handler in the main thread, and a wait without end is only interrupted when that very thread
    receives the signal after the wait began; one in twenty SIGTERMs just after the start was never heard.
    """
    while not ended.wait(timeout=0.5):
        pass


def _why_not_listen(settings: Settings) -> str:
    """Empty when the port is free, else one sentence. Asked before the slow imports, to come at once."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        return (
            f"cannot listen on {settings.host}:{settings.port} ({(error.strerror or str(error)).lower()}); "
            f"choose another port, for example --port {settings.port % 65535 + 1}"
        )
    return ""


def leave(status: int) -> None:
    """End the process, skipping Python's finalization.

    It ends daemon threads where they next ask for the interpreter: one that comes back from a computation in torch is
    then unwound through C++ that forbids it, and the process aborts (status −6, now and then on a busy machine).
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
