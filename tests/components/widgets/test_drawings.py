"""The drawings: well-formed, escaped, named, and true to scale: sizes are to each other as the numbers are."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from components.widgets.drawings import drawing_html
from components.widgets.drawings.stacks import sizes
from pipelines.loss_mask import MaskedToken
from pipelines.models import ModelManager
from pipelines.road import OwnStage
from pipelines.settings import Settings
from pipelines.stages import STAGES
from pipelines.teaching.figures import (
    Circle,
    CircleFigures,
    Line,
    MaskFigures,
    MatrixFigures,
    QuizFigures,
    ScreenplayFigures,
    figures,
)

PAYLOAD = '<img src=x onerror="alert(1)">&${x}'
QUIZ = QuizFigures("Who?", "B", "\nWhat?\nWhy?", 9, False, "I", "Me.", 3, True)
TOKENS = (
    MaskedToken(1, "<|user|>", "user", False, None),
    MaskedToken(2, "Who", "user", False, 8.0),
    MaskedToken(3, " me", "assistant", True, 2.0),
)
CIRCLES = CircleFigures(
    tuple(Circle(f"set {n}", rows, "rows", "human", "") for n, rows in enumerate((9_000_000, 640_000, 90_000, 1_000))),
    3,
)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The records of the shipped pair that need no model, by stage."""
    manager = ModelManager(Settings(device="cpu"))
    return {stage: figures(stage, manager) for stage in ("data", "lora", "qlora", "practice", "base-vs-chat")} | {
        "problem": QUIZ,
        "sft": MaskFigures("B", "I", TOKENS, 2.0, 5.0, 0.1),
        "templates": ScreenplayFigures("I", (Line("user", True, "<u>"), Line("user", False, "Who?")), True),
    }


def parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html)


