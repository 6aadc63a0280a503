"""The adapter of a run (or its model, where every weight was trained) with tokenizer, template, card and losses."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.errors import InputError
from pipelines.finetune.card import card_files
from pipelines.finetune.exports.archive import Content, is_current, pack
from pipelines.finetune.run import ENDED, RunDirectory


def adapter_archive(run: RunDirectory, folder: Path) -> Path:
    """A zip in `folder`: what PEFT (or transformers) loads as it is. Raises InputError while there is none."""
    trained = kept_folder(run)
    path = folder / f"{trained.name}-{run.id[:6]}.zip"
    if is_current(path, run):
        return path
    files: dict[str, Content] = {f"{path.stem}/{file.name}": file for file in sorted(trained.iterdir())}
    # Written anew: a run that broke off left the adapter of its last checkpoint, without a card.
    files |= {f"{path.stem}/{name}": text for name, text in card_files(run).items()}
    settings = trained / "adapter_config.json"
    if settings.is_file():
        # A checkpoint names the folder that its base was read from: no path of this machine leaves it.
        named = json.loads(settings.read_text(encoding="utf-8")) | {"base_model_name_or_path": run.model.shown}
        files[f"{path.stem}/{settings.name}"] = json.dumps(named, indent=2)
    return pack(path, files)


def kept_folder(run: RunDirectory) -> Path:
    """The folder of what was trained. Raises InputError while the run trains, or when it kept nothing."""
    trained = run.adapter or run.full_model
    if trained is None or run.status() not in ENDED:
        raise InputError("this run has kept no adapter yet", "run_id", "Wait until it is finished, or stop it.")
    return trained
