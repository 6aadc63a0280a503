"""Demonstrations in which something is counted or measured: SFT, Data, LoRA, QLoRA."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.messages import Message, as_dicts
from pipelines.running_example import QUESTION, SENTENCE
from pipelines.teaching.records import Bar, Bars, Demonstration, Figure, ShownRow

if TYPE_CHECKING:
    from pipelines.experiments.data import NoisyRow
    from pipelines.models import ModelManager

CONVERSATION = (Message("user", QUESTION), Message("assistant", SENTENCE))
ROWS, SHOWN_ROWS = 200, 4
EIGHT = "llama-3.1-8b"
SHARES = (10.0, 1.0, 0.1, 0.01)  # percent, as the prediction offers them
RANKS = (0, 2, 4)  # of the rebuilt change, before the full one
ROOM = 48 * 2**30  # bytes of the GPU in the prediction
_METHODS = ("in full", "with LoRA", "with QLoRA")  # as the drawing stacks them


def sft(manager: ModelManager) -> Iterator[Demonstration]:
    """The chapter's conversation as the loss sees it, with the instruct model's losses."""
    from pipelines.loss_mask import loss_mask, template_for

    shown = Demonstration("sft", doing="the model reads the conversation")
    yield shown
    no_weights = manager.no_weights("instruct")
    template = template_for(manager, "", "instruct")
    mask = loss_mask(manager, CONVERSATION, template, losses=not no_weights)
    lit = [token for token in mask.tokens if token.supervised]
    figures = [Figure(f"{mask.supervised} of {len(mask.tokens)}", "tokens are learned from")]
    if not no_weights:
        before = loss_mask(manager, CONVERSATION, template, "base")
        for value, label in (
            (before.loss_supervised, "mean loss of the base over these"),
            (mask.loss_supervised, "of the instruct model, which has learned to answer"),
        ):
            if value is not None:
                figures.append(Figure(f"{value:.2f}", label))
    words = CONVERSATION[-1].content
    learned = "".join(token.text for token in lit)
    others = any(token.role not in ("assistant", "") for token in lit)
    outcome = 0 if others else 2 if learned.strip() != words else 1
    end = learned.replace(words, "").strip()
    yield replace(
        shown,
        tokens=mask.tokens,
        figures=tuple(figures),
        outcome=outcome,
        conclusion=f"Learned: the answer’s words, and {end}, which ends it." if outcome == 2 else "",
        limits=(f"No losses: {no_weights}.",) if no_weights else (),
    )


def data(manager: ModelManager) -> Iterator[Demonstration]:
    """Rows of the lesson, half of them spoiled as the experiment spoils them, under the checks of the Data tab."""
    from pipelines.data.inspection import inspect
    from pipelines.data.records import RawRow
    from pipelines.experiments.data import spoil
    from pipelines.pocket.facts import all_facts

    shown = Demonstration("data", doing="the rows are checked")
    yield shown
    draw = random.Random("the lesson")
    facts = draw.sample([fact for fact in all_facts() if not fact.held_out], ROWS)
    talks = [
        (Message("user", fact.say(draw.choice(fact.relation.questions))), Message("assistant", fact.sentence))
        for fact in facts
    ]
    rows = spoil(draw, facts, talks, 0.5)
    raw = [RawRow(number, {"messages": as_dicts(row.messages)}) for number, row in enumerate(rows, start=1)]
    with tempfile.TemporaryDirectory() as folder:
        found = inspect(raw, "the lesson's rows", Path(folder) / "rows.jsonl")
    says = {problem.row: problem.what for problem in found.problems}
    spoiled = [number for number, row in enumerate(rows, start=1) if row.fault]
    caught = [number for number in spoiled if number in says]
    share = len(caught) / len(spoiled)
    yield replace(
        shown,
        rows=tuple(_examples(rows, says)),
        figures=(Figure(f"{len(caught)} of {len(spoiled)}", "spoiled rows are found by the check"),),
        outcome=0 if share > 0.75 else 2 if share < 0.25 else 1,
        conclusion="A check reads the form. What is true, somebody has to know.",
    )


_FAULTS = {
    "a wrong answer": "a wrong answer",
    "another form": "another form than the other rows",
    "no end": "the token that ends the answer is missing",
}


def _examples(rows: Sequence[NoisyRow], says: dict[int, str]) -> Iterator[ShownRow]:
    """One row of each kind of fault, a found one first where there is one."""
    kinds: dict[str, ShownRow] = {}
    for number, row in enumerate(rows, start=1):
        fault, (asked, said) = row.fault, row.messages
        if fault and (fault not in kinds or (number in says and not kinds[fault].found)):
            alike = [at for at, one in enumerate(rows, start=1) if one.fault == fault]
            seen = sum(at in says for at in alike)
            counted = f"{_FAULTS[fault]}: {len(alike)} such rows, {seen} found"
            kinds[fault] = ShownRow(asked.content, said.content, counted, says.get(number, ""))
    yield from list(kinds.values())[:SHOWN_ROWS]


def lora(manager: ModelManager) -> Iterator[Demonstration]:
    """The exact count on Llama 3.1 8B; and the running pair's own weight change, rebuilt from few directions."""
    from pipelines.architecture import architecture
    from pipelines.lora import LoraSetup, count
    from pipelines.lora.rebuild import Rebuilder

    model = architecture(EIGHT)
    paper, every = (count(model, LoraSetup(16, 32, targets)) for targets in ("q,v", "all-linear"))
    outcome = min(range(len(SHARES)), key=lambda at: abs(math.log(SHARES[at] / paper.percent)))
    shown = Demonstration(
        "lora",
        figures=(
            Figure(f"{paper.percent:.3f} %", f"rank 16 on queries and values: {paper.trainable:,} parameters"),
            Figure(f"{every.percent:.2f} %", f"rank 16 on all linear layers: {every.trainable:,}"),
            Figure(f"{every.adapter_bytes / 1e6:,.0f} MB", f"that adapter, beside {2 * model.parameters / 1e9:.1f} GB"),
        ),
        outcome=outcome,
        doing="the weight change is rebuilt from few directions",
    )
    yield shown
    rebuilder = Rebuilder(manager)
    bars: list[Bar] = []
    full = rebuilder.full_rank()
    try:
        for r in (*RANKS, max(full, RANKS[-1] + 1)):
            point = rebuilder.measure(r)
            name = f"all {full}" if r == full else f"the first {r}" if r else "none: the base"
            bars.append(Bar(name, point.accuracy, f"{point.accuracy:.0%}"))
            heading = f"Directions of the weight change that are kept, and held-out questions answered ({point.rows})"
            yield replace(shown, bars=(Bars(heading, tuple(bars)),))
    except InputError as error:
        yield replace(shown, limits=(f"The weight change is not rebuilt here. {error}",))
        return
    conclusion = (
        f"{RANKS[-1]} directions of {full} keep {bars[-2].share / bars[-1].share:.0%} of the answers."
        if bars[-1].share > 0
        else "This pair answers none of the questions, with the whole change neither."
    )
    yield replace(shown, bars=(Bars(heading, tuple(bars)),), conclusion=conclusion)


