from __future__ import annotations

import pytest

from components.pair import pair_html, parameters, size
from pipelines.models import Gauge, ModelStatus


def status(key: str, resident: bool) -> ModelStatus:
    return ModelStatus(key, key.title(), key, "llama", 4_262_144, "x", "Apache-2.0", resident, 17 * 2**20)


def test_loading_is_said_in_words() -> None:
    html = pair_html([status("base", False), status("instruct", False)], Gauge("", 0, 0, {}))
    assert html.count("loading …") == 2 and "meter" not in html


def test_what_is_under_way_says_how_far_it_is() -> None:
    gauge = Gauge("cpu", 0, 2**30, {"base": (0.4, "downloading, 120 MiB"), "other": (0.1, "waiting for <memory>")})
    html = pair_html([status("base", False), status("instruct", False)], gauge)
    assert "downloading, 120 MiB · 40%" in html and "loads when asked" in html and "memory&gt;" not in html


def test_device_and_memory_are_told_once_the_models_are_there() -> None:
    html = pair_html([status("base", True), status("instruct", True)], Gauge("cpu", 34 * 2**20, 2**30, {}))
    assert "4.26 M" in html and "on CPU" in html and "34.0 MiB of 1.0 GiB" in html and "loading" not in html


def test_a_crowd_and_its_memory_are_counted() -> None:
    html = pair_html([status("base", True)], Gauge("cpu", 36 * 2**20, 2**30, {}, 2 * 2**20, 12, 3))
    assert "36.0 MiB of 1.0 GiB, 2.0 MiB for answers" in html and "12 answers being written, 3 waiting" in html


def test_an_evicted_model_says_that_it_comes_back() -> None:
    html = pair_html([status("base", True), status("instruct", False)], Gauge("cpu", 1, 2**30, {}))
    assert "loads when asked" in html


def test_an_endpoint_is_named_in_place_of_this_machine() -> None:
    pair = [status("base", False), status("instruct", False)]
    html = pair_html(pair, Gauge("", 0, 2**30, {}, server="gpu:8000"))
    assert "answered by gpu:8000" in html and "loading" not in html and "meter" not in html
    gone = pair_html(pair, Gauge("", 0, 2**30, {}, server="gpu:8000", trouble="no server answers at <gpu>:8000"))
    assert "no server answers at &lt;gpu&gt;:8000" in gone
    both = pair_html(pair, Gauge("cpu", 2**20, 2**30, {}, server="gpu:8000"))
    assert "on CPU" in both and "1.0 MiB of 1.0 GiB" in both  # what was trained here is answered here


@pytest.mark.parametrize(
    ("count", "text"), [(0, "size not known yet"), (900, "900"), (4_262_144, "4.26 M"), (8_030_261_248, "8.03 B")]
)
def test_parameters_are_rounded_to_three_digits(count: int, text: str) -> None:
    assert parameters(count) == text


def test_sizes_are_binary() -> None:
    assert [size(1), size(2**20), size(3 * 2**30)] == ["1 B", "1.0 MiB", "3.0 GiB"]
