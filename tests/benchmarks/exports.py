"""`python -m tests.benchmarks.exports`: every export of real runs, run or loaded in clean environments.

Trains the embedded pair (LoRA, full, QLoRA, DPO), exports each run for every tool, makes a virtual environment for each
tool with exactly what a person would install (the script's own PEP 723 header, `pip install llamafactory`, …), and
prints one row for each: the largest relative difference to the losses of the run, or the largest difference of a logit.
Nothing of the studio is importable there, and the Hub is switched off.

Needs: uv (`pip install uv`), a package index, 15 GB of disk below --at (each tool pins its own torch), half an hour on
two cores. Environments found there are used again. No part of the test command. Wheels from elsewhere: UV_FIND_LINKS.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import InputError
from pipelines.finetune import FinetuneService
from pipelines.finetune.exports import export
from pipelines.finetune.run import RunDirectory
from pipelines.models import ModelManager
from pipelines.settings import Settings

RUNS = {
    # Two steps of warm-up: Axolotl makes two of one.
    "lora": {"max_steps": 20, "warmup_steps": 2},
    "full": {"max_steps": 20, "warmup_steps": 2, "method": "full"},
    "qlora": {"max_steps": 6, "warmup_steps": 2, "method": "qlora"},
    "dpo": {"max_steps": 10, "objective": "dpo", "model": "instruct"},
}
PACKAGES = {"axolotl": ["axolotl"], "llama-factory": ["llamafactory", "bitsandbytes"], "unsloth": ["unsloth"]}
SECONDS = 900  # for one tool over one run
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "AXOLOTL_DO_NOT_TRACK": "1", "PYTHONPATH": ""}
_LOSS = re.compile(r"'loss': '?([\d.e+-]+)")
_STEP = re.compile(r"step (\d+): ([\d.]+) \(the run: [\d.]+\)")

# Runs in the clean environment: logits of an unpacked export, over ids that the studio has answered for as well.
LOGITS = """
import json, sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM
folder, base, ids, expected = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), torch.load(sys.argv[4])
if (folder / "adapter_config.json").is_file():
    from peft import PeftModel
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folder)
else:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
with torch.no_grad():
    logits = model(input_ids=torch.tensor([ids])).logits[0]
print("apart", float((logits - expected).abs().max()), "reach", float(expected.abs().max()))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at", type=Path, required=True, help="a folder for runs, exports and environments")
    parser.add_argument("--only", nargs="*", choices=list(CHECKS), default=list(CHECKS))
    asked = parser.parse_args()
    at = asked.at.resolve()
    settings = Settings(pair="pocket", runs_dir=at / "runs", device="cpu")
    manager = ModelManager(settings)
    trained = train(settings, manager)
    print("| run | export | where | result |\n| --- | --- | --- | --- |", flush=True)
    for name, run in trained.items():
        for tool in asked.only:
            try:
                file = export(run, tool, at / "exports", manager)
            except InputError as error:
                print(f"| {name} | {tool} | | not offered: {error} |", flush=True)
                continue
            for where, result in CHECKS[tool](run, file, at, manager):
                print(f"| {name} | {tool} | {where} | {result} |", flush=True)


def train(settings: Settings, manager: ModelManager) -> dict[str, RunDirectory]:
    """One finished run for each of `RUNS`."""
    import time

    service = FinetuneService(settings, manager)
    service.warm_up()
    started = {name: service.start(config | {"eval_rows": 4}) for name, config in RUNS.items()}
    try:
        for run_id in started.values():
            while not service.view(run_id).ended:
                time.sleep(0.5)
            assert service.view(run_id).status == "finished", service.view(run_id).error
    finally:
        service.close()
    return {name: service.directory(run_id) for name, run_id in started.items()}


Rows = list[tuple[str, str]]


def check_script(run: RunDirectory, file: Path, at: Path, manager: ModelManager) -> Rows:
    """A script with its own header: by `python` where that is installed, and by `uv run`."""
    needs = re.findall(r'^#     "([^"]+)",$', file.read_text(encoding="utf-8"), re.MULTILINE)
    needs = needs or PACKAGES["unsloth"]
    python = environment(at, "unsloth" if needs == ["unsloth"] else f"trl-{len(needs)}", needs)
    rows = []
    for how, command in (("python", [str(python), file.name]), ("uv run", ["uv", "run", "--no-project", file.name])):
        if how == "uv run" and needs == ["unsloth"]:
            continue  # the same packages once more
        folder = fresh(at / "work" / f"{file.stem}-{how.replace(' ', '-')}")
        shutil.copy2(file, folder)
        said = run_in(folder, command)
        told = re.search(r"largest difference to the losses of the run: ([\d.]+%) over (\d+) steps", said)
        steps = {int(step): float(loss) for step, loss in _STEP.findall(said)}
        rows.append((how, f"{told[1]} over {told[2]} steps" if told else compared(run, steps, said)))
    return rows


