"""The forward pass of a Llama-like model without its module tree: the same weights, some fifteen operations a layer.

A small model spends most of a pass of transformers in Python. Here q, k and v are one product, gate and up another,
residuals are added by the product before them, and rows of any length share all products: tokens of all rows lie one
after the other, (N, width), and only attention knows rows. The formulas are those of LlamaForCausalLM (Touvron et al.
2023), with the biases of Qwen2 and the query and key norms of Qwen3; tests compare logits with transformers'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

FAMILIES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_FIXED_ROPE = ("default", "linear", "llama3", "yarn")  # whose angles do not depend on how long the text is


class Attends(Protocol):
    """Some tokens of a pass, one after the other, whose rows keep their keys and values in one place."""

    begin: int
    end: int

    def attend(self, layer: int, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        """q (n, heads, d), keys and values kv (n, 2 · key heads, d) of these tokens → (n, heads · d). Keeps kv."""


class Adds(Protocol):
    """What adapters add to a product."""

    def add(self, layer: int, site: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Add to outputs (N, out), in place, what the adapters of these tokens make of inputs (N, in)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a linear module went: `site` of `layer`, outputs from `begin` on."""

    layer: int
    site: str
    begin: int
    outputs: int


@dataclass(slots=True)
class _Layer:
    norm: torch.Tensor
    qkv: torch.Tensor
    qkv_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    o: torch.Tensor
    o_bias: torch.Tensor | None
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    gate_up_bias: torch.Tensor | None
    down: torch.Tensor
    down_bias: torch.Tensor | None