def of_class(tree: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [node for node in tree.iter() if name in node.get("class", "").split()]


@pytest.mark.parametrize("stage", [stage.key for stage in STAGES])
def test_each_is_a_figure_with_a_caption_and_its_source(made, stage):
    tree = parsed(drawing_html(stage, made[stage]))
    assert tree.tag == "figure" and tree.get("class", "").split()[0] == "drawing"
    (caption,) = tree.iter("figcaption")
    source = "".join(caption.find(".//small").itertext())  # type: ignore[union-attr]
    assert re.search("Measured|measured|Computed|Sizes from|No losses|Rendered", source)


@pytest.mark.parametrize("stage", [stage.key for stage in STAGES])
def test_every_picture_has_a_name_and_ids_differ_between_places(made, stage):
    trees = [parsed(drawing_html(stage, made[stage], where)) for where in ("tab", "beat")]
    ids: list[str] = []
    for tree in trees:
        for svg in tree.iter("svg"):
            named = svg.get("aria-labelledby")
            assert svg.get("role") == "img" and any(node.get("id") == named and node.text for node in svg)
        ids += [node.get("id", "") for node in tree.iter() if node.get("id")]
    assert len(ids) == len(set(ids))


def test_what_models_and_templates_write_is_escaped(made):
    stage, _ = made["base-vs-chat"].stages[0]
    look = made["practice"].shown[0]
    told = replace(look, answers={PAYLOAD: PAYLOAD})
    hostile = {
        "problem": QuizFigures(PAYLOAD, PAYLOAD, f"{PAYLOAD}\n{PAYLOAD}?", 9, False, PAYLOAD, PAYLOAD, 3, True),
        "sft": MaskFigures(PAYLOAD, PAYLOAD, (MaskedToken(1, PAYLOAD, PAYLOAD, True, 1.0),), 1.0, 1.0, 1.0),
        "data": CircleFigures((Circle(PAYLOAD, 9, PAYLOAD, "human", PAYLOAD),) * 6, 0),
        "templates": ScreenplayFigures(PAYLOAD, tuple(Line(PAYLOAD, c, PAYLOAD) for c in (True, False)), True, PAYLOAD),
        "lora": MatrixFigures(64, 4, PAYLOAD, 5, 5.0),
        "qlora": replace(made["qlora"], model=PAYLOAD),
        "practice": replace(made["practice"], prompt=PAYLOAD, shown=(told, told)),
        "base-vs-chat": replace(
            made["base-vs-chat"],
            stages=((replace(stage, title=PAYLOAD), OwnStage(PAYLOAD, PAYLOAD, PAYLOAD, 3.0)),) * 2,
        ),
    }
    for key, record in hostile.items():
        html = drawing_html(key, record)
        assert "<img" not in html, key
        assert not list(parsed(html).iter("img")), key


def test_circles_have_areas_as_their_rows():
    tree = parsed(drawing_html("data", CIRCLES))
    for svg in tree.iter("svg"):
        radii = [float(node.get("r", 0)) for node in svg.iter("circle")]
        rows = [circle.rows for circle in CIRCLES.circles]
        assert len(radii) == len(rows)
        for radius, amount in zip(radii, rows, strict=True):
            assert (radius / radii[0]) ** 2 == pytest.approx(amount / rows[0], rel=1e-3)


def test_the_thin_matrices_are_as_thin_as_their_rank(made):
    for svg in parsed(drawing_html("lora", made["lora"])).iter("svg"):
        (whole,) = of_class(svg, "frozen")
        b, a, square = of_class(svg, "trained")
        side = float(whole.get("width", 0))
        assert float(b.get("width", 0)) / side == pytest.approx(16 / 4096, rel=1e-3)
        assert float(a.get("height", 0)) / side == pytest.approx(16 / 4096, rel=1e-3)
        assert float(b.get("height", 0)) == float(a.get("width", 0)) == side
        assert (float(square.get("width", 0)) / side) ** 2 == pytest.approx(1 / 128, rel=1e-3)


def test_stacks_are_as_high_as_their_bytes_and_gpus_stand_on_the_same_scale(made):
    drawn = made["qlora"]
    for svg in parsed(drawing_html("qlora", drawn)).iter("svg"):
        ground = float(of_class(svg, "ground")[0].get("y1", 0))
        bars = [node for node in svg.iter("rect") if float(node.get("width", 0)) > 20]
        scale = sum(float(node.get("height", 0)) for node in bars[:4]) / drawn.stacks[0].estimate.total
        amounts = [amount for stack in drawn.stacks for _, amount in sizes(stack.estimate)]
        for node, amount in zip(bars, amounts, strict=True):
            assert float(node.get("height", 0)) == pytest.approx(amount * scale, abs=1e-3)
        for node, gpu in zip(of_class(svg, "limit"), drawn.gpus, strict=True):
            assert ground - float(node.get("y1", 0)) == pytest.approx(gpu.gib * 2**30 * scale, abs=0.1)


def test_parts_of_a_stack_add_up_to_the_estimate(made):
    for stack in made["qlora"].stacks:
        assert sum(amount for _, amount in sizes(stack.estimate)) == stack.estimate.total


def test_the_curve_passes_through_every_look(made):
    run = made["practice"].run
    for svg in parsed(drawing_html("practice", made["practice"])).iter("svg"):
        points = [tuple(map(float, point.split(","))) for point in svg.find("polyline").get("points").split()]  # type: ignore[union-attr]
        (left, ground), (right, _) = points[0], points[-1]
        tall = (ground - points[-1][1]) / run.looks[-1].accuracy
        for (x, y), look in zip(points, run.looks, strict=True):
            assert (x - left) / (right - left) == pytest.approx(look.step / run.steps, abs=1e-3)
            assert (ground - y) / tall == pytest.approx(look.accuracy, abs=1e-3)


def test_squares_have_areas_as_their_bills(made):
    tree = parsed(drawing_html("base-vs-chat", made["base-vs-chat"]))
    sides = [float(node.get("width", 0)) for node in of_class(tree, "bill")]
    bills = [bill for stage, own in made["base-vs-chat"].stages for bill in (stage.dollars, own.seconds)]
    for column in (0, 1):
        first = sides[column]
        for side, bill in zip(sides[column::2], bills[column::2], strict=True):
            assert side / first == pytest.approx(math.sqrt(bill / bills[column]), abs=1e-4)


def test_bars_are_as_high_as_the_losses_and_only_supervised_tokens_are_lit(made):
    tree = parsed(drawing_html("sft", made["sft"]))
    tokens = [node for row in of_class(tree, "tokens") for node in of_class(row, "token")]
    heights = [re.findall(r"height:([\d.]+)%", ElementTree.tostring(node, "unicode")) for node in tokens]
    assert heights == [[], ["100.00"], ["25.00"]]
    assert ["is-on" in node.get("class", "") for node in tokens] == [False, False, True]


def test_without_losses_there_are_no_bars_and_a_sentence_says_why():
    bare = tuple(replace(token, loss=None) for token in TOKENS)
    html = drawing_html("sft", MaskFigures("B", "I", bare, missing="No losses: far away."))
    assert "has-no-bars" in html and "No losses: far away." in html and "height:" not in html


def test_a_base_that_stays_on_the_line_is_drawn_on_it():
    html = drawing_html("problem", replace(QUIZ, continued=" Me, I think.", base_ended=True))
    assert 'Who?<span class="quiz-begun"> Me, I think.</span>' in html
    assert "stopped by itself after 9 tokens" in html
