"""The script of the Problem tab: the same models, prompt and sampling, with transformers and nothing of ours."""

from __future__ import annotations

from pipelines.models.device import FLOAT32_PARAMETERS
from pipelines.models.spec import ModelSpec

_SCRIPT = '''\
# /// script
# requires-python = ">=3.10"
# dependencies = ["torch", "transformers>=5"]
# ///
"""One prompt, a base model and the instruct model made from it."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

{models}
PROMPT = {prompt!r}
TEMPERATURE = {temperature}  # 0 takes the likeliest token
LENGTH = {length}  # tokens at most
SEED = {seed}
SHOWN = 8  # likeliest first tokens to print


def ask(name, as_chat):
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name{dtype}).eval()
    if as_chat:
        message = [{{"role": "user", "content": PROMPT}}]
        screenplay = AutoTokenizer.from_pretrained(INSTRUCT)  # a base model may have no template of its own
        text = screenplay.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        ids = tokenizer(PROMPT)["input_ids"]
    stops = model.generation_config.eos_token_id
    stops = {{tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])}}
    generator = torch.Generator().manual_seed(SEED)
    step, cache, written = torch.tensor([ids]), None, []
    for _ in range(LENGTH):
        with torch.inference_mode():
            output = model(step, past_key_values=cache, use_cache=True)
        cache, logits = output.past_key_values, output.logits[0, -1].float()
        if not written:
            print(f"\\n--- {{name}}, {{'chat template' if as_chat else 'raw text'}}")
            for p, i in zip(*logits.softmax(-1).topk(SHOWN)):
                print(f"{{p:7.1%}}  {{tokenizer.decode([int(i)])!r}}")
        if TEMPERATURE:
            token = int(torch.multinomial((logits / TEMPERATURE).softmax(-1), 1, generator=generator))
        else:
            token = int(logits.argmax())
        written.append(token)
        if token in stops:
            break
        step = torch.tensor([[token]])
    print(tokenizer.decode(written, skip_special_tokens=True))


{calls}
'''


def problem_script(
    base: ModelSpec,
    instruct: ModelSpec,
    prompt: str,
    temperature: float,
    length: int,
    seed: int,
    crossed: bool,
) -> str:
    """Python that prints what the tab shows. `crossed`: all four of {base, instruct} × {raw text, chat template}."""
    models = [f"BASE = {base.source!r}", f"INSTRUCT = {instruct.source!r}"]
    if base.folder is not None or instruct.folder is not None:
        models.insert(0, "# Folders are seen from the studio's own directory: run the script there, or edit the paths.")
    cells = [("BASE", False), ("INSTRUCT", True)]
    if crossed:
        cells = [("BASE", False), ("INSTRUCT", False), ("BASE", True), ("INSTRUCT", True)]
    return _SCRIPT.format(
        models="\n".join(models),
        prompt=prompt,
        temperature=temperature,
        length=length,
        seed=seed,
        # Small models are float32 here as in the studio, so that sampling takes the same tokens.
        dtype=", dtype=torch.float32" if base.parameters <= FLOAT32_PARAMETERS else "",
        calls="\n".join(f"ask({name}, as_chat={as_chat})" for name, as_chat in cells),
    )
