"""What a person takes home from a run, as zip archives: the adapter, or the script with everything it needs."""

from __future__ import annotations

import zipfile
from pathlib import Path

from pipelines.errors import InputError
from pipelines.finetune.conversations import build_examples
from pipelines.finetune.loading import load_tokenizer
from pipelines.finetune.rows import Rows
from pipelines.finetune.run import RunDirectory
from pipelines.finetune.script import DATA_FILE, TEMPLATE_FILE, data_lines, is_folder, training_script


def adapter_archive(run: RunDirectory, folder: Path) -> Path:
    """A zip in `folder` with the run's adapter, or its model where every weight was trained.

    Raises InputError while there is none.
    """
    trained = run.adapter or run.full_model
    if trained is None:
        raise InputError("this run has kept no adapter yet", "run_id", "Wait until it is finished, or stop it.")
    path = folder / f"{trained.name}-{run.id[:6]}.zip"
    if not path.exists():
        _pack(path, {f"{path.stem}/{file.name}": file for file in sorted(trained.iterdir())})
    return path


def script_archive(run: RunDirectory, folder: Path) -> Path:
    """A zip in `folder` with train.py and train.jsonl, and the base where it is a folder of this machine.

    The rows are labelled again, exactly as the worker did it; the tokenizer is loaded for that.
    """
    path = folder / f"train-{run.id[:6]}.zip"
    if path.exists():
        return path
    config, model = run.config, run.model
    examples = build_examples(Rows.read(run.path), load_tokenizer(model), config, model)
    files: dict[str, Path | str] = {
        f"{path.stem}/train.py": training_script(config, model),
        f"{path.stem}/{DATA_FILE}": data_lines(examples.train),
        f"{path.stem}/{TEMPLATE_FILE}": examples.chat_template,
    }
    if is_folder(model):
        source = Path(model.source)
        files |= {f"{path.stem}/{source.name}/{file.name}": file for file in sorted(source.iterdir()) if file.is_file()}
    _pack(path, files)
    return path


def _pack(path: Path, files: dict[str, Path] | dict[str, Path | str]) -> None:
    """Write the archive under another name first: a second visitor must not be handed half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            if isinstance(content, Path):
                archive.write(content, name)
            else:
                archive.writestr(name, content)
    partial.replace(path)