class LeanModel:
    """The weights of a model of FAMILIES. They stay where they are: fused matrices are split into views for the model.

    `places`: of each linear module of the model, by `id`.
    """

    def __init__(self, model: Any) -> None:
        import torch
        from torch.nn.functional import layer_norm, rms_norm

        config, inner = model.config, model.model
        self.dtype, self.device = model.dtype, model.device
        self.layers = len(inner.layers)
        self.key_heads = int(config.num_key_value_heads)
        self.heads = int(config.num_attention_heads)
        self.head_dim = int(inner.layers[0].self_attn.head_dim)
        self.sites = {
            "qkv": (self.heads + 2 * self.key_heads) * self.head_dim,
            "o": int(config.hidden_size),
            "gate_up": 2 * int(config.intermediate_size),
            "down": int(config.hidden_size),
        }
        self.places: dict[int, Place] = {}
        self._on_cpu = self.device.type == "cpu" and self.dtype == torch.float32
        self._layer_norm, self._rms_norm, self._cat = layer_norm, rms_norm, torch.cat
        self._norm, self._eps = self._norm_weight(inner.norm), float(config.rms_norm_eps)
        self._rotary = inner.rotary_emb
        # One tensor where input and output embeddings are tied: lookups in the turned one cost little.
        self._head = self._turned([model.lm_head])
        self._embedding = inner.embed_tokens.weight
        self._angles: tuple[torch.Tensor, torch.Tensor] | None = None
        self._layers = [self._layer(number, layer) for number, layer in enumerate(inner.layers)]

    def forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        parts: Sequence[Attends],
        last: torch.Tensor | None = None,
        adapters: Adds | None = None,
    ) -> torch.Tensor:
        """Logits (R, V) of the tokens `last` (R,), or of all. ids and positions (N,); `parts` tile the tokens."""
        import torch
        from torch.nn.functional import embedding, silu

        heads, d, norm = self.heads, self.head_dim, self._normalised
        both, count = heads + self.key_heads, len(ids)
        cos, sin = self._rotations(positions)
        x = embedding(ids, self._embedding)
        for number, layer in enumerate(self._layers):
            h = norm(x, layer.norm)
            qkv = torch.mm(h, layer.qkv) if layer.qkv_bias is None else torch.addmm(layer.qkv_bias, h, layer.qkv)
            if adapters is not None:
                adapters.add(number, "qkv", h, qkv)
            qkv = qkv.view(count, both + self.key_heads, d)
            if layer.q_norm is not None and layer.k_norm is not None:
                q, k, v = qkv.split((heads, self.key_heads, self.key_heads), 1)
                qkv = torch.cat((norm(q, layer.q_norm), norm(k, layer.k_norm), v), 1)
            # Values are turned as well, by nothing: one operation on all heads costs less than taking them apart.
            qkv = torch.addcmul(qkv * cos, qkv.roll(d // 2, -1), sin)
            q, kv = qkv[:, :heads], qkv[:, heads:]
            if len(parts) == 1:
                attended = parts[0].attend(number, q, kv)
            else:
                tokens = [slice(part.begin, part.end) for part in parts]
                attended = torch.cat(
                    [part.attend(number, q[some], kv[some]) for part, some in zip(parts, tokens, strict=True)]
                )
            x = x.addmm_(attended, layer.o)
            if layer.o_bias is not None:
                x = x.add_(layer.o_bias)
            if adapters is not None:
                adapters.add(number, "o", attended, x)
            h = norm(x, layer.mlp_norm)
            bias = layer.gate_up_bias
            gate_up = torch.mm(h, layer.gate_up) if bias is None else torch.addmm(bias, h, layer.gate_up)
            if adapters is not None:
                adapters.add(number, "gate_up", h, gate_up)
            gate, up = gate_up.chunk(2, -1)
            gated = silu(gate).mul_(up)
            x = x.addmm_(gated, layer.down)
            if layer.down_bias is not None:
                x = x.add_(layer.down_bias)
            if adapters is not None:
                adapters.add(number, "down", gated, x)
        if last is not None:
            x = x[last]
        return norm(x, self._norm) @ self._head

    def _normalised(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMS norm over the last dimension. `weight`: of `_norm_weight`."""
        width = x.shape[-1]
        if not self._on_cpu:
            return self._rms_norm(x, (width,), weight, self._eps)
        # On a CPU that is a dozen operations, where layer norm is one; they are the same where the mean is zero.
        return self._layer_norm(self._cat((x, -x), -1), (2 * width,), weight, None, self._eps)[..., :width]

    def _norm_weight(self, module: Any) -> torch.Tensor:
        import torch

        weight: torch.Tensor = module.weight.data
        return torch.cat((weight, weight)) if self._on_cpu else weight

    def _rotations(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin, (N, heads + 2 key heads, d); the first half of sin negated, as rotating a half negates it. They
        turn values by nothing: 1 and 0."""
        import torch

        longest = int(positions.max()) + 1
        if self._angles is None or len(self._angles[0]) < longest:
            length = max(512, 1 << (longest - 1).bit_length())
            every = torch.arange(length, device=self.device)[None]
            cos, sin = self._rotary(torch.empty(0, dtype=self.dtype, device=self.device), every)
            sin = torch.cat((-sin[..., : self.head_dim // 2], sin[..., self.head_dim // 2 :]), -1)
            self._angles = cos[0], sin[0]
        cos, sin = (angles[positions][:, None] for angles in self._angles)
        turned, still = (-1, self.heads + self.key_heads, -1), (-1, self.key_heads, -1)
        cos = torch.cat((cos.expand(turned), torch.ones_like(cos).expand(still)), 1)
        sin = torch.cat((sin.expand(turned), torch.zeros_like(sin).expand(still)), 1)
        return cos, sin

    def _layer(self, number: int, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        qkv = self._fuse(number, "qkv", [attention.q_proj, attention.k_proj, attention.v_proj])
        gate_up = self._fuse(number, "gate_up", [mlp.gate_proj, mlp.up_proj])
        o, down = self._fuse(number, "o", [attention.o_proj]), self._fuse(number, "down", [mlp.down_proj])
        q_norm, k_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
        return _Layer(
            norm=self._norm_weight(layer.input_layernorm),
            qkv=qkv[0],
            qkv_bias=qkv[1],
            q_norm=None if q_norm is None else self._norm_weight(q_norm),
            k_norm=None if k_norm is None else self._norm_weight(k_norm),
            o=o[0],
            o_bias=o[1],
            mlp_norm=self._norm_weight(layer.post_attention_layernorm),
            gate_up=gate_up[0],
            gate_up_bias=gate_up[1],
            down=down[0],
            down_bias=down[1],
        )

    def _fuse(self, number: int, site: str, modules: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One matrix (in, out), and bias, of several modules' outputs; the modules keep views of it."""
        import torch

        begin = 0
        for module in modules:
            self.places[id(module)] = Place(number, site, begin, module.out_features)
            begin += module.out_features
        bias = None
        if modules[0].bias is not None:
            bias = torch.cat([module.bias.data for module in modules])
            for module, part in zip(modules, bias.split([module.out_features for module in modules]), strict=True):
                module.bias.data = part
        return self._turned(modules), bias

    def _turned(self, modules: Sequence[Any]) -> torch.Tensor:
        """The modules' weights side by side, (in, out). A CPU reads float32 fastest when it lies like that in memory:
        a product of one row with the pocket base's matrices took half the time (docs/decisions.md)."""
        import torch

        weights = [module.weight.data for module in modules]
        if self._on_cpu:
            whole = torch.cat([weight.T for weight in weights], dim=1).contiguous()
        else:
            whole = (weights[0] if len(weights) == 1 else torch.cat(weights)).T
        for module, part in zip(modules, whole.split([len(weight) for weight in weights], dim=1), strict=True):
            module.weight.data = part.T
        return whole


def lean_model(model: Any) -> LeanModel | None:
    """The lean form of a model that was just loaded; None for one that it would compute otherwise."""
    from torch.nn import Linear

    if type(model).__name__ not in FAMILIES or len({weight.device for weight in model.parameters()}) > 1:
        return None
    config = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type")
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = type(model).__name__ == "MistralForCausalLM" and config.sliding_window is not None
    layers = model.model.layers
    linears = [module for layer in layers for name, module in layer.named_modules() if name.endswith("_proj")]
    attention = layers[0].self_attn
    fits = (
        config.hidden_act == "silu"
        and rope in _FIXED_ROPE
        and kinds == {"full_attention"}
        and not windowed
        and attention.scaling == attention.head_dim**-0.5
        and all(type(module) is Linear for module in linears)
        and model.lm_head.bias is None
    )
    return LeanModel(model) if fits else None
