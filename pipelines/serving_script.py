"""What Base vs Chat gives to take home: a script that swaps adapters on one base, and a command that serves them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from pipelines.models.device import FLOAT32_PARAMETERS
from pipelines.models.spec import ModelSpec

_HERE = "# Folders are seen from the studio's own directory: run it there, or edit the paths."
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank takes

_SWAP = '''\
# /// script
# requires-python = ">=3.10"
# dependencies = ["torch", "transformers>=5", "peft"]
# ///
"""One base in memory, several behaviours: adapters are swapped without loading the base again."""

from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

{here}
BASE = {base!r}
INSTRUCT = {instruct!r}
ADAPTERS = {adapters}
PROMPT = {prompt!r}
MAX_NEW_TOKENS = {length}


def load(name):
    return AutoModelForCausalLM.from_pretrained(name{dtype}).eval()


def answer(model, ids, tokenizer):
    ids = torch.tensor([ids])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
    return tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)


def as_chat(tokenizer):
    text = tokenizer.apply_chat_template(
        [{{"role": "user", "content": PROMPT}}], tokenize=False, add_generation_prompt=True
    )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


tokenizer = AutoTokenizer.from_pretrained(BASE)
base = load(BASE)
raw = tokenizer(PROMPT)["input_ids"]
fresh = base(torch.tensor([raw])).logits
print("--- base\\n" + answer(base, raw, tokenizer))

model = None
for name, folder in ADAPTERS.items():
    if model is None:
        model = PeftModel.from_pretrained(base, folder, adapter_name=name)
    else:
        model.load_adapter(folder, adapter_name=name)
for name, folder in ADAPTERS.items():
    model.set_adapter(name)
    own = AutoTokenizer.from_pretrained(folder if (Path(folder) / "tokenizer_config.json").exists() else BASE)
    template = Path(folder) / "chat_template.jinja"
    if template.exists():
        own.chat_template = template.read_text(encoding="utf-8")  # it keeps the template it was trained with
    print(f"--- {{name}}\\n" + answer(model, as_chat(own), own))
if model is not None:
    with model.disable_adapter():  # without this, the "base" would answer with the last adapter
        again = model(torch.tensor([raw])).logits
    print("largest logit difference of the base after all adapters:", float((again - fresh).abs().max()))

tokenizer = AutoTokenizer.from_pretrained(INSTRUCT)
print("--- instruct\\n" + answer(load(INSTRUCT), as_chat(tokenizer), tokenizer))
'''


def swapping_script(base: ModelSpec, instruct: ModelSpec, runs: Sequence[ModelSpec], prompt: str, length: int) -> str:
    """Python that prints the columns of the tab, for the adapters of that base; runs that trained every weight, or an
    adapter of another model, cannot be swapped on it and are left out."""
    fitting = [run for run in runs if run.adapter is not None and run.weights.key == base.key]
    adapters = {_name(run): _folder(run) for run in fitting}
    return _SWAP.format(
        here=_HERE,
        base=base.source,
        instruct=instruct.source,
        adapters=json.dumps(adapters, indent=4) if adapters else "{}",
        prompt=prompt,
        length=length,
        dtype=", dtype=torch.float32" if base.parameters <= FLOAT32_PARAMETERS else "",
    )


def serving_command(base: ModelSpec, runs: Sequence[ModelSpec]) -> str:
    """A shell script that serves a base with these adapters by vLLM, OpenAI-compatible, and asks one of them."""
    adapters = [run for run in runs if run.adapter is not None and run.weights.key == base.key]
    lines = ["#!/bin/sh", _HERE, "# vLLM: pip install vllm, on a machine with a GPU. Each adapter is a model name."]
    options = [f"vllm serve {shlex.quote(base.source)}", "--served-model-name base"]
    if adapters:
        rank = max(_rank(run.adapter) for run in adapters if run.adapter is not None)
        fits = next((size for size in _VLLM_RANKS if size >= rank), rank)
        modules = " ".join(shlex.quote(f"{_name(run)}={_folder(run)}") for run in adapters)
        options += ["--enable-lora", f"--max-lora-rank {fits}", f"--lora-modules {modules}"]
        # vLLM takes one template for all; an adapter is trained with its own, so a base's would garble it.
        if adapters[0].adapter and (adapters[0].adapter / "chat_template.jinja").is_file():
            options.append(f"--chat-template {shlex.quote(_folder(adapters[0]))}/chat_template.jinja")
    lines.append(" \\\n  ".join(options) + " &")
    asked = _name(adapters[0]) if adapters else "base"
    lines += [
        "until curl -sf http://127.0.0.1:8000/health; do sleep 1; done",
        "curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\",
        """  -d '{"model": "base", "prompt": "The capital of France is", "max_tokens": 16, "temperature": 0}'""",
    ]
    if adapters:
        body = {"model": asked, "messages": [{"role": "user", "content": "What is the capital of France?"}]}
        lines += [
            "curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\",
            f"  -d '{json.dumps(body | {'max_tokens': 64, 'temperature': 0})}'",
        ]
    return "\n".join(lines) + "\n"


def _name(run: ModelSpec) -> str:
    return re.sub(r"[^\w-]", "-", run.key)


def _folder(run: ModelSpec) -> str:
    """Where its adapter is: in the folder of the run, or a folder of its own where it ships with the studio."""
    return f"{run.source}/adapter" if run.key.startswith("run:") else run.source


def _rank(adapter: Path) -> int:
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return max([int(config.get("r", 8)), *map(int, (config.get("rank_pattern") or {}).values())])
