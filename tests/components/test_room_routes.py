"""The room's routes: what they take, what they refuse, and what a page hears that follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from components.context import Studio
from components.room_routes import PATH, routes
from components.widgets.rooms import invitation, panel_html
from pipelines.errors import InputError
from pipelines.settings import Settings

ADA, BOB = "a" * 32, "b" * 32


@dataclass
class Doubles:
    """In place of what a room never asks, and of the runs that members start."""

    views: dict[str, Any]

    def view(self, run_id: str) -> Any:
        if run_id not in self.views:
            raise InputError(f"there is no run '{run_id}'")
        return self.views[run_id]


@pytest.fixture
def studio() -> Studio:
    double: Any = Doubles({})
    return Studio(Settings(), double, double, double)


@pytest.fixture
def desk(studio: Studio) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=list(routes(studio))), base_url="http://studio.example") as client:
        yield client


def ask(desk: TestClient, action: str, **values: Any) -> tuple[int, dict[str, Any]]:
    answer = desk.post(f"{PATH}/{action}", json=values)
    return answer.status_code, answer.json()


def started(desk: TestClient) -> tuple[str, str]:
    status, room = ask(desk, "start", visitor=ADA, place="problem", page="p")
    assert status == 200
    return room["code"], room["token"]


def test_members_join_and_only_the_presenter_moves(desk: TestClient, studio: Studio) -> None:
    code, token = started(desk)
    assert ask(desk, "join", visitor=BOB, code=code.lower()) == (200, {"code": code, "member": 1})
    status, said = ask(desk, "move", code=code, token=token, place="lora.proof", page="p")
    assert status == 200 and said["version"] > 1
    assert studio.rooms.find(code, BOB, "").place == "lora.proof"
    for wrong in ("", "no token", ADA):
        assert ask(desk, "move", code=code, token=wrong, place="lora", page="p") == (
            200,
            {"error": "Room: only the presenter can do this.", "gone": False},
        )
        assert "only the presenter" in ask(desk, "end", code=code, token=wrong)[1]["error"]


def test_who_follows_sees_everything_at_once_and_the_end(desk: TestClient, studio: Studio) -> None:
    code, token = started(desk)
    ask(desk, "join", visitor=BOB, code=code)
    ask(desk, "move", code=code, token=token, place="sft.predict", page="p")
    heard = []
    with desk.stream("POST", f"{PATH}/follow", json={"visitor": BOB, "code": code}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                heard.append(json.loads(line.removeprefix("data: ")))
                if len(heard) == 1:
                    studio.rooms.end(studio.rooms.find(code, BOB, ""))
    assert heard[0]["place"] == "sft.predict" and heard[0]["member"] == 1 and heard[0]["here"] is None
    assert heard[1] == {"error": "The presenter has ended the room."}
    assert ask(desk, "join", visitor=BOB, code=code)[1]["gone"] is True


def test_who_has_not_joined_follows_nothing(desk: TestClient) -> None:
    code, _ = started(desk)
    assert ask(desk, "follow", visitor=BOB, code=code) == (
        200,
        {"error": "Room: you are not in this room. Join it by its code.", "gone": False},
    )


@pytest.mark.parametrize(
    "body, what",
    [
        (b"", "this is not JSON"),
        (b"[1]", "this is not a JSON object"),
        (b"[" * 4000, "this is not JSON"),
        (b'{"visitor": "' + b"a" * 5000 + b'"}', "a request may have 4096 bytes"),
        (b'{"visitor": "somebody", "code": "AAAAA"}', "this browser has no id to be counted by"),
        (b'{"visitor": 7, "code": "AAAAA"}', "visitor: is to be a text of at most 32 characters"),
    ],
)
def test_what_is_no_request_is_refused_in_one_sentence(desk: TestClient, body: bytes, what: str) -> None:
    answer = desk.post(f"{PATH}/join", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400) and what in answer.json()["error"]


def test_a_vote_is_a_whole_number(desk: TestClient) -> None:
    code, _ = started(desk)
    ask(desk, "join", visitor=BOB, code=code)
    for choice in ("1", 1.5, True, None, 2**40):
        status, said = ask(desk, "vote", visitor=BOB, code=code, question=1, choice=choice)
        assert (status, said["error"]) == (200, "choice: is to be a whole number.")


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"origin": "http://studio.example"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://class.example", "x-forwarded-host": "class.example"}, 200),
        ({"origin": "http://elsewhere.example"}, 400),
        ({"origin": "null"}, 400),
        ({"origin": "http://studio.example", "sec-fetch-site": "cross-site"}, 400),
        ({"content-type": "text/plain"}, 400),
    ],
)
def test_only_the_studios_own_pages_may_ask(desk: TestClient, headers: dict[str, str], status: int) -> None:
    body = json.dumps({"visitor": ADA, "place": "problem"})
    answer = desk.post(f"{PATH}/start", content=body, headers={"content-type": "application/json"} | headers)
    assert answer.status_code == status and ("error" in answer.json()) is (status == 400)


def test_the_invitation_is_an_svg_of_the_rooms_address() -> None:
    address = "https://class.example/studio/?room=CDFGH"
    invited = invitation(address, "CDFGH", "127.0.0.1")
    assert invited["address"] == address and invited["advice"] == ""
    svg = ElementTree.fromstring(invited["qr"])
    assert svg.get("role") == "img" and svg.get("aria-label") == f"QR code of {address}"
    assert "--host 0.0.0.0" in invitation("http://127.0.0.1:7860/?room=CDFGH", "CDFGH", "127.0.0.1")["advice"]
    for wrong in ("javascript:alert(1)", "http://", "http://class.example/?room=XXXXX", "http://[/?room=CDFGH", ""):
        with pytest.raises(InputError, match="address"):
            invitation(wrong, "CDFGH", "127.0.0.1")


def test_a_studio_that_others_can_reach_invites_by_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.widgets.rooms._own_address", lambda: "192.168.1.20")
    invited = invitation("http://localhost:7860/?room=CDFGH", "CDFGH", "0.0.0.0")
    assert invited["address"] == "http://192.168.1.20:7860/?room=CDFGH" and invited["advice"] == ""


def test_the_panel_names_every_field_and_says_what_is_kept() -> None:
    panel = panel_html()
    assert "Nothing is stored; the room is gone when it ends." in panel
    for field in ("room-code", "room-name"):
        assert f'<label for="{field}"' in panel and f'id="{field}"' in panel
