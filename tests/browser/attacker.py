"""A browser that types payloads into whatever a page lets it, and notes what they do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, ElementHandle, Error, Page

from tests.browser.conftest import LEAVING
from tests.payloads import PAYLOADS, Attacked, joined

SLOW = 60_000  # milliseconds; a machine that runs other tests at the same time is slow

# The next field that can be typed into and was not tried yet, whatever it is made of.
_NEXT = """() => {
  const tried = (globalThis.triedFields ??= new WeakSet());
  const kinds = ["text", "search", "url", "email", "tel", "password"];
  const open = document.querySelector("dialog[open]");
  const field = [...document.querySelectorAll(
    'textarea, input, [contenteditable="true"], [role="grid"][aria-readonly="false"] [data-row="0"][role="gridcell"]')]
    .find((one) => !tried.has(one) && one.checkVisibility() && (!open || open.contains(one))
      && !(one.localName === "input" && !kinds.includes(one.type)) && !one.readOnly && !one.disabled);
  if (!field) return null;
  tried.add(field);
  return field;
}"""
_NAME = """(field) => field.getAttribute("aria-label") || field.labels?.[0]?.innerText.split("\\n")[0]
  || field.closest(".block")?.querySelector("label, [data-testid=block-info], span")?.innerText.split("\\n")[0]
  || field.dataset.testid || field.placeholder || field.localName"""


@dataclass(slots=True)
class Attacker:
    """A browser context that types payloads, and notes what they do."""

    context: BrowserContext
    attacked: Attacked = field(default_factory=Attacked)
    tried: list[str] = field(default_factory=list)
    _asking: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.attacked.watch(self.context)
        self.context.set_default_timeout(SLOW)
        follows = ("/rooms/follow", "/heartbeat/")
        self.context.on(
            "request", lambda one: None if any(path in one.url for path in follows) else self._asking.add(str(id(one)))
        )
        for event in ("requestfinished", "requestfailed"):
            self.context.on(event, lambda one: self._asking.discard(str(id(one))))

    def open(self, address: str) -> Page:
        self._asking.clear()  # of a page that was closed
        page = self.context.new_page()
        page.goto(address)
        page.get_by_role("tab").nth(7).wait_for()
        self.settle(page)
        return page

    def settle(self, page: Page, longest: float = 8.0) -> None:
        """Until nothing is asked for any more."""
        calm, deadline = 0, time.monotonic() + longest
        while calm < 3 and time.monotonic() < deadline:
            page.wait_for_timeout(80)
            calm = 0 if self._asking else calm + 1

    def look(self, page: Page, where: str) -> bool:
        """Note what stands in the page; whether it says that something is wrong, which is then put away."""
        self.attacked.look(page, where)
        told = page.locator("[data-testid=toast-close]")
        wrong = told.count() > 0
        told.evaluate_all("(all) => all.forEach((close) => close.click())")
        return wrong

    def fields(self, page: Page, where: str) -> None:
        """Every payload into every field that can be seen, and what the page makes of each."""
        while (found := self._next(page)) is not None:
            name = f"{where}: {found.evaluate(_NAME)}"
            self.tried.append(name)
            self._fill(page, found, name)

    def _next(self, page: Page) -> ElementHandle | None:
        found = page.evaluate_handle(_NEXT).as_element()
        if found is None:  # what was unfolded may still be on its way into the page
            page.wait_for_timeout(1_500)
            found = page.evaluate_handle(_NEXT).as_element()
        return found

    def press(self, page: Page, where: str, names: list[str]) -> None:
        """The buttons of a tab, one after the other."""
        for name in names:
            button = page.locator(f"#stage-{where}").get_by_role("button", name=name, exact=True).first
            with contextlib.suppress(Error):  # not to be pressed as things stand
                button.click(timeout=3_000)
            self.settle(page, 20.0)
            self.look(page, f"{where}: {name}")

    def nothing(self) -> None:
        known = (*LEAVING, "NetworkError", "Failed to fetch")
        self.attacked.errors = [text for text in self.attacked.errors if not any(one in text for one in known)]
        self.attacked.nothing()

    def _fill(self, page: Page, found: ElementHandle, name: str) -> None:
        kind = found.evaluate("(field) => field.localName")
        longest = int(found.get_attribute("maxlength") or 0) or None
        before = found.input_value() if kind in ("input", "textarea") else found.inner_text()
        texts = joined(longest)
        for number, text in enumerate(texts):
            if kind in ("input", "textarea"):
                found.fill(text)
            else:
                found.dblclick() if kind == "div" and found.get_attribute("role") == "gridcell" else found.click()
                if found.get_attribute("contenteditable"):
                    page.keyboard.press("Control+a")
                page.keyboard.insert_text(text)
            if not found.get_attribute("contenteditable"):
                page.keyboard.press("Enter")
            # Of the many small texts of a short field, ten are looked at together.
            if len(texts) > 10 and number % 10 != 9 and number != len(texts) - 1:
                continue
            found.evaluate("(field) => field.blur()")
            self.settle(page)
            if self.look(page, name) and kind in ("input", "textarea"):
                found.fill(before)
                found.press("Enter")
                found.evaluate("(field) => field.blur()")
                self.settle(page)
                self.look(page, name)


@contextlib.contextmanager
def attacking(chromium: Browser) -> Iterator[Attacker]:
    """A browser of its own; fails at the end if any payload did anything."""
    context = chromium.new_context()
    attacker = Attacker(context)
    yield attacker
    context.close()
    print(f"\n{len(PAYLOADS)} payloads × {len(attacker.tried)} fields and views")
    attacker.nothing()


def unfold(page: Page, stage: str) -> None:
    """Open all that is folded away in a tab."""
    folded = f"#stage-{stage} .label-wrap:not(.open), #stage-{stage} details:not([open]) > summary"
    page.locator(folded).evaluate_all("(all) => all.forEach((one) => one.click())")
