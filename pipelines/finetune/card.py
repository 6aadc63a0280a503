"""The model card that travels with an adapter: what it is, how it was trained, and its own measured figures."""

from __future__ import annotations

from pipelines.finetune.run import RunDirectory
from pipelines.finetune.view import view

_OBJECTIVES = {"sft": "Supervised fine-tuning", "dpo": "Direct preference optimization"}


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
        f"base_model: {base.shown}",
        f"library_name: {'transformers' if whole else 'peft'}",
        "pipeline_tag: text-generation",
        *([f"license: {base.license}"] if _is_licence_tag(base.license) else []),
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
        f"# {base.key}, fine-tuned (run {run.id})",
        "",
        f"{_OBJECTIVES[config.objective]} of `{base.shown}` with TRL: {what}."
        + (f" It began as the adapter `{base.continues}`, whose training it holds." if base.continues else ""),
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
        *([merged, ""] if merged else []),
        "The chat template it was trained with is `chat_template.jinja`; use it with that one.",
        f"Licence: as the base model's ({base.license or 'see there'}), and that of the data.",
        "",
    ]
    return "\n".join([*head, *body])


def _is_licence_tag(text: str) -> bool:
    return bool(text) and text.replace("-", "").replace(".", "").isalnum()
