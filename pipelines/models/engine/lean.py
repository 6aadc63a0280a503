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

    def attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """q (n, heads, d), k and v (n, key heads, d) of these tokens → (n, heads · d). Keeps k and v."""


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
        self._norm, self._eps = inner.norm.weight, float(config.rms_norm_eps)
        self._rotary = inner.rotary_emb
        self._on_cpu = self.device.type == "cpu" and self.dtype == torch.float32
        self._doubled: dict[torch.Tensor, torch.Tensor] = {}  # norm weights, twice
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
        both = heads + self.key_heads
        split = both * d
        cos, sin = self._rotations(positions)
        x = embedding(ids, self._embedding)
        count = len(ids)
        for number, layer in enumerate(self._layers):
            h = norm(x, layer.norm)
            qkv = _product(h, layer.qkv, layer.qkv_bias)
            if adapters is not None:
                adapters.add(number, "qkv", h, qkv)
            qk, v = qkv[:, :split].view(count, both, d), qkv[:, split:].view(count, self.key_heads, d)
            if layer.q_norm is not None and layer.k_norm is not None:
                q = norm(qk[:, :heads], layer.q_norm)
                k = norm(qk[:, heads:], layer.k_norm)
                qk = torch.cat((q, k), dim=1)
            qk = torch.addcmul(qk * cos, qk.roll(d // 2, -1), sin)
            q, k = qk[:, :heads], qk[:, heads:]
            if len(parts) == 1:
                attended = parts[0].attend(number, q, k, v)
            else:
                mixed = []
                for part in parts:
                    tokens = slice(part.begin, part.end)
                    mixed.append(part.attend(number, q[tokens], k[tokens], v[tokens]))
                attended = torch.cat(mixed)
            x = _onto(x, attended, layer.o, layer.o_bias)
            if adapters is not None:
                adapters.add(number, "o", attended, x)
            h = norm(x, layer.mlp_norm)
            gate_up = _product(h, layer.gate_up, layer.gate_up_bias)
            if adapters is not None:
                adapters.add(number, "gate_up", h, gate_up)
            gate, up = gate_up.chunk(2, -1)
            gated = silu(gate).mul_(up)
            x = _onto(x, gated, layer.down, layer.down_bias)
            if adapters is not None:
                adapters.add(number, "down", gated, x)
        if last is not None:
            x = x[last]
        return norm(x, self._norm) @ self._head

    def _normalised(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMS norm over the last dimension."""
        import torch
        from torch.nn.functional import layer_norm, rms_norm

        width = x.shape[-1]
        if not self._on_cpu:
            return rms_norm(x, (width,), weight, self._eps)
        # On a CPU it is a dozen operations, where layer norm is one; and they are the same where the mean is zero.
        doubled = self._doubled.get(weight)
        if doubled is None:
            doubled = self._doubled[weight] = torch.cat((weight, weight))
        return layer_norm(torch.cat((x, -x), -1), (2 * width,), doubled, None, self._eps)[..., :width]

    def _rotations(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin, (N, 1, d) each; the first half of sin negated, as rotating a half negates it."""
        import torch

        longest = int(positions.max()) + 1
        if self._angles is None or len(self._angles[0]) < longest:
            length = max(512, 1 << (longest - 1).bit_length())
            every = torch.arange(length, device=self.device)[None]
            cos, sin = self._rotary(torch.empty(0, dtype=self.dtype, device=self.device), every)
            sin = torch.cat((-sin[..., : self.head_dim // 2], sin[..., self.head_dim // 2 :]), -1)
            self._angles = cos[0][:, None], sin[0][:, None]
        cos, sin = self._angles
        return cos[positions], sin[positions]

    def _layer(self, number: int, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        qkv = self._fuse(number, "qkv", [attention.q_proj, attention.k_proj, attention.v_proj])
        gate_up = self._fuse(number, "gate_up", [mlp.gate_proj, mlp.up_proj])
        o, down = self._fuse(number, "o", [attention.o_proj]), self._fuse(number, "down", [mlp.down_proj])
        q_norm, k_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
        return _Layer(
            norm=layer.input_layernorm.weight,
            qkv=qkv[0],
            qkv_bias=qkv[1],
            q_norm=None if q_norm is None else q_norm.weight,
            k_norm=None if k_norm is None else k_norm.weight,
            o=o[0],
            o_bias=o[1],
            mlp_norm=layer.post_attention_layernorm.weight,
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


def _product(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    import torch

    return inputs @ weight if bias is None else torch.addmm(bias, inputs, weight)


def _onto(x: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x with the product added to it, in place."""
    x = x.addmm_(inputs, weight)
    return x if bias is None else x.add_(bias)


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
