"""What is known of a server: the models it lists, under which names it has ours, and how many alternatives it gives."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from typing import Any

from pipelines.errors import InputError
from pipelines.remote.client import CONNECT, WHERE, Client, Refused

_FRESH = 10.0  # seconds that a list of models is good for
_FAILED = 3.0  # seconds that a failure to list them is
_LISTED = CONNECT + 10.0  # seconds until listing is given up
_FEWER = (20, 10, 5)  # alternatives that servers allow: vLLM's default, ours, OpenAI's for completions and TGI's


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of `/v1/models`. `parent`: the name of the base that it is an adapter of, where the server says so."""

    name: str
    parent: str = ""


class Server:
    """One server, shared by everybody who asks this studio."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answering = 0  # answers under way
        self._most: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._models: tuple[Listed, ...] = ()
        self._trouble: InputError | None = None

    def listed(self) -> tuple[Listed, ...]:
        """What the server has now; empty when it does not list models. Raises InputError when it cannot be asked."""
        with self._lock:
            if time.monotonic() - self._looked > (_FAILED if self._trouble else _FRESH):
                try:
                    self._models, self._trouble = self._ask(), None
                except InputError as error:
                    self._trouble = error
                self._looked = time.monotonic()
            trouble = self._trouble
        if trouble is not None:
            raise InputError(trouble.what, trouble.where, trouble.advice)
        return self._models

    @property
    def trouble(self) -> str:
        """Why it cannot be asked now, without its advice; empty when it can."""
        try:
            self.listed()
        except InputError as error:
            return error.what
        return ""

    def name_of(self, wanted: str) -> str:
        """The listed name of a model that may be known here by a Hub id or a folder: the same, or the same last part.

        Raises InputError naming what is listed when there is none, or more than one.
        """
        names = [each.name for each in self.listed()]
        if not names or wanted in names:
            return wanted
        alike = [name for name in names if _last(name) == _last(wanted)]
        if len(alike) == 1:
            return alike[0]
        shown = ", ".join(names[:20])
        raise InputError(
            f"the server at {self.client.shown} has no model '{wanted}'",
            WHERE,
            f"It lists: {shown}. Start the studio with two of them as --pair BASE,INSTRUCT.",
        )

    async def stream(self, path: str, body: dict[str, Any], noted: int) -> AsyncGenerator[Any, None]:
        """Replies to a request, with as many alternatives as the server gives, `noted` at most."""
        rungs = self._rungs(path, body, noted)
        for place, count in enumerate(rungs):
            begun = False
            try:
                async with contextlib.aclosing(self.client.stream(path, body | asking(path, count))) as replies:
                    async for reply in replies:
                        begun = True
                        yield reply
            except Refused as error:
                if begun or not _perhaps_of_the_count(error):
                    raise
                if place == len(rungs) - 1:
                    raise _said(error, body) from error
                continue
            self._remember(path, body, place, count)
            return

    async def once(self, path: str, body: dict[str, Any], noted: int) -> Any:
        """The one reply to a request that is not streamed, otherwise as `stream`."""
        rungs = self._rungs(path, body, noted)
        for place, count in enumerate(rungs):
            try:
                reply = await self.client.post(path, body | asking(path, count))
            except Refused as error:
                if not _perhaps_of_the_count(error) or place == len(rungs) - 1:
                    raise
                continue
            self._remember(path, body, place, count)
            return reply
        raise AssertionError("the last rung returns or raises")

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """Count an answer while it is under way; in the loop only."""
        self.answering += 1
        try:
            yield
        finally:
            self.answering -= 1

    def _rungs(self, path: str, body: dict[str, Any], noted: int) -> list[int]:
        """How many alternatives to ask for, in turn: a server that refuses some refuses the whole request."""
        if not noted:
            return [0]
        most = min(noted, self._most.get((path, body["model"]), noted))
        return [most, *(count for count in _FEWER if count < most), *([0] if most else [])]

    def _remember(self, path: str, body: dict[str, Any], place: int, count: int) -> None:
        if place:
            self._most[path, body["model"]] = count

    def _ask(self) -> tuple[Listed, ...]:
        asking = self.client.start(self.client.get("models"))
        try:
            reply = asking.result(_LISTED)
        except NotInTime:
            asking.cancel()
            what = f"the server at {self.client.shown} does not list its models within {_LISTED:.0f} s"
            raise InputError(what, WHERE, "Ask again when it has started.") from None
        except Refused as error:
            if error.status == 404:
                return ()
            raise
        found = reply.get("data") if isinstance(reply, dict) else None
        if not isinstance(found, list):
            raise InputError(f"{self.client.shown} lists no models", WHERE, "Check --endpoint: most end in /v1.")
        rows = [row for row in found if isinstance(row, dict) and isinstance(row.get("id"), str) and row["id"].strip()]
        return tuple(Listed(row["id"], str(row.get("parent") or "")) for row in rows)


def asking(path: str, count: int) -> dict[str, Any]:
    """The fields that ask for the probabilities of each token and of `count` alternatives; none for 0."""
    if not count:
        return {}
    return {"logprobs": True, "top_logprobs": count} if path.startswith("chat") else {"logprobs": count}


def _perhaps_of_the_count(error: Refused) -> bool:
    return error.status in (400, 413, 422, 501)


def _said(error: Refused, body: dict[str, Any]) -> InputError:
    if "continue_final_message" not in body:
        return error
    return InputError(
        f"this server does not go on inside an answer to a conversation ({error.what})",
        "model",
        "It would as plain text, if this machine had the tokenizer: name a folder with it in --pair.",
    )


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower().removesuffix(".gguf")
