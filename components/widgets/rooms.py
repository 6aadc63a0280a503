"""A room as markup: the panel that room.js drives, and the invitation with its QR code."""

from __future__ import annotations

import ipaddress
import socket
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from pipelines.errors import InputError
from pipelines.teaching.room import MAX_NAME
from pipelines.teaching.rooms import LENGTH

PRIVACY = "No accounts. Nothing is stored; the room is gone when it ends."


def panel_html() -> str:
    """The button beside the running pair, and the dialog it opens; everything else is filled in by room.js."""
    return f"""
<button type="button" class="room-open" data-room-do="panel" aria-haspopup="dialog">Room</button>
<dialog class="room-panel" aria-labelledby="room-title">
  <header><h2 id="room-title">A room</h2>
    <button type="button" class="room-close" data-room-do="close" aria-label="Close">×</button></header>
  <div data-room-when="out">
    <p>Give the lesson to a room: everybody who joins follows your steps on a phone or laptop, predicts before you
      reveal, and takes part in the leaderboard.</p>
    <p class="room-actions"><button type="button" class="room-primary" data-room-do="start">Start a room</button></p>
    <form class="room-join" data-room-do="join">
      <label for="room-code">Or join one by its code</label>
      <div class="room-fields"><input id="room-code" name="code" required maxlength="12" autocomplete="off"
        autocapitalize="characters" spellcheck="false" placeholder="{"·" * LENGTH}" size="{LENGTH + 2}">
        <button type="submit">Join</button></div>
    </form>
  </div>
  <div data-room-when="presenter" hidden>
    <div class="room-invite">
      <div class="room-qr" data-room-fill="qr"></div>
      <div>
        <p class="room-hint">Point a camera at it, or open</p>
        <p class="room-address" data-room-fill="address"></p>
        <p class="room-hint">or press “Room” in the studio and type</p>
        <p class="room-code" data-room-fill="code"></p>
        <p class="room-here"><b data-room-fill="here">0</b> <span data-room-fill="people">people are here</span></p>
        <p class="room-advice" data-room-fill="advice"></p>
      </div>
    </div>
  </div>
  <div data-room-when="member" hidden>
    <p class="room-where">You are in room <b data-room-fill="code"></b> as <b data-room-fill="name"></b>.</p>
    <form class="room-name" data-room-do="name">
      <label for="room-name">A name for the leaderboard, if you like</label>
      <div class="room-fields"><input id="room-name" name="name" maxlength="{MAX_NAME}" autocomplete="off">
        <button type="submit">Use it</button></div>
    </form>
  </div>
  <section class="room-board" data-room-fill="board" aria-label="Leaderboard" hidden></section>
  <p class="room-said" role="alert" data-room-fill="said"></p>
  <footer><p class="room-privacy">{escape(PRIVACY)}</p>
    <button type="button" data-room-when="presenter" data-room-do="end" hidden>End the room</button>
    <button type="button" data-room-when="member" data-room-do="leave" hidden>Leave</button></footer>
</dialog>
<p class="room-live" role="status" data-room-fill="live"></p>
"""


def invitation(address: str, code: str, host: str) -> dict[str, Any]:
    """The address that opens the room, its QR code as inline SVG, and advice where other devices cannot reach it.

    address: as the presenter's browser has it; host: what the studio listens on
    Raises InputError for anything but an address of a page that names this room.
    """
    try:
        parts = urlsplit(address)
        host_name, port = parts.hostname or "", parts.port
    except ValueError:
        host_name = ""
    if not host_name or parts.scheme not in ("http", "https") or parse_qs(parts.query).get("room") != [code]:
        raise InputError("is not one of this room", "address")
    advice = ""
    if _is_loopback(host_name):
        own = _own_address() if host in ("0.0.0.0", "::") else ""
        if own:
            netloc = f"{own}:{port}" if port else own
            address = urlunsplit(parts._replace(netloc=netloc))
        else:
            advice = (
                "This address is of this machine alone. Start the studio with `--host 0.0.0.0`, and phones in the "
                "same network can open it."
            )
    return {"address": address, "qr": qr_svg(address), "advice": advice}


def qr_svg(address: str) -> str:
    """The QR code of an address, as an SVG that takes the size of its box. Dark on light in either theme, as scanners
    expect, with the quiet zone of four modules that the standard asks for."""
    import segno

    svg: str = segno.make(address, error="m", micro=False).svg_inline(
        border=4, dark="#000", light="#fff", omitsize=True, svgclass=None, lineclass=None
    )
    name = escape(f"QR code of {address}", quote=True)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_address() -> str:
    """This machine's address in its network; empty without one. Connecting a datagram socket sends nothing."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: an address that is nobody's
            own = str(probe.getsockname()[0])
    except OSError:
        return ""
    return "" if _is_loopback(own) or own == "0.0.0.0" else own
