"""Pictures of the lesson's beats: every one into a folder that is looked through, a few for the documentation.

Called by `python -m tests.browser.screenshots --only lesson [--out FOLDER]`.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, Page

from pipelines.teaching.places import PLACES

SIZES = {"desktop": (1440, 900), "wide": (1280, 720), "projector": (1024, 768), "phone": (390, 844)}
SCHEMES = ("light", "dark")
PATIENCE = 600_000  # milliseconds; the first time, every demonstration is run and every proof measured
# What the documentation shows: place, size and scheme.
KEPT = (
    ("problem.analogy", "desktop", "light"),
    ("problem.predict", "desktop", "light"),
    ("problem.demonstration", "desktop", "light"),
    ("lora.proof", "desktop", "dark"),
    ("qlora.demonstration", "phone", "light"),
)
PER_SHEET, COLUMNS = 20, 4


def few(browser: Browser, url: str, into: Path) -> None:
    """docs/screenshots/lesson-<stage>-<beat>-<size>-<scheme>.png of KEPT."""
    for place, size, scheme in KEPT:
        page = _opened(browser, url, size, scheme)
        _at(page, place)
        page.screenshot(path=into / f"lesson-{place.replace('.', '-')}-{size}-{scheme}.png")
        page.context.close()


def every(browser: Browser, url: str, out: Path, stages: list[str]) -> None:
    """out/<size>-<scheme>/<number>-<place>.png of each beat, and out/<size>-<scheme>-<n>.png with twenty of them."""
    for size, (width, height) in SIZES.items():
        for scheme in SCHEMES:
            folder = out / f"{size}-{scheme}"
            folder.mkdir(parents=True, exist_ok=True)
            page = _opened(browser, url, size, scheme)
            taken = []
            for place in PLACES:
                if place.stage in stages:
                    _at(page, str(place))
                    taken.append(folder / f"{place.number:02d}-{place}.png")
                    page.screenshot(path=taken[-1])
                    over = page.evaluate(_OVER)
                    if over:
                        print(f"{size} {scheme} {place}: {over}")
            page.context.close()
            for at in range(0, len(taken), PER_SHEET):
                sheet = out / f"{folder.name}-{at // PER_SHEET + 1}.png"
                _sheet(browser, taken[at : at + PER_SHEET], sheet, width / height)


# What has to be scrolled to, and what is wider than the window.
_OVER = """() => {
  const beat = document.querySelector("#beat"), found = [];
  if (beat.scrollHeight > beat.clientHeight + 1) found.push(`${beat.scrollHeight - beat.clientHeight} px below`);
  if (document.querySelector("#presentation").scrollWidth > innerWidth) found.push("wider than the window");
  if (beat.scrollWidth > beat.clientWidth) found.push("the beat is wider than its box");
  return found.join(", ");
}"""


def _opened(browser: Browser, url: str, size: str, scheme: str) -> Page:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.locator(".lesson-play").wait_for()
    page.wait_for_timeout(1500)
    return page


def _at(page: Page, place: str) -> None:
    page.evaluate("place => studioBeat.go(place)", place)
    page.locator(f'#presentation[data-place="{place}"][data-done="true"] .beat').wait_for()
    page.wait_for_timeout(300)


def _sheet(browser: Browser, pictures: list[Path], sheet: Path, ratio: float) -> None:
    """The pictures side by side under their names."""
    width = 480 if ratio > 1 else 300
    cells = "".join(
        f'<figure style="margin:0"><img style="width:100%;border:1px solid #888" src="{picture.resolve().as_uri()}">'
        f'<figcaption style="font:12px sans-serif">{picture.stem}</figcaption></figure>'
        for picture in pictures
    )
    page = browser.new_page(viewport={"width": COLUMNS * (width + 8), "height": 400})
    source = sheet.with_suffix(".html")
    source.write_text(f'<div style="display:grid;gap:8px;grid-template-columns:repeat({COLUMNS},1fr)">{cells}</div>')
    page.goto(source.resolve().as_uri())
    page.screenshot(path=sheet, full_page=True)
    page.close()
    source.unlink()
