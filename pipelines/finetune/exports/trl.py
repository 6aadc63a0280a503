"""The TRL script of a run: one file with inline dependency metadata, its rows, template and base."""

from __future__ import annotations

from pathlib import Path

from pipelines.finetune.exports.archive import (
    Content,
    base_files,
    examples_of,
    is_current,
    packed,
    write_text,
)
from pipelines.finetune.losses import losses_json
from pipelines.finetune.run import RunDirectory
from pipelines.finetune.script import DATA_FILE, LOSSES_FILE, START_FOLDER, TEMPLATE_FILE, data_lines, training_script
from pipelines.finetune.self_contained import with_files
from pipelines.finetune.view import view
from pipelines.models.device import choose_device


def trl_file(run: RunDirectory, folder: Path) -> Path:
    """train-<id>.py in `folder`: trains as the run did, and says how far its losses are from the run's."""
    path = folder / f"train-{run.id[:6]}.py"
    if is_current(path, run):
        return path
    config, model = run.config, run.model
    examples = examples_of(run)
    files: dict[str, Content] = {
        DATA_FILE: data_lines(examples.train),
        TEMPLATE_FILE: examples.chat_template,
        LOSSES_FILE: losses_json(view(run)),
        **base_files(run, examples.chat_template),
        **({f"{START_FOLDER}/{file.name}": file for file in sorted(run.start.iterdir())} if run.start else {}),
    }
    device = choose_device(run.record["device"])
    return write_text(path, with_files(training_script(config, model, device, folder=path.stem), packed(files)))
