"""What the exports share: the rows of a run as it trained on them, its base where that is a folder, and archives."""

from __future__ import annotations

import io
import json
import secrets
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.finetune.arguments import torch_dtype
from pipelines.finetune.card import LOSSES_FILE, PICTURE_FILE
from pipelines.finetune.conversations import Examples, build_examples
from pipelines.finetune.loading import load_tokenizer
from pipelines.finetune.losses import losses_csv, losses_svg
from pipelines.finetune.rows import Rows
from pipelines.finetune.run import RunDirectory, TrainedModel, is_folder
from pipelines.finetune.script import TEMPLATE_FILE
from pipelines.finetune.view import view
from pipelines.models.device import choose_device

Content = Path | str | bytes
# From the run, its examples and a sentence on where the base is: a tool's own files by name, README.md among them.
OwnFiles = Callable[[RunDirectory, Examples, str], Mapping[str, Content]]
# A base of this machine travels in the export up to this size; a larger one is put beside it by hand.
MAX_BASE_BYTES = 64 * 2**20


def tool_archive(run: RunDirectory, folder: Path, tool: str, own_files: OwnFiles) -> Path:
    """`tool`-<id>.zip in `folder`: its own files with what every tool needs: template, losses and a small base."""
    path = folder / f"{tool}-{run.id[:6]}.zip"
    if is_current(path, run):
        return path
    examples, seen = examples_of(run), view(run)
    base = base_files(run, examples.chat_template)
    files: dict[str, Content] = {
        **own_files(run, examples, base_note(run, base)),
        TEMPLATE_FILE: examples.chat_template,
        LOSSES_FILE: losses_csv(seen),
        PICTURE_FILE: losses_svg(seen),
        **base,
    }
    return pack(path, {f"{path.stem}/{name}": content for name, content in files.items()})


def examples_of(run: RunDirectory) -> Examples:
    """The rows labelled again, exactly as the worker did it; the tokenizer is loaded for that."""
    config, model = run.config, run.model
    return build_examples(Rows.read(run.path), load_tokenizer(model), config, model)


def base_files(run: RunDirectory, chat_template: str) -> dict[str, Content]:
    """The base's folder by archive name, with template and numbers of the run; empty for a Hub model or a large one.

    Tools save the tokenizer that they loaded: with the template of the run in it, what they save fits. And
    LLaMA-Factory trains in the numbers that the base says it is stored in.
    """
    model = run.model
    if not fits(model):
        return {}
    folder = Path(model.source)
    files = [file for file in sorted(folder.iterdir()) if file.is_file()]
    name = base_name(run)
    dtype = torch_dtype(run.config, model.parameters, choose_device(run.record["device"]))
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings.pop("torch_dtype", None)  # its name before transformers 5
    packed_files: dict[str, Content] = {f"{name}/{file.name}": file for file in files}
    packed_files[f"{name}/config.json"] = json.dumps(settings | {"dtype": dtype}, indent=2)
    packed_files[f"{name}/{TEMPLATE_FILE}"] = chat_template
    return packed_files


def fits(model: TrainedModel) -> bool:
    """Whether the base is a folder that is small enough to travel, and to be loaded for an export."""
    if not is_folder(model):
        return False
    return sum(file.stat().st_size for file in Path(model.source).iterdir() if file.is_file()) <= MAX_BASE_BYTES


def base_name(run: RunDirectory) -> str:
    """How the base is named in a configuration: its Hub id, or a folder beside the configuration."""
    model = run.model
    return model.shown.rsplit("/", 1)[-1] if is_folder(model) else model.shown


def base_note(run: RunDirectory, packed: Mapping[str, Content]) -> str:
    """A sentence on where the base comes from."""
    model = run.model
    if not is_folder(model):
        revision = f", revision {model.revision}" if model.revision else ""
        return f"The base is `{model.shown}` on the Hugging Face Hub{revision}."
    if packed:
        return f"The base is in the folder `{base_name(run)}`."
    return f"The base is too large to travel along: put its folder here as `{base_name(run)}`."


def is_current(path: Path, run: RunDirectory) -> bool:
    """Whether an export was written after the last thing that happened in the run, so that it can be handed out."""
    events = run.path / "events.jsonl"
    return path.exists() and path.stat().st_mtime >= events.stat().st_mtime


def packed(files: Mapping[str, Content], level: int = 6) -> bytes:
    """A zip archive of `files`, by archive name; a Path is read."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        _fill(archive, files)
    return buffer.getvalue()


def pack(path: Path, files: Mapping[str, Content], level: int = 1) -> Path:
    """Write the archive under another name first: a second visitor must not be handed half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        _fill(archive, files)
    partial.replace(path)
    return path


def write_text(path: Path, text: str) -> Path:
    """The same for a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _fill(archive: zipfile.ZipFile, files: Mapping[str, Content]) -> None:
    for name, content in files.items():
        if isinstance(content, Path):
            archive.write(content, name)
        else:
            archive.writestr(name, content)
