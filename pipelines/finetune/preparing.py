"""From what was asked to a run's directory, complete before any worker sees it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.faults import writing
from pipelines.finetune.config import SMALL_MODEL, FinetuneConfig
from pipelines.finetune.conversations import answer_tokens
from pipelines.finetune.disk import budget, check_room, needed
from pipelines.finetune.files import append_line, link
from pipelines.finetune.prediction import Prediction, predict
from pipelines.finetune.rows import Rows, collect, trim
from pipelines.finetune.run import ENDED, RunDirectory, TrainedModel
from pipelines.finetune.shapes import shapes_of
from pipelines.models.fitting import adapter_shapes, read_adapter

if TYPE_CHECKING:
    from pipelines.models import ModelManager, ModelSpec

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
ROW_FILES = ("train.jsonl", "heldout.jsonl", "taught.jsonl")
# What may differ between a run and the one it resumes: how long it goes on, and how it is looked at.
RESUMABLE = ("max_steps", "epochs", "resume_from")


@dataclass(frozen=True, slots=True)
class Plan:
    """A run before it has a directory: `config` is resolved, `rows` are those it will see.

    start: folder of the adapter that is trained further, if one is
    """

    config: FinetuneConfig
    model: TrainedModel
    rows: Rows
    start: Path | None = None


def plan(asked: FinetuneConfig, runs_dir: Path, manager: ModelManager) -> Plan:
    """What would be trained. Writes nothing, loads no weights. Raises InputError."""
    if asked.report_to == "trackio" and importlib.util.find_spec("trackio") is None:
        raise InputError(
            "trackio is not installed where this studio runs",
            "report_to",
            "Install it with `pip install trackio` and start the studio again, or use none.",
        )
    spec = manager.resolve(asked.model)
    model = _trained_model(spec, asked, runs_dir)
    if spec.adapter is not None:
        config = _as_adapter(asked, spec.adapter)
    else:
        config = replace(asked, target_modules=_module_names(spec, asked.target_modules, asked.method))
    rows = collect(config, runs_dir)
    config = config.resolved(model.parameters, len(rows.train), model.context)
    rows = trim(rows, config)
    if config.trainable_tokens:
        known = len(manager.tokenizer(model.key))
        if config.trainable_tokens[-1] >= known:
            what = f"there is no token {config.trainable_tokens[-1]} among the {known:,} of {model.key}"
            raise InputError(what, "trainable_tokens", "Leave it out: the studio fills it in where it helps.")
    elif config.trainable_tokens is None:
        small_adapter = model.parameters < SMALL_MODEL and config.method != "full" and spec.adapter is None
        taught = rows.taught if small_adapter else ()
        tokens = answer_tokens(taught, manager.tokenizer(model.key), config, model) if taught else ()
        config = replace(config, trainable_tokens=tokens)
    return Plan(config, model, rows, spec.adapter)


def foresee(planned: Plan, runs_dir: Path, manager: ModelManager, device: str = "auto", done: int = 0) -> Prediction:
    """What the plan will take. `done`: steps that were taken already. Writes nothing, loads no weights."""
    shapes = shapes_of(planned.config, planned.model, planned.rows, lambda: manager.tokenizer(planned.model.key))
    disk = needed(planned.config, planned.model, shapes.architecture, None if done else planned.rows)
    return replace(predict(planned.config, planned.model, shapes, runs_dir, device, done), disk=disk)


def prepare_run(
    asked: FinetuneConfig,
    runs_dir: Path,
    manager: ModelManager,
    device: str = "auto",
    longest: float | None = None,
) -> RunDirectory:
    """Write the directory of a new run, with status queued. Raises InputError, and then leaves nothing behind.

    A run that is resumed goes on from its last checkpoint that is whole.
    longest: seconds that a run may take, as predicted; None is as long as it likes
    """
    with writing(runs_dir):
        if asked.resume_from:
            return _resume(asked, RunDirectory.open(runs_dir, asked.resume_from), runs_dir, manager, longest)
        return _begin(asked, runs_dir, manager, device, longest)


def _check(foreseen: Prediction, runs_dir: Path, longest: float | None) -> None:
    """Raises InputError for a run that the disk has no room for, or that would keep the others waiting for too long."""
    check_room(runs_dir, foreseen.disk, budget())
    if longest is not None and foreseen.seconds is not None and foreseen.seconds > longest:
        raise InputError(
            f"this run would take {foreseen.seconds:,.0f} s, and in a public studio one may take {longest:,.0f} s",
            "max_steps",
            "Take fewer steps, or start a studio of your own.",
        )


def _begin(
    asked: FinetuneConfig, runs_dir: Path, manager: ModelManager, device: str, longest: float | None
) -> RunDirectory:
    planned = plan(asked, runs_dir, manager)
    foreseen = foresee(planned, runs_dir, manager, device)
    _check(foreseen, runs_dir, longest)
    run = RunDirectory.create(runs_dir)
    try:
        planned.rows.write(run.path)
        if planned.start is not None:
            with run.folder("start") as folder:
                for name in ADAPTER_FILES:
                    link(str(planned.start / name), str(folder / name))
        foreseen.write(run)
        run.configure(planned.config, planned.model, device)
        run.set_status("queued")
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def _trained_model(spec: ModelSpec, asked: FinetuneConfig, runs_dir: Path) -> TrainedModel:
    """The base. Of an adapter, that under it: what comes out is an adapter for the base alone again."""
    template = asked.template or spec.template
    continues = ""
    if spec.adapter is not None:
        if asked.method == "full":
            raise InputError(
                f"'{asked.model}' is an adapter on {spec.weights.key}, which has no other weights to train",
                "method",
                f"Use lora to train it further, or train {spec.weights.key}.",
            )
        continues = spec.key
        if spec.key.startswith("run:") and not asked.template:
            # What it was trained with is what it must be spoken to with.
            template = RunDirectory.open(runs_dir, spec.key.removeprefix("run:")).model.template
        spec = spec.weights
    if asked.template:
        from pipelines.templates import get_template

        get_template(asked.template)
    folder = spec.folder
    return TrainedModel(
        key=spec.key,
        source=str(folder.resolve()) if folder else spec.source,
        shown=spec.source,
        parameters=spec.parameters,
        context=_context(folder),
        template=template,
        license=spec.license,
        continues=continues,
    )


def _as_adapter(asked: FinetuneConfig, folder: Path) -> FinetuneConfig:
    """The settings with the shape that the adapter has: it is trained further as it is, whatever rank was asked for.

    PEFT writes out the full name of each module where there are few; what is counted and shown is their kinds.
    """
    shape = read_adapter(folder)
    adapter_shapes(folder)  # read now, so that a damaged file is no failed run later
    if lacks := {"r", "lora_alpha", "target_modules"} - shape.keys():
        what = f"the adapter_config.json of '{asked.model}' does not say its {min(lacks)}"
        raise InputError(what, "model", "Put a copy of the file back.")
    modules = shape["target_modules"]
    return replace(
        asked,
        r=shape["r"],
        lora_alpha=shape["lora_alpha"],
        lora_dropout=shape.get("lora_dropout", 0.0),
        target_modules=modules
        if isinstance(modules, str)
        else ",".join(sorted({name.rpartition(".")[2] for name in modules})),
    )


def _context(folder: Path | None) -> int:
    """The longest sequence of a model folder, tokens; of a Hub model, what every model of today can do."""
    if folder is None:
        return 2048
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(settings.get("max_position_embeddings") or settings.get("n_positions") or 2048)


def _module_names(spec: ModelSpec, targets: str, method: str) -> str:
    """`targets` as PEFT takes it: "all-linear", or names of modules that this model has."""
    if method == "full" or targets == "all-linear":
        return targets
    from pipelines.architecture import architecture
    from pipelines.lora.targets import resolve

    described = (spec.folder / "config.json").read_text(encoding="utf-8") if spec.folder else spec.source
    found = resolve(architecture(described), targets)
    if found.parameters:
        raise InputError(f"'{targets}' means stacked experts here", "target_modules", "Use all-linear.")
    return ",".join(found.names)


def _resume(
    asked: FinetuneConfig, old: RunDirectory, runs_dir: Path, manager: ModelManager, longest: float | None
) -> RunDirectory:
    """A new run that begins with the old one's rows, curve and last checkpoint."""
    if old.status() not in ENDED:
        raise InputError(f"run {old.id[:6]} is still {old.status()}", "resume_from", "Stop it first.")
    saved = old.checkpoints()
    if not saved:
        why = f"has no checkpoint that can be used: {damaged}" if (damaged := old.damaged()) else "has no checkpoint"
        raise InputError(f"run {old.id[:6]} {why}", "resume_from", "Start it again from the beginning.")
    lost = [name for name in ROW_FILES if not (old.path / name).is_file()]
    if lost:
        raise InputError(f"run {old.id[:6]} has lost its {lost[0]}", "resume_from", "Put a copy back, or start anew.")
    step, checkpoint = saved[-1]
    before = old.config
    fixed = [key for key, value in asked.changed().items() if key not in RESUMABLE and before.as_dict()[key] != value]
    if fixed:
        raise InputError(
            f"{', '.join(fixed)} cannot change when a run is resumed", "resume_from", "Start a new run for that."
        )
    steps = asked.max_steps or (before.max_steps or 0)
    if asked.epochs:
        per_step = (before.batch_size or 1) * before.gradient_accumulation
        steps = max(1, round(asked.epochs * len(Rows.read(old.path).train) / per_step))
    if steps <= step:
        raise InputError(
            f"run {old.id[:6]} has done {step} of {steps} steps", "max_steps", "Give more steps to go on with."
        )
    device, config = old.record["device"], replace(before, max_steps=steps, resume_from=old.id)
    foreseen = foresee(Plan(config, old.model, Rows.read(old.path)), runs_dir, manager, device, done=step)
    _check(foreseen, runs_dir, longest)
    run = RunDirectory.create(runs_dir)
    try:
        for name in ROW_FILES:
            shutil.copy2(old.path / name, run.path / name)
        if old.start is not None:
            shutil.copytree(old.start, run.path / "start", copy_function=link)
        # Hard links: the files of a checkpoint are never changed, and it may be gigabytes.
        shutil.copytree(checkpoint, run.path / "resume", copy_function=link)
        _copy_curve(old, run, step)
        foreseen.after(run.progress_before()[0]).write(run)
        run.configure(config, old.model, device)
        run.set_status("queued")
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def _copy_curve(old: RunDirectory, run: RunDirectory, step: int) -> None:
    seconds, tokens = 0.0, 0
    for event in old.events():
        if event["kind"] in ("step", "eval") and event["step"] <= step:
            append_line(run.path / "events.jsonl", event)
            seconds = max(seconds, event["seconds"])
            tokens = max(tokens, event.get("tokens", 0))
    for sample in old.samples():
        if sample["step"] <= step:
            append_line(run.path / "samples.jsonl", sample)
    run.append("resumed", run=old.id, step=step, seconds=seconds, tokens=tokens)
