"""What one fine-tuning run is asked to do, checked before anything is loaded.

`FinetuneConfig` holds what a person wrote: None means "what suits the model". `FinetuneConfig.resolved` turns every
None into a number, by the size of the model and the method, and the result is what the run records and trains with.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pipelines.errors import InputError, shown

METHODS = ("lora", "full", "qlora")
OBJECTIVES = ("sft", "dpo")
TRAIN_ON = ("assistant", "last_assistant", "everything")
DTYPES = ("auto", "fp32", "bf16")
REPORTS = ("none", "trackio")
SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")
MAX_PAIRS, MAX_PAIR_CHARACTERS = 200, 4_000
MAX_TRAINABLE_TOKENS = 20_000

# Below this many parameters a model is trained like the embedded pair: a model of a few million needs updates
# about ten times larger than a billion-parameter one before LoRA moves it at all.
SMALL_MODEL = 50_000_000


@dataclass(frozen=True, slots=True)
class Pair:
    """One example typed by a person: what is asked, and the answer to learn."""

    instruction: str
    response: str


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """One run. Fields that may be None are filled in by `resolved`; the units of the others are in their comment."""

    model: str = "base"
    method: str = "lora"
    objective: str = "sft"  # dpo trains on preference pairs, from the instruct model unless `model` says otherwise
    beta: float = 0.1  # of dpo: how closely the policy is held to the model it began as
    data: str = "lesson"
    pairs: tuple[Pair, ...] = ()
    template: str = ""  # key of a chat template; empty is the model's own
    train_on: str = "assistant"
    r: int = 16
    lora_alpha: int | None = None  # None: twice r
    lora_dropout: float = 0.0
    target_modules: str = "all-linear"  # a preset, or module names with commas
    # Rows of the embedding that LoRA trains along, by token id; None: for typed pairs on a small model, the tokens of
    # their answers. Its base hardly ever writes some of them, and what is frozen in the output head cannot be learned.
    trainable_tokens: tuple[int, ...] | None = None
    learning_rate: float | None = None
    scheduler: str = "linear"
    warmup_steps: int | None = None  # None: a twentieth of the steps
    weight_decay: float = 0.0
    epochs: float | None = None  # passes over the rows; ignored where max_steps is given
    max_steps: int | None = None  # optimizer steps
    batch_size: int | None = None  # conversations in one forward pass
    gradient_accumulation: int = 1  # forward passes in one optimizer step
    max_length: int | None = None  # tokens; longer conversations are cut at the end
    packing: bool = False
    dtype: str = "auto"
    seed: int = 0
    eval_steps: int | None = None  # optimizer steps between two looks at the held-out rows
    eval_rows: int = 64  # held-out rows answered at each look
    prompts: tuple[str, ...] = ()  # asked at every look; empty is two of the lesson's and two held-out ones
    report_to: str = "none"  # trackio also logs to its own database on this machine, beside the run's directory
    resume_from: str = ""  # id of a run whose last checkpoint this one continues

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FinetuneConfig:
        """A configuration from JSON. Raises one InputError that names every fault found."""
        if not isinstance(values, Mapping):
            raise InputError("not an object of settings", "config", 'Write for example {"method": "lora"}.')
        faults: list[InputError] = []
        given: dict[str, Any] = {}
        for key, value in values.items():
            try:
                given[str(key)] = _read(str(key), value)
            except InputError as fault:
                faults.append(fault)
        if not faults:
            if given.get("objective") == "dpo":
                given.setdefault("model", "instruct")
            config = cls(**given)
            faults = list(_conflicts(config))
            if not faults:
                return config
        raise faults[0] if len(faults) == 1 else _together(faults)

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON holds it; `from_dict` reads it back."""
        values = asdict(self)
        values["pairs"], values["prompts"] = list(values["pairs"]), list(self.prompts)
        values["trainable_tokens"] = None if self.trainable_tokens is None else list(self.trainable_tokens)
        return values

    def changed(self) -> dict[str, Any]:
        """Only what differs from the defaults, for a title of a few words or for a short script."""
        defaults = FinetuneConfig().as_dict()
        return {key: value for key, value in self.as_dict().items() if value != defaults[key]}

    def resolved(self, parameters: int, rows: int, context: int) -> FinetuneConfig:
        """Every None replaced by what suits a model of `parameters`, with `context` tokens, trained on `rows`."""
        small = parameters < SMALL_MODEL
        batch = self.batch_size or (16 if small else 4)
        per_epoch = max(1, math.ceil(rows / (batch * self.gradient_accumulation)))
        if self.max_steps is not None:
            steps = self.max_steps
        elif self.epochs is not None:
            steps = max(1, round(self.epochs * per_epoch))
        else:
            steps = 80 if small else min(3 * per_epoch, 200)
            if self.objective == "dpo":
                steps = min(per_epoch, 24 if small else 200)  # pairs seen twice are soon learned by heart
        return replace(
            self,
            lora_alpha=2 * self.r if self.lora_alpha is None else self.lora_alpha,
            learning_rate=self.learning_rate
            or default_learning_rate(parameters, self.method, self.objective, bool(self.pairs)),
            batch_size=batch,
            max_steps=steps,
            epochs=None,
            warmup_steps=round(steps / 20) if self.warmup_steps is None else min(self.warmup_steps, steps),
            eval_steps=self.eval_steps or max(1, round(steps / (3 if self.objective == "dpo" else 5))),
            max_length=min(self.max_length or (512 if small else 1024), context),
        )


