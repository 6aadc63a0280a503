"""The rooms of a studio: their codes, who may present, and when they are gone. In memory only; nothing is written."""

from __future__ import annotations

import hmac
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable

from pipelines.errors import InputError
from pipelines.teaching.room import Room

MAX_ROOMS, MAX_OF_ONE = 20, 3  # in one studio, and of one browser in it
LONGEST = 12 * 3600.0  # seconds
EMPTY = 30 * 60.0  # seconds without anybody
# Neither vowels, so that no code is a word, nor what looks or sounds like another: 0O 1IL 2Z 5S 8B UV.
ALPHABET = "CDFGHJKMNPQRTWXY3479"
LENGTH = 5  # 3.2 million codes
# Wrong codes in a minute: of one browser, and of one address, which a whole class may share.
WRONG_BY_VISITOR, WRONG_BY_ADDRESS, MINUTE = 10, 300, 60.0
_MAX_WATCHED = 10_000  # visitors and addresses whose wrong codes are remembered for that minute
_WHERE = "Room"


class RoomGoneError(InputError):
    """There is no such room, or not any more."""


class Rooms:
    """One per studio; every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._rooms: dict[str, Room] = {}
        self._starters: dict[str, str] = {}  # of each code, which visitor started the room
        self._wrong: dict[str, deque[float]] = {}

    def start(self, place: str, visitor: str = "") -> Room:
        """A new room, whose token makes the presenter. Raises InputError when the studio has no place for one, or the
        visitor has started enough; "" is nobody in particular."""
        self.sweep()
        with self._lock:
            if len(self._rooms) >= MAX_ROOMS:
                raise InputError(f"{MAX_ROOMS} rooms are open in this studio", _WHERE, "Try again when one has ended.")
            own = sorted(code for code, starter in self._starters.items() if starter == visitor and code in self._rooms)
            if visitor and len(own) >= MAX_OF_ONE:
                raise InputError(f"{len(own)} rooms of yours are open ({', '.join(own)})", _WHERE, "End one of them.")
            code = next(code for code in iter(_new_code, "") if code not in self._rooms)
            now = self._clock()
            room = self._rooms[code] = Room(code, place, begun=now, touched=now)
            self._starters = {each: who for each, who in self._starters.items() if each in self._rooms} | {
                code: visitor
            }
            return room

    def find(self, typed: str, visitor: str, address: str, token: str = "") -> Room:
        """The room of a code that a person typed. Raises RoomGoneError for a wrong code, InputError after many.

        visitor, address: who asks, from where; both are remembered for a minute after a wrong code, and nowhere else
        token: of a presenter, who like a member is let in whatever others have typed from the same address
        """
        code = re.sub(r"[^A-Z0-9]", "", typed.upper())
        keys = {f"visitor {visitor}": WRONG_BY_VISITOR, f"address {address}": WRONG_BY_ADDRESS}
        self.sweep()
        with self._lock:
            now, room = self._clock(), self._rooms.get(code)
            if room is not None and (room.knows(visitor) or _same(room.token, token)):
                room.touched = now
                return room
            if any(len(self._recent(key, now)) >= most for key, most in keys.items()):
                raise InputError("too many wrong codes", _WHERE, "Wait a minute, then look at the code again.")
            if room is not None:
                room.touched = now
                return room
            if len(self._wrong) < _MAX_WATCHED:
                for key in keys:
                    self._wrong.setdefault(key, deque()).append(now)
        raise RoomGoneError(f"there is no room '{typed[:12]}'", _WHERE, "It has ended, or the code is another one.")

    def presented(self, code: str, token: str, address: str) -> Room:
        """The room, for who has its token. Raises InputError for anybody else."""
        room = self.find(code, "", address, token)
        if not _same(room.token, token):
            raise InputError("only the presenter can do this", _WHERE)
        return room

    def all(self) -> list[Room]:
        """The open rooms."""
        with self._lock:
            return list(self._rooms.values())

    def end(self, room: Room, why: str = "The presenter has ended the room.") -> None:
        """End it: its people are told, and nothing of it is kept."""
        with self._lock:
            self._rooms.pop(room.code, None)
        room.end(why)

    def sweep(self) -> int:
        """End the rooms whose time is over; returns how many are left."""
        now = self._clock()
        with self._lock:
            for key in [key for key in self._wrong if not self._recent(key, now)]:
                del self._wrong[key]
            rooms = list(self._rooms.values())
        for room in rooms:
            if room.followers:
                room.touched = now
            if now - room.begun >= LONGEST:
                self.end(room, "The room has ended: it was open for twelve hours.")
            elif now - room.touched >= EMPTY:
                self.end(room, "The room has ended: nobody was there for half an hour.")
        with self._lock:
            return len(self._rooms)

    def close(self) -> None:
        """End all rooms, with the studio."""
        for room in self.all():
            self.end(room, "The room has ended: the studio was closed.")

    def _recent(self, key: str, now: float) -> deque[float]:
        times = self._wrong.get(key, deque())
        while times and now - times[0] >= MINUTE:
            times.popleft()
        return times


def _new_code() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def _same(token: str, given: str) -> bool:
    return hmac.compare_digest(token.encode(), given.encode())
