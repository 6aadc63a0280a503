from __future__ import annotations

import pytest

from components.context import Studio
from components.stage_sft import asker, batcher, labelled_script, marked_template, viewer
from pipelines.errors import InputError

ASKED = [{"role": "user", "content": "Hi <b>"}, {"role": "assistant", "content": "Paris"}]
OWN = ""  # the model's own template


def view(studio: Studio, messages: list[dict[str, str]], train_on: str = "assistant", length: int = 1024) -> tuple:
    return viewer(studio)(messages, OWN, "instruct", train_on, length, False)


def test_supervised_tokens_are_lit_and_tell_their_loss(tiny_studio: Studio) -> None:
    figures, tokens, warnings = view(tiny_studio, ASKED)
    lit = [part for part in tokens.split("<span ")[1:] if "is-dim" not in part]
    assert all("role-assistant" in part and "probability" in part for part in lit)
    assert "&lt;|end|&gt;" in lit[-1] and "Paris" not in "".join(
        part for part in tokens.split("<span ") if "is-dim" in part
    )
    assert f">{len(lit)}<" in figures
    assert "double BOS" in warnings and "<b>" not in tokens


def test_the_first_token_has_no_loss(tiny_studio: Studio) -> None:
    assert "nothing predicts the first token" in view(tiny_studio, ASKED)[1]


def test_everything_lights_every_token(tiny_studio: Studio) -> None:
    assert "is-dim" not in view(tiny_studio, ASKED, "everything")[1]


def test_what_max_length_cuts_is_a_warning(tiny_studio: Studio) -> None:
    assert "every label is -100" in view(tiny_studio, ASKED, length=4)[2]


def test_a_conversation_without_an_answer_says_what_to_add(tiny_studio: Studio) -> None:
    with pytest.raises(InputError, match="Add an assistant message"):
        view(tiny_studio, ASKED[:1])


def test_the_labels_to_take_home_are_those_on_the_page(tiny_studio: Studio) -> None:
    script = labelled_script(tiny_studio)(ASKED, OWN, "instruct", "assistant")
    made: dict[str, object] = {"__name__": "taken"}
    exec(compile(script.replace("from datasets import Dataset", "").split("dataset =")[0], "taken.py", "exec"), made)
    row = made["ROWS"][0]  # type: ignore[index]
    assert [label for label in row["labels"] if label != -100] == row["input_ids"][-len("Paris") - 1 :][
        -sum(label != -100 for label in row["labels"]) :
    ]


def test_markers_come_with_the_template_or_with_the_reason(tiny_studio: Studio) -> None:
    assert "generation -%}" in marked_template(tiny_studio)("chatml", "instruct")
    assert marked_template(tiny_studio)("nemotron3-nano", "instruct").startswith("{# No markers for Nemotron 3 Nano:")


@pytest.mark.slow
def test_trl_is_asked_and_answers_for_a_template_it_refuses(tiny_studio: Studio) -> None:
    assert "is-same" in asker(tiny_studio)(ASKED, OWN, "instruct")
    refused = asker(tiny_studio)(ASKED, "chatml", "instruct")
    assert "is-refuses" in refused and "patching is not supported" in refused


@pytest.mark.slow
def test_a_batch_is_drawn_padded_and_packed(tiny_studio: Studio) -> None:
    padded = batcher(tiny_studio)(ASKED, OWN, "instruct", 256, "Padded")
    assert padded.count("<li>") == 4 and "padding" in padded
    packed = batcher(tiny_studio)(ASKED, OWN, "instruct", 256, "Packed")
    assert packed.count("<li>") < 4 and "conversations" in packed


def test_a_conversation_longer_than_the_model_s_context_is_shown_whole(tiny_studio: Studio) -> None:
    long = [{"role": "user", "content": "why " * 200}, ASKED[1]]
    tokens = view(tiny_studio, long)[1]
    assert "The model takes 128 tokens" in tokens and "beyond the model&#x27;s context" in tokens
    assert "is-dim" not in tokens.split("<span ")[-1]  # the end of the answer
