"""The pocket pair behind llama.cpp's own server: `python -m tests.llama_server PORT`.

One such server holds one model; as llama-swap does in front of real ones, a few lines here hand each request to the
server of the model that it names, byte by byte.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pipelines.stages import ASSETS

NAMES = ("pocket-base", "pocket-instruct")
_CONTROL = 3  # llama_token_type of special tokens; 1 is a normal one
_IN_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OUTSIDE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def write_gguf(folder: Path, file: Path) -> None:
    """A Llama of transformers as llama.cpp reads it, in float32; as its convert_hf_to_gguf.py does."""
    import gguf
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_name(folder.name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    _write_tokenizer(writer, folder)
    for name, weight in load_file(folder / "model.safetensors").items():
        if name != "lm_head.weight":  # tied
            writer.add_tensor(*_tensor(name, weight.float(), config["num_attention_heads"]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensor(name: str, weight: Any, heads: int) -> tuple[str, Any]:
    if name in _OUTSIDE:
        return _OUTSIDE[name], weight.numpy()
    found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.weight", name)
    assert found is not None, name
    layer, part = found.groups()
    if part.endswith(("q_proj", "k_proj")):  # rotary halves side by side there, interleaved here
        rows, columns = weight.shape
        weight = weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return f"blk.{layer}.{_IN_LAYER[part]}.weight", weight.contiguous().numpy()


def _write_tokenizer(writer: Any, folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    tokens = {number: token for token, number in tokenizer["model"]["vocab"].items()} | added
    special = {content: number for number, content in added.items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")  # digits by themselves, then GPT-2's pattern
    writer.add_token_list([tokens[number] for number in range(len(tokens))])
    writer.add_token_types([_CONTROL if number in added else 1 for number in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(special["<|bos|>"])
    writer.add_eos_token_id(special["<|eos|>"])
    writer.add_eot_token_id(special["<|end|>"])
    writer.add_pad_token_id(special["<|pad|>"])
    writer.add_add_bos_token(True)
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    writer.add_chat_template(re.sub(r"\{%-? (end)?generation -?%\}", "", template))  # a statement of transformers


def load(file: Path) -> Any:
    """A server of that model on a free port."""
    import xllamacpp

    wanted = xllamacpp.CommonParams()
    wanted.model.path, wanted.hostnames, wanted.port, wanted.warmup = str(file), ["127.0.0.1"], 0, False
    wanted.n_parallel, wanted.n_ctx, wanted.cpuparams.n_threads = 4, 4 * 512, 1
    return xllamacpp.Server(wanted)


def door(addresses: dict[str, str]) -> Any:
    """An application that lists the models and hands requests on."""
    import httpx
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    client = httpx.AsyncClient(timeout=None)

    async def models(_: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in addresses]})

    async def hand_on(request: Request) -> Any:
        body = await request.body()
        name = json.loads(body).get("model")
        if name not in addresses:
            return JSONResponse({"error": {"message": f"model '{name}' not found", "code": 404}}, 404)
        asked = client.build_request("POST", addresses[name] + request.url.path, content=body)
        reply = await client.send(asked, stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in reply.aiter_raw():
                    yield piece
            finally:
                await reply.aclose()

        return StreamingResponse(pieces(), reply.status_code, media_type=reply.headers.get("content-type"))

    routes = [Route(f"/v1/{path}", hand_on, methods=["POST"]) for path in ("completions", "chat/completions")]
    return Starlette(routes=[Route("/v1/models", models), *routes])


def main(port: int) -> None:
    """Serve until the process is ended."""
    import uvicorn

    with tempfile.TemporaryDirectory() as directory:
        servers = {}
        for name in NAMES:
            file = Path(directory) / f"{name}.gguf"
            write_gguf(ASSETS / "models" / name, file)
            servers[f"studio/{name}"] = load(file)
        uvicorn.run(
            door({name: server.listening_address for name, server in servers.items()}),
            host="127.0.0.1",
            port=port,
            log_level="warning",
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
