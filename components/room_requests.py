"""What a page may ask of a room: small JSON objects, of the studio's own pages only, every value checked."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from components.visitors import known_visitor
from pipelines.errors import InputError
from pipelines.untrusted_json import read_json

MAX_BODY = 4096  # bytes
_WHERE = "Room"


class Asked:
    """The JSON object of a request; whoever reads a value of it gets it checked, or an InputError that names it."""

    def __init__(self, values: dict[str, Any], address: str) -> None:
        self._values, self.address = values, address

    @classmethod
    async def of(cls, request: Request) -> Asked:
        """Read the body, which is refused before more than `MAX_BODY` of it is kept."""
        check_origin(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise InputError("this is not JSON", _WHERE)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise InputError(f"a request may have {MAX_BODY} bytes", _WHERE)
        try:
            values = read_json(bytes(body))
        except ValueError:
            raise InputError("this is not JSON", _WHERE) from None
        if not isinstance(values, dict):
            raise InputError("this is not a JSON object", _WHERE)
        return cls(values, request.client.host if request.client else "")

    def text(self, name: str, longest: int) -> str:
        """A text; "" where it is missing."""
        value = self._values.get(name, "")
        if not isinstance(value, str) or len(value) > longest:
            raise InputError(f"is to be a text of at most {longest} characters", name)
        return value

    def number(self, name: str) -> int:
        """A whole number."""
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not -(2**31) < value < 2**31:
            raise InputError("is to be a whole number", name)
        return value

    @property
    def visitor(self) -> str:
        """The id that the browser keeps for itself."""
        return known_visitor(self.text("visitor", 32), _WHERE)

    @property
    def code(self) -> str:
        return self.text("code", 40)

    @property
    def token(self) -> str:
        """The presenter's; "" for anybody else."""
        return self.text("token", 64)


def logged_in(request: Request) -> bool:
    """Whether the browser has the cookie that Gradio gives who logs in."""
    app = request.app
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(request.cookies.get(name) in app.tokens for name in names)


def check_origin(request: Request) -> None:
    """Raises InputError for a request that a page of another site makes. Programs, which name no site, may ask."""
    said = request.headers.get("sec-fetch-site")  # browsers only say so under https and on loopback
    origin = request.headers.get("origin")
    if said is not None:
        own = said in ("same-origin", "none")
    elif origin is not None:
        hosts = {request.headers.get(name, "").lower() for name in ("host", "x-forwarded-host")} - {""}
        own = urlsplit(origin).netloc.lower() in hosts
    else:
        own = True
    if not own:
        raise InputError("another site's page may not ask this", _WHERE, "Open the studio itself.")
