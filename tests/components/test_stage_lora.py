"""The LoRA tab's handlers and drawings, without a browser."""

from __future__ import annotations

import ast
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from safetensors.numpy import save_file

from components.context import Studio
from components.lora_experiments import adder, layer_runner, measurer, ranks_viewer, sweeper
from components.stage_lora import press, script, view
from components.widgets.lora import block_html, claims_html, matrices_html, size
from components.widgets.low_rank import change_html
from pipelines.architecture import architecture, entries
from pipelines.architecture.catalogue import facts_of
from pipelines.errors import InputError
from pipelines.lora import LoraSetup, count
from pipelines.lora.block import switched_on, switches, toggle
from pipelines.lora.chapter import lora_claims
from pipelines.lora.counting import ModuleRow
from pipelines.lora.low_rank import WeightChange
from pipelines.lora.rebuild import Rebuilder
from pipelines.stages import ASSETS

DEFAULTS: tuple[Any, ...] = ("llama-3.1-8b", "", 16, 32, "all-linear", False, False, [])


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    """As in a studio that has been served: the libraries are there before a configuration is pasted."""
    import peft
    import transformers

    assert peft and transformers


def changed(**values: Any) -> list[Any]:
    names = ("model", "pasted", "r", "alpha", "targets", "dora", "rslora", "save")
    return [values.get(name, default) for name, default in zip(names, DEFAULTS, strict=True)]


def test_the_numbers_are_drawn_as_peft_prints_them() -> None:
    figures = view(*changed())[0]
    assert "41,943,040" in figures
    assert "trainable params: 41,943,040 || all params: 8,072,204,288 || trainable%: 0.5196" in figures


@pytest.mark.parametrize("key", [entry.key for entry in entries()])
def test_every_model_is_drawn_with_every_preset(key: str) -> None:
    for targets in ("q,v", "q,k,v,o", "mlp", "all-linear"):
        drawings = view(*changed(model=key, targets=targets))
        assert 'aria-pressed="true"' in drawings[2]
        ast.parse(script(*changed(model=key, targets=targets)))


def test_a_norm_that_is_saved_whole_has_its_row() -> None:
    table = view(*changed(model="pocket", save=["norm"]))[5]
    assert "model.norm.weight" in table and "full copy" in table


def test_a_press_switches_one_module_and_finds_the_presets_again() -> None:
    model = architecture("llama-3.1-8b")
    labels = [switch.label for switch in switches(model)]
    q, k, v = (labels.index(f"{name}_proj") for name in "qkv")
    without_k = press("llama-3.1-8b", "", "all-linear", SimpleNamespace(index=k))
    assert without_k == "q_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
    assert press("llama-3.1-8b", "", without_k, SimpleNamespace(index=k)) == "all-linear"
    assert toggle(model, "q_proj", v) == "q,v"
    assert switched_on(model, "q,v")[q] and not switched_on(model, "q,v")[k]


def test_the_last_module_cannot_be_switched_off() -> None:
    index = [switch.label for switch in switches(architecture("pocket"))].index("q_proj")
    with pytest.raises(gr.Error, match="one module at least has to stay on"):
        press("pocket", "", "q_proj", SimpleNamespace(index=index))


def test_a_fused_module_is_explained() -> None:
    notes = view(*changed(model="phi-3-mini", targets="q,v"))[1]
    assert "qkv_proj" in notes and "all three" in notes


