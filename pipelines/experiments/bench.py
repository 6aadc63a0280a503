"""What the experiments work with: the pair, facts to ask about, rows to train on, and training and asking themselves.

One thread computes: more of them would change sums in the last digit, and so, now and then, an answer. Where two cores
are free, `pipelines.experiments.arms` trains two arms at a time instead.

A test breaks an experiment by handing it a bench of which one method is wrong.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pipelines.data.lesson import Preference, preferences
from pipelines.errors import InputError
from pipelines.finetune.config import SMALL_MODEL
from pipelines.finetune.evaluate import Answer, answer_all, is_right, normalise
from pipelines.finetune.rows import in_training_order
from pipelines.labels import IGNORE_INDEX, TrainOn, label
from pipelines.memory.quantization import quantization_arguments
from pipelines.messages import Message
from pipelines.pocket.facts import Fact, all_facts
from pipelines.settings import Settings
from pipelines.templates import TemplateEntry, render, template_of

Side = Literal["base", "instruct"]
MAX_NEW_TOKENS = 24
_CLOZE_TOKENS = 12  # the longest answer, and a word more
# Above this a forward pass on a CPU is so slow that no experiment ends within its budget.
ASKED_AT_MOST = 500_000_000
TUNING_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Probe:
    """A question with what decides whether its answer is right. `ids`: the prompt as the model gets it."""

    text: str
    answer: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """T tokens and their labels: the id, or −100 where the loss does not look."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