def default_learning_rate(parameters: int, method: str, objective: str = "sft", pairs: bool = False) -> float:
    """The peak learning rate that works for a model of that size.

    Small: measured on the embedded pair (below 2e-3 its LoRA never learns to stop; with typed `pairs`, half of the rows
    or less are left for answering in general, which 5e-3 unsettles). Else: 2e-4 for LoRA and QLoRA
    (Dettmers et al. 2023, QLoRA, table 9) and 2e-5 for full fine-tuning (Ouyang et al. 2022; TRL's default). DPO takes
    smaller steps, for it moves a model that answers already: 5e-6 (Tunstall et al. 2023, Zephyr).
    """
    if objective == "dpo":
        return 2e-3 if parameters < SMALL_MODEL else 5e-6
    if parameters < SMALL_MODEL:
        if method == "full":
            return 1e-3
        return 3e-3 if pairs else 5e-3
    return 2e-5 if method == "full" else 2e-4


def learnable_keys() -> tuple[str, ...]:
    """The names a configuration may have, in the order of the page."""
    return tuple(field.name for field in fields(FinetuneConfig))


_TEXTS: dict[str, tuple[str, ...] | None] = {
    "model": None,
    "data": None,
    "template": None,
    "target_modules": None,
    "resume_from": None,
    "method": METHODS,
    "objective": OBJECTIVES,
    "train_on": TRAIN_ON,
    "dtype": DTYPES,
    "scheduler": SCHEDULERS,
    "report_to": REPORTS,
}
_WHOLE = {  # smallest and largest
    "r": (1, 1024),
    "lora_alpha": (1, 4096),
    "warmup_steps": (0, 100_000),
    "max_steps": (1, 100_000),
    "batch_size": (1, 1024),
    "gradient_accumulation": (1, 1024),
    "max_length": (8, 131_072),
    "seed": (0, 2**32 - 1),
    "eval_steps": (1, 100_000),
    "eval_rows": (0, 2_000),
}
_REAL = {  # larger than or equal to the first (learning_rate, epochs and beta: larger than), up to the second
    "learning_rate": (0.0, 1.0),
    "epochs": (0.0, 1000.0),
    "lora_dropout": (0.0, 0.9),
    "weight_decay": (0.0, 1.0),
    "beta": (0.0, 10.0),
}
_OPTIONAL = {field.name for field in fields(FinetuneConfig) if field.default is None}


def _read(key: str, value: Any) -> Any:
    """One value, converted. Raises InputError for an unknown key or a value out of its range."""
    if key not in learnable_keys():
        near = difflib.get_close_matches(key, learnable_keys(), n=1, cutoff=0.0)
        raise InputError(f"there is no setting '{key[:60]}'", "config", f"The nearest one is '{near[0]}'.")
    if value is None and key in _OPTIONAL:
        return None
    if key in _TEXTS:
        return _text(key, value)
    if key in _WHOLE:
        return _whole(key, value)
    if key in _REAL:
        return _real(key, value)
    if key == "packing":
        if not isinstance(value, bool):
            raise InputError(f"{shown(value)} is neither true nor false", key)
        return value
    if key == "trainable_tokens":
        return _token_ids(value)
    return _pairs(value) if key == "pairs" else _prompts(value)


