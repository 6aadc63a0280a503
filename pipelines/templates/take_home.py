"""What a person takes home from the Templates tab: the template in a tokenizer, and a unit test for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.labels import LabelledTokens
from pipelines.messages import Message, as_dicts
from pipelines.templates.types import Rendered, TemplateEntry

_SCRIPT = '''\
# /// script
# requires-python = ">=3.10"
# dependencies = ["transformers>=5", "jinja2>=3.1.6"]
# ///
"""The chat template “{title}” in a tokenizer, and a test that it renders this conversation as it did in the studio.

Run it as it is: python {filename}. Or with pytest.
"""

from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

TEMPLATE = {jinja}

SPECIAL_TOKENS = {tokens}

MESSAGES = {messages}

TOOLS = {tools}

EXPECTED = {text}


def render(**options):
    """The text, as tokenizer.apply_chat_template(MESSAGES, tokenize=False) gives it."""
    texts, _ = render_jinja_template(
        conversations=[MESSAGES], tools=TOOLS, chat_template=TEMPLATE, **SPECIAL_TOKENS, **options
    )
    return texts[0]


def put_into(tokenizer):
    """Give a tokenizer this template; save_pretrained then writes it beside the tokenizer's other files."""
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_the_rendering_is_unchanged():
    assert render(add_generation_prompt={prompt}) == EXPECTED{note}


if __name__ == "__main__":
    test_the_rendering_is_unchanged()
    Path("chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    print(EXPECTED)
    print("chat_template.jinja is written.")
'''


def template_script(
    messages: Sequence[Message],
    template: TemplateEntry,
    rendered: Rendered,
    *,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
    dated: bool = False,
) -> str:
    """A script that runs as it is, holding the template, the tokenizer snippet and the test.

    dated: the template writes today's date, so the test holds today only; the script says so.
    """
    note = "  # holds today only: the template writes the date" if dated else ""
    return _SCRIPT.format(
        title=template.title,
        filename="chat_template.py",
        jinja=_literal(template.jinja),
        tokens=_python(dict(template.special_tokens)),
        messages=_python(as_dicts(messages)),
        tools=_python(list(tools)) if tools else "None",
        text=_literal(rendered.text),
        prompt=add_generation_prompt,
        note=note,
    )


def _literal(text: str) -> str:
    """A Python string, one line of the text to a line of the script."""
    lines = text.splitlines(keepends=True) if "\r" not in text else [text]
    if len(lines) < 2:
        return ascii(text) if _odd(text) else json.dumps(text, ensure_ascii=False)
    body = "\n".join(f"    {ascii(line) if _odd(line) else json.dumps(line, ensure_ascii=False)}" for line in lines)
    return f"(\n{body}\n)"


def _odd(text: str) -> bool:
    """Whether a text has characters that would not survive as they are in a source file."""
    return not text.replace("\n", "").replace("\t", "").isprintable()


def _python(value: Any) -> str:
    from pprint import pformat

    return pformat(value, width=110, sort_dicts=False)


_LABELS = '''\
# /// script
# requires-python = ">=3.10"
# dependencies = ["datasets"]
# ///
"""A conversation labelled by the studio, as TRL trains on it: a data set with input_ids and labels.

SFTTrainer leaves a "labels" column as it is, so no mask of its own is needed:
SFTTrainer(model, train_dataset=dataset, args=SFTConfig(max_length=None)). Tokens of {source},
template “{title}”; label -100 is not learned from.
"""

from datasets import Dataset

ROWS = [
    {{
        # {text}
        "input_ids": {ids},
        "labels": {labels},
    }}
]

dataset = Dataset.from_list(ROWS)

if __name__ == "__main__":
    dataset.to_json("labelled.jsonl")
    for row in ROWS:
        learned = sum(label != -100 for label in row["labels"])
        print(f"{{learned}} of {{len(row['labels'])}} tokens are learned from; labelled.jsonl is written.")
'''


def labels_script(template: TemplateEntry, rendered: Rendered, labelled: LabelledTokens, source: str) -> str:
    """A script that holds one labelled conversation and writes it as a data set."""
    shown = ascii(rendered.text)
    return _LABELS.format(
        source=source,
        title=template.title,
        text=shown if len(shown) <= 90 else shown[:89] + "…",
        ids=list(labelled.input_ids),
        labels=list(labelled.labels),
    )
