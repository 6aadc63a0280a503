"""How long the studio waits for the Hub, and what is said of it when it does not answer."""

from __future__ import annotations

from functools import cache
from typing import Any

from pipelines.errors import InputError
from pipelines.faults import causes, is_disk_full

PATIENCE = 15.0  # seconds without a word from the Hub; what it was asked is asked again up to five times
_WHERE = "model"
_RETRY = "Try again in a moment, or use the pocket pair; what is here already is kept."


@cache
def limit_waiting() -> None:
    """Let no request of this process wait for the Hub without end.

    huggingface_hub 2.4 asks for a repository and its list of files without any limit, and a second time for what a
    file is with one of a minute; a Hub that never answered would hold everybody up who asks for that model.
    """
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def limit(request: Any) -> None:
        asked = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            phase: PATIENCE if asked.get(phase) is None else min(PATIENCE, asked[phase])
            for phase in ("connect", "read", "write", "pool")
        }

    def client() -> Any:
        made = default_client_factory()
        hooks = made.event_hooks
        made.event_hooks = hooks | {"request": [*hooks["request"], limit]}
        return made

    set_client_factory(client)


def not_fetched(source: str, error: Exception) -> InputError:
    """What happened to a download, in a sentence with something to do."""
    from huggingface_hub.errors import HfHubHTTPError

    kinds = [type(one).__name__ for one in causes(error)]
    if is_disk_full(error):
        what = f"'{source}' does not fit on the disk of the Hub's cache"
        return InputError(what, _WHERE, "Make room there, or name another disk in HF_HOME, and try again.")
    if any("Timeout" in kind for kind in kinds):
        return InputError(f"the Hub did not answer in time for '{source}'", _WHERE, _RETRY)
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, HfHubHTTPError) and status >= 500:
        return InputError(f"the Hub has a fault of its own (status {status}); '{source}' did not come", _WHERE, _RETRY)
    if {"RemoteProtocolError", "ReadError"} & set(kinds) or "Consistency check failed" in str(error):
        return InputError(f"the connection was cut while '{source}' came", _WHERE, _RETRY)
    advice = "Check the connection, or use the pocket pair."
    return InputError(f"'{source}' could not be downloaded ({kinds[0]})", _WHERE, advice)
