"""A training step of a 135M model on this machine: TRL's defaults against the studio, on the same rows.

    python -m tests.benchmarks.training [--steps 10] [--rounds 2] [--bf16]

The model has the shape of SmolLM2-135M (576 wide, 30 layers, 49,152 tokens) and random weights, as no weights are
needed to measure time. The rows are conversations of several of the lesson's questions, about 150 tokens each, four in
a step. Each arm is a process of its own, in turn: seconds of a step are the median over its steps without the first;
tokens are real ones, without padding; memory is the peak of resident bytes. Both train the labels that the studio
computed, in the same order, with LoRA r = 16 on all linear layers. TRL's other settings are its defaults. The studio
trains in the dtype that it chooses on this machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import QUIET, ROOT

TRL, STUDIO = "TRL's defaults", "the studio"
BATCH = 4
TURNS = (1, 10)  # questions in a conversation: 5.5 of them are about 150 tokens
LEARNING_RATE = 2e-4


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one arm: seconds of a step, real tokens of the steps timed for each second, the loss of the last step, and
    peak resident bytes."""

    seconds: float
    tokens_per_second: float
    loss: float
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2, help="how often the arms take turns; the median counts")
    parser.add_argument("--bf16", action="store_true", help="leave TRL its own dtype, bf16, and tell it to use the CPU")
    parser.add_argument("--arm", choices=("trl", "studio"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.arm:
        print(json.dumps(_train_trl(chosen.folder) if chosen.arm == "trl" else _train_studio(chosen.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_model(folder / "model")
        lengths, settings = _write_rows(folder, chosen.steps, chosen.bf16)
        print(_described(lengths, settings), flush=True)
        print(
            "| arm | s/step | real tokens/s | loss after the last step | peak memory |\n| --- | --- | --- | --- | --- |"
        )
        found: dict[str, list[Measured]] = {"trl": [], "studio": []}
        for _ in range(chosen.rounds):
            for arm, runs in found.items():
                runs.append(_measure(arm, folder, lengths))
                _print_row(f"{TRL if arm == 'trl' else STUDIO}, round {len(runs)}", runs[-1])
        theirs, ours = (_median(found[arm]) for arm in ("trl", "studio"))
        _print_row(f"{TRL}, median", theirs)
        _print_row(f"{STUDIO}, median", ours)
        apart = abs(ours.loss - theirs.loss) / theirs.loss
        print(f"\nratio {theirs.seconds / ours.seconds:.2f}; losses {apart:.3%} apart")


def _measure(arm: str, folder: Path, lengths: Sequence[int]) -> Measured:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.training", "--arm", arm, "--folder", str(folder)],
        cwd=ROOT,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr[-3000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    seconds = told["seconds"][1:]
    tokens = [sum(lengths[at * BATCH : (at + 1) * BATCH]) for at in range(1, len(told["seconds"]))]
    return Measured(statistics.median(seconds), sum(tokens) / sum(seconds), told["loss"], told["peak"])


def _train_trl(folder: Path) -> dict[str, Any]:
    """The run in TRL's words: everything that is not the task itself stays at its default."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "model", dtype="float32"),
        args=SFTConfig(
            output_dir=str(folder / "trl"),
            max_steps=settings["steps"],
            per_device_train_batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            train_sampling_strategy="sequential",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            seed=0,
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
            # Left alone, TRL asks for bf16, and transformers refuses that on a machine without a GPU.
            **({"use_cpu": True} if settings["bf16"] else {"bf16": False}),
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"),
    )
    seconds = _timing(trainer)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"seconds": seconds, "loss": losses[-1], "peak": _peak()}


def _train_studio(folder: Path) -> dict[str, Any]:
    """A run of the studio as its worker trains it, without looks at held-out rows."""
    from pipelines.finetune.recorder import Clock
    from pipelines.finetune.run import RunDirectory
    from pipelines.finetune.trainer import train

    run = RunDirectory(folder / (folder / "run_id").read_text(encoding="utf-8"))
    for left in ("events.jsonl", "adapter", "checkpoints"):
        _remove(run.path / left)
    train(run, Clock())
    steps = [event for event in run.events() if event["kind"] == "step"]
    # The first step has no step before it: its time is unknown, and not counted anyway.
    ends = [event["seconds"] for event in steps]
    return {
        "seconds": [0.0, *(end - begin for begin, end in itertools.pairwise(ends))],
        "loss": steps[-1]["loss"],
        "peak": _peak(),
    }


def _write_model(folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "assets" / "models" / "pocket-instruct")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _write_rows(folder: Path, steps: int, bf16: bool) -> tuple[list[int], dict[str, Any]]:
    """The run's directory for the studio, its rows as TRL takes them; returns their lengths in training order."""
    from pipelines.finetune.arguments import torch_dtype
    from pipelines.finetune.config import FinetuneConfig
    from pipelines.finetune.conversations import build_examples
    from pipelines.finetune.loading import load_tokenizer
    from pipelines.finetune.rows import Rows
    from pipelines.finetune.run import RunDirectory, TrainedModel

    asked = {
        "batch_size": BATCH, "max_steps": steps, "learning_rate": LEARNING_RATE, "warmup_steps": 0, "eval_rows": 0,
        "eval_steps": 100_000, "prompts": ["Hello"],
    }  # fmt: skip
    model = TrainedModel("smollm2-shape", str(folder / "model"), "smollm2-shape", parameters=134_515_008, context=8192)
    config = FinetuneConfig.from_dict(asked).resolved(model.parameters, steps * BATCH, model.context)
    rows = Rows(tuple(_conversations(steps * BATCH)), ())
    run = RunDirectory.create(folder)
    rows.write(run.path)
    run.configure(config, model, "cpu")
    (folder / "run_id").write_text(run.id, encoding="utf-8")
    examples = build_examples(rows, load_tokenizer(model), config, model).train
    lines = [json.dumps(example.as_columns()) + "\n" for example in examples]
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    settings = {"steps": steps, "bf16": bf16, "studio": torch_dtype(config, model.parameters, "cpu")}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return [len(example.input_ids) for example in examples], settings


def _conversations(count: int) -> Iterator[Any]:
    """Conversations of several questions of the lesson each, seeded."""
    from pipelines.data.lesson import lesson_rows
    from pipelines.finetune.rows import Row

    draw = random.Random(0)
    questions = [row for row in lesson_rows("train") if row.kind == "plain"]
    for _ in range(count):
        asked = draw.sample(questions, draw.randint(*TURNS))
        yield Row(tuple(message for question in asked for message in question.messages))


def _timing(trainer: Any) -> list[float]:
    """Seconds of each step, filled while it trains."""
    from transformers import TrainerCallback

    seconds: list[float] = []

    class Timing(TrainerCallback):
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.before = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            now = time.perf_counter()
            seconds.append(now - self.before)
            self.before = now

    trainer.add_callback(Timing())
    return seconds


def _peak() -> int:
    from pipelines.finetune.measuring import peak_resident_bytes

    return peak_resident_bytes()


def _remove(path: Path) -> None:
    import shutil

    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _median(runs: Sequence[Measured]) -> Measured:
    return Measured(
        statistics.median(one.seconds for one in runs),
        statistics.median(one.tokens_per_second for one in runs),
        runs[-1].loss,
        max(one.peak for one in runs),
    )


def _print_row(name: str, one: Measured) -> None:
    print(
        f"| {name} | {one.seconds:.2f} | {one.tokens_per_second:.0f} | {one.loss:.4f} | {one.peak / 2**20:,.0f} MiB |",
        flush=True,
    )


def _described(lengths: Sequence[int], settings: dict[str, Any]) -> str:
    from tests.benchmarks.__main__ import _processor

    real = sum(lengths)
    widest = sum(max(lengths[at : at + BATCH]) * BATCH for at in range(0, len(lengths), BATCH))
    ours = "fp32" if settings["studio"] == "float32" else "bf16"
    dtype = f"TRL in {'bf16' if settings['bf16'] else 'fp32'}, the studio in {ours}"
    return (
        f"{_processor()}; {len(lengths) // BATCH} steps of {real / len(lengths) * BATCH:.0f} real tokens, "
        f"{1 - real / widest:.0%} padding in a padded batch; {dtype}\n"
    )


if __name__ == "__main__":
    main()