def check_config(command: Callable[[Path], list[str]], tool: str) -> Callable[..., Rows]:
    """An archive with a configuration, which the tool itself trains."""

    def check(run: RunDirectory, file: Path, at: Path, manager: ModelManager) -> Rows:
        python = environment(at, tool, PACKAGES[tool])
        folder = unpacked(file, fresh(at / "work" / file.stem))
        said = run_in(folder, command(python.parent))
        losses = [float(loss) for loss in _LOSS.findall(said)]
        return [(version_of(python, PACKAGES[tool][0]), compared(run, dict(enumerate(losses, 1)), said))]

    return check


def check_weights(run: RunDirectory, file: Path, at: Path, manager: ModelManager) -> Rows:
    """A folder of weights: its logits against those of the studio's own copy."""
    import torch

    with manager.fresh(f"run:{run.id}") as copy, copy.active() as model:
        ids = copy.tokenizer("What is the capital of France? The capital of France is Paris.")["input_ids"]
        expected = model(input_ids=torch.tensor([ids])).logits[0].float()
    folder = unpacked(file, fresh(at / "work" / file.stem))
    torch.save(expected, folder.parent / "expected.pt")
    adapter = (folder / "adapter_config.json").is_file()
    python = environment(at, "loading", ["peft==0.21.2", "torch==2.13.0", "transformers==5.23.0"])
    base = str(Path(run.model.source).resolve())
    said = run_in(folder, [str(python), "-c", LOGITS, str(folder), base, json.dumps(ids), "../expected.pt"])
    told = re.search(r"apart (\S+) reach (\S+)", said)
    result = f"logits {float(told[1]):.2g} apart, where they reach {float(told[2]):.3g}" if told else failed(said)
    return [("peft" if adapter else "transformers", result)]


CHECKS: dict[str, Callable[[RunDirectory, Path, Path, ModelManager], Rows]] = {
    "trl": check_script,
    "unsloth": check_script,
    "axolotl": check_config(
        lambda bin: [str(bin / "axolotl"), "train", "config.yaml", "--launcher", "python"], "axolotl"
    ),
    "llama-factory": check_config(lambda bin: [str(bin / "llamafactory-cli"), "train", "train.yaml"], "llama-factory"),
    "adapter": check_weights,
    "merged": check_weights,
}


def environment(at: Path, name: str, packages: list[str]) -> Path:
    """The Python of an environment with these packages and nothing else; made where there is none."""
    folder = at / "environments" / name
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run(["uv", "venv", "-q", "--clear", "-p", version, str(folder)], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "-p", str(python), *packages], check=True)
        (folder / "complete").touch()
    return python


def run_in(folder: Path, command: list[str]) -> str:
    """What a command said, both streams. A failure is a result like another: its words are printed."""
    try:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | QUIET, text=True, timeout=SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no end after {SECONDS} s"
    return done.stdout


def compared(run: RunDirectory, losses: dict[int, float], said: str) -> str:
    """The largest relative difference to the losses of the run. Tools print four digits: that is the resolution."""
    from pipelines.finetune.losses import losses_csv
    from pipelines.finetune.view import view

    rows = csv.DictReader(losses_csv(view(run)).splitlines())
    expected = {int(row["step"]): float(row["loss"]) for row in rows if row["loss"]}
    if set(losses) != set(expected):
        return failed(said)
    apart = max(abs(losses[step] - loss) / abs(loss) for step, loss in expected.items())
    return f"{apart:.2%} over {len(expected)} steps"


def failed(said: str) -> str:
    return "FAILED: " + " ".join(said.strip().splitlines()[-3:])[-300:].replace("|", "/")


def version_of(python: Path, package: str) -> str:
    asked = f"from importlib.metadata import version; print('{package}', version('{package}'))"
    return subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True).stdout.strip()


def unpacked(file: Path, folder: Path) -> Path:
    zipfile.ZipFile(file).extractall(folder)
    return next(path for path in folder.iterdir() if path.is_dir())


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    main()