def test_a_pasted_configuration_goes_before_the_name() -> None:
    config = facts_of("pocket")["config"] | {"num_hidden_layers": 3}
    assert "3 × this layer" in view(*changed(pasted=json.dumps(config)))[2]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"model": "llama-8b"}, r"model: 'llama-8b' is not known\. Did you mean"),
        ({"targets": ""}, r"targets: no module is named"),
        ({"pasted": "hidden_size: 3"}, r"config\.json: this is not a config\.json\. Paste it from \{ to \}"),
        ({"pasted": "{'a': 1}"}, r"model: the text is not valid JSON \(line 1"),
        ({"pasted": '{"a": 1}'}, r"model: the configuration has no model_type"),
        ({"pasted": '{"model_type": "lama"}'}, r"model, model_type: 'lama' is not known"),
        (
            {"pasted": '{"model_type": "llama", "num_hidden_layers": 100000}'},
            r"num_hidden_layers is 100000\. At most 256",
        ),
        ({"pasted": '{"model_type": "llama", "hidden_size": 17}'}, r"transformers cannot build this llama"),
        ({"model": "someone/unknown-model"}, r"not in the catalogue, and the Hub cannot be reached\. Paste"),
    ],
)
def test_a_wrong_value_says_what_to_do(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        view(*changed(**values))


def test_what_a_visitor_pastes_is_escaped() -> None:
    config = facts_of("pocket")["config"] | {"_name_or_path": "<img src=x onerror=alert(1)>"}
    drawn = "".join(view(*changed(pasted=json.dumps(config))))
    assert "<img" not in drawn
    assert "<img" not in script(*changed(pasted=json.dumps(config)))


def test_the_script_asserts_the_counts_and_names_the_settings() -> None:
    text = script(*changed(targets="q,v", dora=True, rslora=True, save=["lm_head"]))
    counted = count(architecture("llama-3.1-8b"), LoraSetup(targets="q,v", dora=True, modules_to_save=("lm_head",)))
    assert f"== ({counted.trainable}, {counted.total})" in text
    for line in (
        "target_modules=['q_proj', 'v_proj']",
        "use_dora=True",
        "use_rslora=True",
        "modules_to_save=['lm_head']",
    ):
        assert line in text


def test_matrices_are_drawn_to_scale() -> None:
    markup = matrices_html(ModuleRow("model.layers.{}.self_attn.q_proj", 32, (4096, 4096), 256, 1, "lora"))
    sizes = [tuple(map(float, found)) for found in re.findall(r'width="([\d.]+)" height="([\d.]+)"', markup)]
    (w, h), (b_width, b_height), (a_width, a_height) = sizes
    assert (w, h) == (150, 150)
    assert b_width == pytest.approx(150 * 256 / 4096, abs=0.1) == a_height
    assert (b_height, a_width) == (150, 150)


def test_the_chapters_figures_stand_beside_the_exact_ones() -> None:
    text = claims_html(lora_claims())
    for figure in ("16,777,216", "131,072", "128×", "6,815,744", "13,631,488", "41,943,040", "20,971,520", "0.25 %"):
        assert figure in text


def test_the_change_marks_the_chosen_rank() -> None:
    change = WeightChange("w", (3, 2), 0.1, (0.0, 0.75, 1.0), (0.0, 0.5, 1.0), 1.4)
    assert "75 %" in change_html(change, 1)
    assert change.error(1) == pytest.approx(0.5)
    assert change.error(99) == 0.0


def test_the_block_says_which_modules_are_on() -> None:
    model = architecture("gpt2")
    markup = block_html(model, switches(model), switched_on(model, "q,v"))
    assert re.search(r'aria-pressed="true"><b>c_attn', markup)
    assert re.search(r'aria-pressed="false"><b>attn\.c_proj', markup)


def test_every_matrix_has_its_effective_rank() -> None:
    folders = (ASSETS / "models" / "pocket-base", ASSETS / "models" / "pocket-instruct")
    table = ranks_viewer(folders)()
    cells = [int(cell) for cell in re.findall(r'<td class="num">(\d+)<small> of 256', table)]
    assert len(cells) == 4 * 7 and all(1 <= cell <= 256 for cell in cells)
    for name in ("q_proj", "down_proj", "layer 0", "layer 3"):
        assert name in table


def test_a_rank_is_drawn_among_those_measured(tiny_studio: Studio) -> None:
    rebuilder = Rebuilder(tiny_studio.manager)
    assert "right at rank 3, of 128 held-out questions" in measurer(rebuilder)(3)
    drawn = list(sweeper(rebuilder)())[-1]
    assert re.findall(r">r = (\d+)", drawn) == ["0", "1", "2", "3", "4", "8", "16", "32"]


def test_the_chapters_layer_is_run_and_its_repair_changes_nothing(tiny_studio: Studio) -> None:
    rows = re.findall(r'<tr><th>([^<]+)</th><td class="num">([^<]+)</td>', layer_runner(tiny_studio)(8, 16))
    differences = {name: float(value) for name, value in rows}
    assert differences["repaired: B = 0"] == 0 < differences["as listed, B from N(0, 0.01²)"]


def test_adapters_are_added_up_and_the_trap_of_rslora_is_named() -> None:
    folders = (ASSETS / "models" / "pocket-base", ASSETS / "models" / "pocket-instruct")
    name = "model.layers.0.self_attn.q_proj.weight"
    plain, scaled = (adder(folders)(name, 16, 32, rslora, 1.0, 0.5) for rslora in (False, True))
    for method in ("linear", "cat", "svd"):
        assert f"<code>{method}</code>" in plain
    assert "√r times too loud" in scaled and "√r times too loud" not in plain
    assert "nothing to merge" in adder(folders)(name, 16, 0, False, 1.0, 0.5)
    assert "lora_alpha 1e-300 there is nothing to merge" in adder(folders)(name, 16, 1e-300, False, 1.0, 0.5)
    assert "nothing to add up" in adder(folders)(name, 16, 32, False, 0, 0)


@pytest.mark.parametrize("amount, text", [(512, "512 B"), (27_262_976, "27.3 MB"), (1.41e11, "141 GB")])
def test_bytes_are_said_as_people_say_them(amount: float, text: str) -> None:
    assert size(amount) == text


def test_a_redraw_takes_less_than_twenty_milliseconds() -> None:
    view(*changed())
    start = time.process_time()
    for r in range(1, 21):
        view(*changed(r=r))
    assert (time.process_time() - start) / 20 < 0.02


def test_the_name_of_a_matrix_stays_text(tmp_path: Path) -> None:
    """It comes from the files of the pair, whoever made them."""
    name = "model.layers.0.<b data-attack>.weight"
    folders = tmp_path / "base", tmp_path / "tuned"
    for folder in folders:
        folder.mkdir()
        save_file({name: np.ones((4, 4), dtype=np.float32)}, folder / "model.safetensors")
    assert "&lt;b data-attack&gt;.weight is the same" in adder(folders)(name, 2, 4, False, 1.0, 0.5)
