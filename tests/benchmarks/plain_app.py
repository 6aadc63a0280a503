"""What the studio's serving is compared with: a plain Gradio app that calls `generate`, behind Gradio's own queue."""

import sys

import gradio as gr
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])


def complete(prompt: str, max_new_tokens: int = 64, temperature: float = 0.0) -> dict:
    """The continuation of a text, at once."""
    inputs = tokenizer(prompt, return_tensors="pt")
    options = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=max_new_tokens, **options)
    new = output[0, inputs["input_ids"].shape[1] :]
    return {"text": tokenizer.decode(new, skip_special_tokens=True), "new_tokens": len(new)}


with gr.Blocks() as page:
    gr.api(complete, api_name="complete")
page.launch(server_name="127.0.0.1", ssr_mode=False)
