"""The programmatic endpoints: names, types and descriptions; the pipelines answer.

Nested in one function because Gradio reads parameters, annotations and docstring of what it is given, and
a bound method or a partial would show `self` or `studio` to the callers.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.api_export import export_endpoint
from components.context import Studio
from components.errors import tells_input_errors
from components.visitors import visitor_of
from components.watching import watch
from pipelines.errors import unknown
from pipelines.experiments import EXPERIMENTS
from pipelines.experiments.records import Progress
from pipelines.experiments.reports import progress_dict

if TYPE_CHECKING:
    from pipelines.completion import Completion

Json = dict[str, Any]


def register(studio: Studio) -> None:
    """Register every endpoint on the page being built."""
    endpoints = _model_endpoints(studio) | _conversation_endpoints(studio) | _calculators(studio)
    for name, handler in (endpoints | _data_endpoints(studio) | _run_endpoints(studio)).items():
        # A calculator never waits for a model, nor one caller for another: the pipelines know their own limits.
        gr.api(tells_input_errors(handler), api_name=name, concurrency_limit=None)


def _model_endpoints(studio: Studio) -> dict[str, Callable[..., Any]]:
    def models() -> list[Json]:
        """Every model by name, the running pair first: key, title, role, family, parameters, source, license,
        whether it is resident, and its bytes."""
        return [asdict(status) for status in studio.manager.models()]

    def complete(
        prompt: str, model: str = "base", max_new_tokens: int = 64, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[Json]:
        """Continue a text as it stands, without a chat template. Streams; the last value has a stop_reason.

        model: a key of /models, base, instruct, or run:<run_id>. temperature 0 takes the likeliest token.
        """
        from pipelines import completion

        sampling = completion.Sampling(max_new_tokens, temperature, seed)
        yield from map(_progress, completion.complete(studio.manager, prompt, model, sampling, details=False))

    def chat(
        messages: list[Json],
        model: str = "instruct",
        template: str = "",
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[Json]:
        """Answer a conversation, a list of {role, content}. Streams; the last value has a stop_reason.

        template: a key of /templates; empty means the model's own.
        """
        from pipelines import completion
        from pipelines.messages import parse_messages

        sampling = completion.Sampling(max_new_tokens, temperature, seed)
        conversation = parse_messages(messages)
        yield from map(
            _progress, completion.chat(studio.manager, conversation, model, sampling, template, details=False)
        )

    def next_tokens(prompt: str, model: str = "base", k: int = 10) -> list[Json]:
        """The k likeliest tokens after a text, most probable first: token, id, probability."""
        from pipelines import completion

        return [asdict(token) for token in completion.next_tokens(studio.manager, prompt, model, k)]

    return {"models": models, "complete": complete, "chat": chat, "next_tokens": next_tokens}


def _progress(state: Completion) -> Json:
    return {
        "text": state.text,
        "new_tokens": state.new_tokens,
        "seconds": round(state.seconds, 4),
        "stop_reason": state.stop_reason,
    }


def _conversation_endpoints(studio: Studio) -> dict[str, Callable[..., Any]]:
    def templates() -> list[Json]:
        """Every chat template by name: key, title, families, special_tokens, supports_system, supports_tools."""
        from pipelines.templates import catalogue

        return [
            {
                "key": entry.key,
                "title": entry.title,
                "families": list(entry.families),
                "special_tokens": dict(entry.special_tokens),
                "supports_system": entry.supports_system,
                "supports_tools": entry.supports_tools,
            }
            for entry in catalogue()
        ]

    def render(
        messages: list[Json],
        template: str,
        add_generation_prompt: bool = False,
        tools: list[Json] | None = None,
        jinja: str = "",
    ) -> Json:
        """A conversation as text, with spans of role and kind (control, content) that tile it.

        template: a key of /templates. jinja: a template of your own; `template` then lends its special tokens.
        """
        from pipelines.templates.record import render_record

        return render_record(messages, template, add_generation_prompt, tools, jinja)

    def loss_mask(
        messages: list[Json],
        template: str = "",
        model: str = "instruct",
        train_on: str = "assistant",
        losses: bool = True,
    ) -> Json:
        """Which tokens of a conversation the loss sees, and the loss of each under `model`.

        template: empty means the model's own. train_on: assistant, last_assistant or everything. losses: false leaves
        them out and waits for no model; a token that the model's context does not reach has none.
        """
        from pipelines.loss_mask import loss_mask_record

        return loss_mask_record(studio.manager, messages, template, model, train_on, losses)

    return {"templates": templates, "render": render, "loss_mask": loss_mask}


def _calculators(studio: Studio) -> dict[str, Callable[..., Any]]:
    def lora(
        model: str,
        r: int = 16,
        alpha: float = 32,
        targets: str = "all-linear",
        dora: bool = False,
        modules_to_save: list[str] = [],  # noqa: B006 - the default that the contract names; never changed
    ) -> Json:
        """Trainable parameters of a LoRA adapter as PEFT counts them; no weights are loaded.

        model: a catalogue key, a Hub id, or the text of a config.json. targets: q,v · q,k,v,o · mlp · all-linear,
        or module names, separated by commas.
        """
        from pipelines.lora import lora_record

        return lora_record(model, r, alpha, targets, dora, modules_to_save)

    def memory(
        model: str,
        method: str = "qlora",
        optimizer: str = "adamw",
        dtype: str = "bf16",
        quant: str = "nf4",
        double_quant: bool = True,
        r: int = 16,
        targets: str = "all-linear",
        batch: int = 1,
        seq_len: int = 2048,
        gradient_checkpointing: bool = True,
        attention: str = "sdpa",
        gpus: int = 1,
        sharding: str = "none",
    ) -> Json:
        """Bytes per GPU that fine-tuning takes, term by term, and the GPUs that fit. `batch` is per GPU.

        method: full, lora, qlora. optimizer: adamw, adamw_8bit, paged_adamw_8bit, adafactor, sgd. dtype: bf16, fp16,
        fp32. quant: nf4, fp4, int8, none. attention: eager, sdpa, flash_attention_2. sharding: none, ddp, zero1,
        zero2, zero3, fsdp.
        """
        from pipelines.memory import memory_record

        return memory_record(
            model,
            method=method,
            optimizer=optimizer,
            dtype=dtype,
            quant=quant,
            double_quant=double_quant,
            r=r,
            targets=targets,
            batch=batch,
            seq_len=seq_len,
            gradient_checkpointing=gradient_checkpointing,
            attention=attention,
            gpus=gpus,
            sharding=sharding,
        )

    return {"lora": lora, "memory": memory}


def _data_endpoints(studio: Studio) -> dict[str, Callable[..., Any]]:
    def dataset(source: str = "", file: gr.FileData | None = None, split: str = "train", limit: int = 200) -> Json:
        """Read any instruction data set: format, first rows, the same as messages, problems row by row, statistics.

        source: a key of the catalogue, lesson, or a Hub id; or file: an upload (JSON, JSONL, CSV, Parquet). The key
        that comes back names the data set to /finetune. limit: how many rows and conversations are returned.
        """
        from components.uploads import uploaded
        from pipelines.data.record import dataset_record
        from pipelines.data.tokens import measure_of

        measure = measure_of(studio.manager.tokenizer("instruct"))
        return dataset_record(studio.settings, source, uploaded(file), split, limit, measure)

    return {"dataset": dataset}


def _run_endpoints(studio: Studio) -> dict[str, Callable[..., Any]]:
    def finetune(config: Json, request: gr.Request | None = None) -> Json:
        """Start a fine-tuning run and return its run_id at once.

        Every key of config is optional; an unknown one is an error that names the nearest known key.
        """
        return {"run_id": studio.runs.start(config, visitor_of(request))}

    def run(run_id: str) -> Json:
        """Where a run stands: status, step, steps, seconds, loss, eval, samples, adapter, error, place, prediction."""
        return studio.runs.view(run_id).as_dict()

    def stop(run_id: str) -> Json:
        """Stop a run; the adapter of its last step is kept."""
        return {"status": studio.runs.stop(run_id)}

    async def prove(stage: str, seed: int = 0) -> AsyncIterator[Json]:
        """Run a stage's claim as an experiment. Streams {place, seconds, fraction, says, arms}; the last value is
        {claim, source, claimed, measured, passed, seconds, details}.

        stage: problem, sft, data, templates, lora, qlora, practice or base-vs-chat. seed: another one draws other
        samples; the same one gives the same numbers.
        """
        if stage not in EXPERIMENTS:
            raise unknown(stage, EXPERIMENTS, "stage")
        async with contextlib.aclosing(watch(studio.experiments, stage, seed)) as states:
            async for state in states:
                if state.report:
                    yield state.report.as_dict()
                else:
                    said = progress_dict(state.progress or Progress(0.0, state.status))
                    yield {"place": state.place, "seconds": round(state.seconds, 1)} | said

    return {"finetune": finetune, "run": run, "stop": stop, "prove": prove, "export": export_endpoint(studio)}
