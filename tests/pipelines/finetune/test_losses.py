"""The curve of a run as files: what is in the table, and a picture that any viewer takes."""

import csv
from dataclasses import replace
from xml.etree import ElementTree

from pipelines.finetune.losses import MAX_POINTS, losses_csv, losses_svg
from tests.components.widgets.test_runs import run_view

SVG = "{http://www.w3.org/2000/svg}"


def drawn(seen):
    return ElementTree.fromstring(losses_svg(seen))


def test_the_table_has_each_step_and_leaves_empty_what_was_not_measured():
    seen = run_view()
    rows = list(csv.DictReader(losses_csv(seen).splitlines()))
    steps = {point.step for point in seen.points} | {step for step, _ in seen.heldout} | {e.step for e in seen.evals}
    assert [int(row["step"]) for row in rows] == sorted(steps)
    by_step = {int(row["step"]): row for row in rows}
    for point in seen.points:
        assert float(by_step[point.step]["loss"]) == point.loss
    for look in seen.evals:
        assert float(by_step[look.step]["accuracy"]) == look.accuracy
    assert all(row["win_rate"] == "" for row in rows)


def test_the_picture_needs_nothing_but_itself():
    text = losses_svg(run_view())
    for foreign in ("<script", "<style", "href", "url(", "class="):
        assert foreign not in text
    labels = [element.text for element in drawn(run_view()).iter(f"{SVG}text")]
    assert {"Loss", "training loss", "held-out loss", "answered rightly", "100%", "step"} <= set(labels)


def test_every_point_lies_within_the_picture_and_long_curves_are_thinned():
    point = run_view().points[0]
    many = tuple(replace(point, step=step, loss=1.0 / step) for step in range(1, 5001))
    root = drawn(replace(run_view(), points=many, steps=5000))
    places = [
        tuple(map(float, p.split(","))) for line in root.iter(f"{SVG}polyline") for p in line.get("points").split()
    ]
    assert all(0 <= x <= 760 and 0 <= y <= 320 for x, y in places)
    assert max(len(line.get("points").split()) for line in root.iter(f"{SVG}polyline")) <= MAX_POINTS + 1


def test_a_run_that_has_not_begun_or_diverged_is_drawn_all_the_same():
    point = run_view().points[0]
    for points in ((), (replace(point, loss=float("nan")),)):
        text = losses_svg(replace(run_view(), points=points, heldout=(), evals=()))
        assert ElementTree.fromstring(text) is not None and "nan" not in text