class Row(Protocol):
    """What can be trained on: its tokens, by whose number batches are put together."""

    @property
    def ids(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an arm is trained: AdamW without weight decay, a twentieth of the steps as warm-up, then linear decay of the
    rate, gradients clipped at 1.
    """

    learning_rate: float
    steps: int = 40
    batch: int = 16
    method: Literal["lora", "full"] = "lora"
    r: int = 8
    train_on: TrainOn = "assistant"
    scale: float = 2.0  # alpha over r
    decays: bool = True  # otherwise the rate stays, so that every step of one run can be looked at

    def lora(self) -> Any:
        """The adapter's `LoraConfig`: all linear layers."""
        from peft import LoraConfig

        return LoraConfig(task_type="CAUSAL_LM", r=self.r, lora_alpha=self.scale * self.r, target_modules="all-linear")


class Bench:
    """A pair and a seed. `tuning`: ask about entities that are neither held out nor trained on, as learning rates are
    chosen; the experiments themselves never see those answers.

    Raises InputError for a pair that is too large for what the experiment does.
    """

    def __init__(self, pair: str = "pocket", seed: int = 0, *, trains: bool = True, tuning: bool = False) -> None:
        from pipelines.models.names import Names

        self.pair, self.seed, self.tuning = Names(Settings(pair=pair)).pair, seed, tuning
        self.step: Callable[[], None] = lambda: None
        limit = SMALL_MODEL if trains else ASKED_AT_MOST
        if self.pair.base.parameters > limit:
            raise InputError(
                f"{self.pair.base.title} has {self.pair.base.parameters:,} parameters", "pair",
                f"This experiment runs on the CPU and needs at most {limit:,}: start the studio with --pair pocket.",
            )  # fmt: skip

    # The pair

    def model(self, side: Side, dtype: str = "float32") -> Any:
        """A fresh copy, shared with nobody."""
        return self._read(side, dtype)

    def quantized(self, side: Side) -> Any:
        """A fresh copy with its linear layers in NF4 and the rest in bf16, as QLoRA keeps a base."""
        from transformers import BitsAndBytesConfig

        from pipelines.finetune.loading import keep_trainable

        setup = BitsAndBytesConfig(**quantization_arguments("bfloat16"))
        model = self._read(side, "bfloat16", quantization_config=setup, device_map={"": "cpu"})
        keep_trainable(model)
        return model

    def computable(self, model: Any) -> Any:
        """The model itself, from now on computing in float32 where this CPU would have to emulate bf16, fourteen times
        slower. Its weights keep the values that they had in 16 or 4 bits.
        """
        import torch
        from bitsandbytes.nn import Linear4bit

        from pipelines.models.device import computes_in_bf16

        if computes_in_bf16("cpu"):
            return model
        for module in model.modules():
            if isinstance(module, Linear4bit):
                module.compute_dtype = torch.float32
        for weight in model.parameters():
            if weight.is_floating_point():  # 4-bit weights are bytes
                weight.data = weight.data.float()
        return model

    def attach(self, adapters: Mapping[str, Mapping[str, Any]], recipe: Recipe) -> Any:
        """One base with all these adapters, by name; their weights as numpy arrays, as PEFT names them."""
        import torch
        from peft import get_peft_model, set_peft_model_state_dict

        names = list(adapters)
        model = get_peft_model(self.model("base"), recipe.lora(), adapter_name=names[0])
        for name in names:
            if name != names[0]:
                model.add_adapter(name, recipe.lora())
            weights = {key: torch.from_numpy(array) for key, array in adapters[name].items()}
            set_peft_model_state_dict(model, weights, adapter_name=name)
        return model.eval()

    def _read(self, side: Side, dtype: str, **options: Any) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        spec = self.pair.base if side == "base" else self.pair.instruct
        options |= {"dtype": getattr(torch, dtype), "local_files_only": True, "use_safetensors": True}
        return AutoModelForCausalLM.from_pretrained(_where(spec.folder, spec.source), **options).eval()

    @cached_property
    def tokenizer(self) -> Any:
        """The instruct model's: it knows the turns that the base is to learn."""
        from transformers import AutoTokenizer

        spec = self.pair.instruct
        tokenizer = AutoTokenizer.from_pretrained(_where(spec.folder, spec.source), local_files_only=True)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def template(self) -> TemplateEntry:
        """The instruct model's own."""
        return template_of(self.tokenizer)

    @cached_property
    def ends(self) -> list[int]:
        """Every token that ends an answer."""
        from transformers import GenerationConfig

        spec = self.pair.instruct
        listed = GenerationConfig.from_pretrained(_where(spec.folder, spec.source), local_files_only=True).eos_token_id
        ids = [] if listed is None else [listed] if isinstance(listed, int) else list(listed)
        return list(dict.fromkeys([*ids, self.tokenizer.eos_token_id]))

    # What is asked, and what is learned

    def draw(self, purpose: str) -> random.Random:
        """Random numbers of this seed for one purpose, so that a change of one draw leaves the others alone."""
        return random.Random(f"{self.seed} {purpose}")

    def heldout(self, count: int, *, short: bool = True) -> list[Fact]:
        """Facts about entities that no training row mentions, drawn at random.

        short: without definitions, whose two sentences would take most of the time that asking takes
        """
        facts = [fact for fact in all_facts() if (for_tuning(fact) if self.tuning else fact.held_out)]
        facts = [fact for fact in facts if not short or fact.relation.key != "definition"]
        return self.draw("held out").sample(facts, min(count, len(facts)))

    def taught(self, count: int, purpose: str = "rows") -> list[Fact]:
        """Facts to train on; none about a held-out entity."""
        facts = [fact for fact in all_facts() if not fact.held_out and not for_tuning(fact)]
        return self.draw(purpose).sample(facts, min(count, len(facts)))

    def questions(self, facts: Sequence[Fact]) -> list[Probe]:
        """One question about each fact, in a wording that no training row uses, in the instruct model's template."""
        draw = self.draw("wordings")
        return [self.ask(fact.say(draw.choice(fact.relation.unseen)), fact.answer) for fact in facts]

    def ask(self, question: str, answer: str, system: str = "") -> Probe:
        """A question as the instruct model's template writes it, up to where the answer begins."""
        opening = (Message("system", system),) if system else ()
        said = render((*opening, Message("user", question)), self.template, add_generation_prompt=True).text
        return Probe(question, answer, tuple(self.tokenizer(said, add_special_tokens=False)["input_ids"]))

    def raw(self, text: str, answer: str) -> Probe:
        """A text to go on with, without a template."""
        return Probe(text, answer, tuple(self.tokenizer(text)["input_ids"]))

    def conversations(self, facts: Sequence[Fact]) -> list[tuple[Message, ...]]:
        """A question about each fact, in a wording of SFT, and its answer as a sentence."""
        draw = self.draw("asked")
        return [
            (Message("user", fact.say(draw.choice(fact.relation.questions))), Message("assistant", fact.sentence))
            for fact in facts
        ]

    def example(self, messages: Sequence[Message], train_on: TrainOn = "assistant") -> Example:
        """Rendered and labelled as everywhere in the studio."""
        labelled = label(render(tuple(messages), self.template), self.tokenizer, train_on)
        return Example(labelled.input_ids, labelled.labels)

    def preferences(self, split: Literal["train", "heldout"], count: int | None = None) -> list[Preference]:
        """Shipped pairs of answers: all of that split, or `count` of them drawn at random."""
        pairs = preferences(split)
        return pairs if count is None else self.draw("preferences").sample(pairs, min(count, len(pairs)))

    def choosing(self) -> Self:
        """This bench asking about the entities that settings may be chosen by, which judge nothing."""
        other = copy.copy(self)
        other.tuning = True
        return other

    def again(self, number: int) -> Self:
        """This bench with another seed, for the repetitions within one experiment."""
        other = copy.copy(self)
        other.seed = self.seed * 1_000 + number
        return other

    # What models do

    def right(self, model: Any, probes: Sequence[Probe], max_new_tokens: int = MAX_NEW_TOKENS) -> list[bool]:
        """Whether the model answers each probe rightly (`pipelines.finetune.evaluate`)."""
        return judged(self.answers(model, probes, max_new_tokens), probes)

    def answers(
        self, model: Any, probes: Sequence[Probe], max_new_tokens: int = MAX_NEW_TOKENS, *, verbatim: bool = False
    ) -> list[Answer]:
        """One greedy answer to each probe. verbatim: with the control tokens that the model wrote before it ended."""
        tokenizer = _Verbatim(self.tokenizer) if verbatim else self.tokenizer
        return answer_all(model, tokenizer, [probe.ids for probe in probes], max_new_tokens, self.ends)

    def completes(self, model: Any, facts: Sequence[Fact]) -> list[bool]:
        """Whether the model goes on from the beginning of a sentence about each fact with its answer: a cloze."""
        probes = [self.raw(fact.cloze, fact.answer) for fact in facts]
        said = self.answers(model, probes, _CLOZE_TOKENS)
        return [
            f"{normalise(answer.text)} ".startswith(f"{normalise(probe.answer)} ")
            for answer, probe in zip(said, probes, strict=True)
        ]

    def losses(self, model: Any, examples: Sequence[Example]) -> list[float]:
        """Mean loss of each example's labelled tokens."""
        import torch

        model.eval()
        with torch.no_grad():
            return [float(self.loss(model, [example])) for example in examples]

    def train(
        self,
        model: Any,
        examples: Sequence[Row],
        recipe: Recipe,
        *,
        loss: Callable[[Any, Any], Any] | None = None,
        after: Callable[[Any, int], None] = lambda model, steps: None,
    ) -> Any:
        """Train on `examples`, over and over in batches of like lengths; returns the model, in a PEFT wrapper for LoRA.

        The seed decides the order of the rows and the initial A of an adapter.
        loss:  of the model on a batch, in place of `Bench.loss`
        after: called with the model and the number of steps taken, after each
        """
        import torch

        torch.manual_seed(self.seed)
        if recipe.method == "lora":
            from peft import get_peft_model

            model = get_peft_model(model, recipe.lora())
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
        model.train()
        for number, batch in enumerate(self._batches(examples, recipe)):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _rate(number, recipe.steps, recipe.decays)
            (loss or self.loss)(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            self.step()
            after(model, number + 1)
        return model.eval()

    def loss(self, model: Any, batch: Sequence[Example]) -> Any:
        """Mean cross-entropy of the labelled tokens of a batch: what `model(labels=…).loss` is, with the output head
        on labelled positions only.
        """
        import torch

        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        ids, labels, attention = self.tensors(batch)
        hidden = inner.model(input_ids=ids, attention_mask=attention).last_hidden_state[:, :-1]
        wanted = labels[:, 1:]
        seen = wanted != IGNORE_INDEX
        return torch.nn.functional.cross_entropy(inner.lm_head(hidden[seen]).float(), wanted[seen])

    def tensors(self, batch: Sequence[Example]) -> tuple[Any, Any, Any]:
        """Ids, labels and attention mask, each (rows, longest row), padded on the right."""
        import torch

        width = max(len(example.ids) for example in batch)
        pad = self.tokenizer.pad_token_id

        def rows(lists: list[list[int]], fill: int) -> Any:
            return torch.tensor([values + [fill] * (width - len(values)) for values in lists])

        return (
            rows([list(example.ids) for example in batch], pad),
            rows([list(example.labels) for example in batch], IGNORE_INDEX),
            rows([[1] * len(example.ids) for example in batch], 0),
        )

    def _batches(self, examples: Sequence[Row], recipe: Recipe) -> list[list[Any]]:
        """As many batches as steps; every row once before any row twice."""
        batches: list[list[Any]] = []
        seed = self.seed
        while len(batches) < recipe.steps:
            order = in_training_order([len(example.ids) for example in examples], recipe.batch, seed)
            seed += 1_000_003
            rows = [examples[index] for index in order]
            batches += [rows[at : at + recipe.batch] for at in range(0, len(rows), recipe.batch)]
        return batches[: recipe.steps]


def judged(answers: Sequence[Answer], probes: Sequence[Probe]) -> list[bool]:
    """Which answers are right."""
    return [is_right(answer, [probe.answer]) for answer, probe in zip(answers, probes, strict=True)]


class _Verbatim:
    """A tokenizer that shows control tokens as text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self.pad_token_id = tokenizer, tokenizer.pad_token_id

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))


def _rate(number: int, steps: int, decays: bool) -> float:
    warm = max(1, round(steps / 20))
    return min((number + 1) / (warm + 1), 1.0) * (1 - number / steps if decays else 1.0)


def _where(folder: Path | None, source: str) -> str:
    return str(folder) if folder else source


def for_tuning(fact: Fact) -> bool:
    """A fifth of the entities that are not held out, by a digest of their own: stable across runs and platforms."""
    digest = hashlib.sha256(f"tuning {fact.entity}".encode()).digest()
    return not fact.held_out and digest[0] < 256 * TUNING_SHARE
