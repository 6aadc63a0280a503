"""The model card that travels with an adapter: what it is, how it was trained, and its own measured figures."""

from __future__ import annotations

import json

from pipelines.finetune.losses import losses_csv, losses_svg
from pipelines.finetune.run import RunDirectory, is_folder
from pipelines.finetune.view import view

LOSSES_FILE, PICTURE_FILE = "losses.csv", "losses.svg"

# https://huggingface.co/docs/hub/repositories-licenses: those that bases of the catalogue and their like have.
_HUB_LICENCES = set(
    "apache-2.0 mit bsd-3-clause cc0-1.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0 odc-by "
    "openrail openrail++ bigscience-bloom-rail-1.0 gpl-3.0 llama2 llama3 llama3.1 llama3.2 llama3.3 gemma".split()
)
_HUB_NAMES = {"llama-3.1-community": "llama3.1", "llama-3.2-community": "llama3.2", "gemma-terms-of-use": "gemma"}
_OBJECTIVES = {"sft": "Supervised fine-tuning", "dpo": "Direct preference optimization"}


def card_files(run: RunDirectory, merged: str = "") -> dict[str, str]:
    """The card with the curve that it shows, by file name; `merged` as in `model_card`."""
    seen = view(run)
    return {"README.md": model_card(run, merged), LOSSES_FILE: losses_csv(seen), PICTURE_FILE: losses_svg(seen)}


def model_card(run: RunDirectory, merged: str = "") -> str:
    """README.md of the adapter (or model) of a run, as the Hub reads it.

    merged: what merging did, where the card is that of the merged model
    """
    seen, config, base = view(run), run.config, run.model
    last = seen.evals[-1] if seen.evals else None
    first = seen.evals[0] if seen.evals else None
    full = config.method == "full"
    whole = full or bool(merged)
    head = [
        "---",
        # A folder of this machine has no page there that the card could lead to.
        *([] if is_folder(base) else [f"base_model: {base.shown}"]),
        f"library_name: {'transformers' if whole else 'peft'}",
        "pipeline_tag: text-generation",
        *_licence_lines(base.license),
        f"tags: [{config.objective}, trl" + ("]" if whole else ", lora]"),
        "---",
    ]
    what = "every weight" if full else f"LoRA, rank {config.r}, alpha {config.lora_alpha}, on {config.target_modules}"
    if config.method == "qlora":
        what = f"QLoRA (NF4 base), {what.removeprefix('LoRA, ')}"
    preferring = config.objective == "dpo"
    looked_at = (
        f"preference pairs, beta {config.beta:g}" if preferring else f"loss on: {config.train_on.replace('_', ' ')}"
    )
    data = f"{len(config.pairs)} typed pairs and {config.data}" if config.pairs else config.data
    body = [
        f"# {base.key}, fine-tuned (run {run.id[:6]})",
        "",
        f"{_OBJECTIVES[config.objective]} of `{base.shown}` with TRL: {what}."
        + (f" It began as the adapter `{_short(base.continues)}`, whose training it holds." if base.continues else ""),
        "",
        "| | |",
        "| --- | --- |",
        f"| Data | {data}, {looked_at} |",
        f"| Steps | {seen.step} of {seen.steps}, batch {(config.batch_size or 1) * config.gradient_accumulation} |",
        f"| Learning rate | {config.learning_rate:g}, {config.scheduler}, {config.warmup_steps} steps of warm-up |",
        f"| Seed | {config.seed} |",
    ]
    if seen.points:
        body.append(f"| Loss | {seen.points[0].loss:.3f} → {seen.points[-1].loss:.3f} |")
    if first and last and last.accuracy is not None and first.accuracy is not None:
        body.append(f"| Held-out answers right | {first.accuracy:.1%} → {last.accuracy:.1%} |")
    if first and last and first.win_rate is not None and last.win_rate is not None:
        body.append(f"| Held-out pairs won (by likelihood) | {first.win_rate:.1%} → {last.win_rate:.1%} |")
    if seen.points:
        body.append(f"| Training | {seen.seconds:.0f} s, {seen.points[-1].tokens:,} tokens |")
    body += [
        "",
        f"![Loss and held-out answers over the steps]({PICTURE_FILE})",
        "",
        f"Each step in figures: `{LOSSES_FILE}`.",
        "",
        *([merged, ""] if merged else []),
        "The chat template it was trained with is `chat_template.jinja`; use it with that one.",
        f"Licence: as the base model's ({base.license or 'see there'}), and that of the data.",
        "",
    ]
    return "\n".join([*head, *body])


def _short(name: str) -> str:
    """A run by six digits of its id: who reads the whole of it may see and stop the run."""
    return name[: len("run:") + 6] if name.startswith("run:") else name


def _licence_lines(text: str) -> list[str]:
    """The licence in the words that the Hub checks a card for; what it has no word for is "other", with its name."""
    word = text.lower().replace(" ", "-")
    word = _HUB_NAMES.get(word, word)
    if not word:
        return []
    return [f"license: {word}"] if word in _HUB_LICENCES else ["license: other", f"license_name: {json.dumps(text)}"]