def qlora(manager: ModelManager) -> Iterator[Demonstration]:
    """Bytes of one step on Llama 3.1 70B in three ways; and a layer of the loaded model in four bits."""
    from pipelines.teaching.figures_of_size import stacks

    totals = [stack.estimate.total for stack in stacks().stacks]
    bars = tuple(
        Bar(name, total / max(totals), f"{total / 2**30:,.0f} GiB")
        for name, total in zip(_METHODS, totals, strict=True)
    )
    fitting = [at for at, total in enumerate(totals) if total <= ROOM]
    shown = Demonstration(
        "qlora",
        bars=(Bars("Llama 3.1 70B on one GPU, one sequence of 2,048 tokens: the peak of a step", bars),),
        outcome=fitting[0] if fitting else len(_METHODS),
        conclusion=(
            f"{totals[-1] / 2**30:.1f} GiB: it fits on a card of {ROOM // 2**30}, with little to spare."
            if fitting == [2]
            else ""
        ),
        doing="a layer is written in four bits",
    )
    yield shown
    yield _four_bits(manager, shown)


def _four_bits(manager: ModelManager, shown: Demonstration) -> Demonstration:
    """With what 4-bit types lose on a real layer."""
    from pipelines.architecture.tensors import tensors
    from pipelines.memory.nf4 import close_up

    folder = manager.pair.base.folder
    if folder is None or manager.no_weights("base"):
        why = manager.no_weights("base") or "the base does not lie on this machine"
        return replace(shown, limits=(f"No layer is written in four bits here: {why}.",))
    name, place = next(
        (name, place) for name, place in tensors(folder).items() if ".layers." in name and len(place.shape) == 2
    )
    seen = close_up(place)
    errors = {kind.name: kind.relative for kind in seen.types}
    rows, columns = seen.shape
    label = f"relative error of {name.removeprefix('model.').removesuffix('.weight')} ({rows} × {columns})"
    figures = [Figure(f"{errors['nf4']:.1%}", f"NF4: {label}")]
    figures += [Figure(f"{errors[key]:.1%}", title) for key, title in (("int4", "INT4, even steps"), ("fp4", "FP4"))]
    return replace(shown, figures=tuple(figures))