def _text(key: str, value: Any) -> str:
    if key == "target_modules" and isinstance(value, Sequence) and not isinstance(value, str):
        value = ",".join(str(part) for part in value)
    if not isinstance(value, str):
        raise InputError(f"{shown(value)} is not a text", key)
    value, allowed = value.strip(), _TEXTS[key]
    if allowed is not None and value not in allowed:
        raise InputError(f"{shown(value)} is not possible", key, f"Use one of: {', '.join(allowed)}.")
    if key == "target_modules" and not re.fullmatch(r"[\w.-]+(\s*,\s*[\w.-]+)*", value):
        raise InputError(f"{shown(value)} names no modules", key, "Write all-linear, or names like q_proj,v_proj.")
    if key in ("model", "data") and not value:
        raise InputError("is empty", key)
    return value


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{shown(value)} is not a number", key)
    return value


def _whole(key: str, value: Any) -> int:
    low, high = _WHOLE[key]
    number = _number(key, value)
    if number != int(number) or not low <= number <= high:
        raise InputError(f"{shown(value)} is not possible", key, f"Use a whole number from {low} to {high}.")
    return int(number)


def _real(key: str, value: Any) -> float:
    low, high = _REAL[key]
    number = _number(key, value)
    above = key in ("learning_rate", "epochs", "beta")
    if not low <= number <= high or (above and number == low):
        kind = "above" if above else "from"
        raise InputError(f"{shown(value)} is not possible", key, f"Use a number {kind} {low:g} up to {high:g}.")
    return float(number)


def _pairs(value: Any) -> tuple[Pair, ...]:
    example = 'Write [{"instruction": "…", "response": "…"}].'
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError("not a list", "pairs", example)
    if len(value) > MAX_PAIRS:
        raise InputError(f"{len(value)} pairs", "pairs", f"At most {MAX_PAIRS}; bring more as a data set.")
    pairs = []
    for number, item in enumerate(value, start=1):
        if isinstance(item, Pair):
            item = asdict(item)
        if not isinstance(item, Mapping) or set(item) != {"instruction", "response"}:
            raise InputError(f"number {number} is not an instruction and a response", "pairs", example)
        texts = [item["instruction"], item["response"]]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise InputError(f"number {number} has an empty side", "pairs", "Fill in both, or remove the pair.")
        if max(len(text) for text in texts) > MAX_PAIR_CHARACTERS:
            raise InputError(
                f"number {number} is too long", "pairs", f"At most {MAX_PAIR_CHARACTERS} characters a side."
            )
        pairs.append(Pair(texts[0].strip(), texts[1].strip()))
    return tuple(pairs)


def _prompts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(text, str) for text in value):
        raise InputError("not a list of texts", "prompts", 'Write ["What is the capital of France?"].')
    prompts = tuple(text.strip()[:MAX_PAIR_CHARACTERS] for text in value if text.strip())
    if len(prompts) > 16:
        raise InputError(f"{len(prompts)} prompts", "prompts", "At most 16 are asked at every look.")
    return prompts


def _token_ids(value: Any) -> tuple[int, ...]:
    whole = isinstance(value, Sequence) and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    if not whole or len(value) > MAX_TRAINABLE_TOKENS or not all(0 <= one < 2**31 for one in value):
        what = f"{shown(value)} is no list of at most {MAX_TRAINABLE_TOKENS:,} token ids"
        raise InputError(what, "trainable_tokens", "Leave it out: the studio fills it in where it helps.")
    return tuple(sorted(set(value)))


def _conflicts(config: FinetuneConfig) -> list[InputError]:
    """Values that are each possible, but not together."""
    faults = []
    if config.objective == "dpo":
        faults += _dpo_conflicts(config)
    if config.epochs is not None and config.max_steps is not None:
        faults.append(InputError("both are given", "epochs and max_steps", "Give one of the two."))
    return faults


def _dpo_conflicts(config: FinetuneConfig) -> list[InputError]:
    """DPO compares answers with those of the model without its adapter, so it needs one, and needs pairs of answers."""
    faults = []
    if config.method == "full":
        faults.append(InputError("dpo needs an adapter: without it the model is the reference", "method", "Use lora."))
    if config.pairs:
        faults.append(InputError("dpo trains on preference pairs, not on typed ones", "pairs", "Use objective sft."))
    if config.packing:
        faults.append(InputError("dpo compares whole answers", "packing", "Use false."))
    if config.train_on != "assistant":
        faults.append(InputError("dpo compares the assistant's answers", "train_on", "Use assistant."))
    return faults


def _together(faults: Sequence[InputError]) -> InputError:
    """One error that says all of them, each with its field."""
    return InputError(f"{len(faults)} settings cannot be used: " + " · ".join(str(fault) for fault in faults), "config")
