"""What a causal language model is made of: its weights by name and shape, and the sizes its activations
follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Literal

Kind = Literal["linear", "conv1d", "embedding", "parameter"]


@dataclass(frozen=True, slots=True)
class Weight:
    """One parameter tensor, and how often it occurs.

    name:  as `named_parameters()` spells it, with `{}` for the number of the layer
    kind:  class of the module that owns it: `linear` (shape out × in), `conv1d` (GPT-2's, shape in × out),
           `embedding` (shape vocabulary × hidden) for the weight itself; `parameter` for everything else
           (biases, norms, stacked experts)
    shape: of one tensor
    count: number of layers that have it; 1 outside the layers
    tied:  it is another weight under a second name (an output head tied to the embeddings): it costs nothing
    transposed: a stack of experts kept as experts × in × out (gpt-oss) instead of experts × out × in
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    count: int
    tied: bool = False
    transposed: bool = False

    @property
    def module(self) -> str:
        """Name of the module that owns it."""
        return self.name.rpartition(".")[0]

    @property
    def size(self) -> int:
        """Parameters in one tensor."""
        return prod(self.shape)

    @property
    def total(self) -> int:
        """Parameters in all layers together, zero for a tied weight."""
        return 0 if self.tied else self.size * self.count

    @property
    def features(self) -> tuple[int, int]:
        """(in, out) of the linear map, as PEFT reads them."""
        if self.kind == "conv1d" or (self.transposed and len(self.shape) == 3):
            return self.shape[-2], self.shape[-1]
        return self.shape[-1], self.shape[-2]

    @property
    def experts(self) -> int:
        """How many matrices are stacked in it; 1 for a plain matrix."""
        return self.shape[0] if len(self.shape) == 3 else 1


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes that activations depend on, read from the configuration.

    hidden, intermediate, vocab: features; `intermediate` is one expert's in a mixture of experts
    layers, heads, kv_heads, head_dim: of the attention
    experts, experts_per_token: 0 and 0 without a mixture of experts
    gated: the MLP multiplies a gate with an up projection (Llama's), rather than being one matrix wide
        (GPT-2's)
    norms: normalisations of the hidden state in one layer
    context: longest sequence the model was made for, in tokens
    """

    hidden: int
    intermediate: int
    vocab: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    experts_per_token: int
    gated: bool
    norms: int
    context: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model without its weights.

    key, title, source: as in the catalogue; `source` is where the configuration was published
    model_type: of the transformers configuration
    moe_names: how PEFT translates a mixture's module names of transformers 4 ("mixtral", "qwen2_moe"), or ""
    head: module name of the output head, which `all-linear` leaves out
    """

    key: str
    title: str
    source: str
    hub_id: str
    model_type: str
    moe_names: str
    head: str
    weights: tuple[Weight, ...]
    dimensions: Dimensions

    @property
    def parameters(self) -> int:
        """All parameters, tied ones counted once."""
        return sum(weight.total for weight in self.weights)

    @property
    def tied(self) -> bool:
        """Whether the output head shares the embedding matrix."""
        return any(weight.tied for weight in self.weights)


def to_json(architecture: Architecture) -> dict[str, Any]:
    """The shapes as the catalogue keeps them, one short row per weight."""
    return {
        "model_type": architecture.model_type,
        "moe_names": architecture.moe_names,
        "head": architecture.head,
        "dimensions": asdict(architecture.dimensions),
        "weights": [
            [weight.name, weight.kind, list(weight.shape), weight.count, weight.tied, weight.transposed]
            for weight in architecture.weights
        ],
    }


def from_json(facts: Mapping[str, Any], shapes: Mapping[str, Any]) -> Architecture:
    """The architecture from a catalogue entry's facts and its shapes."""
    return Architecture(
        key=facts["key"],
        title=facts["title"],
        source=facts["source"],
        hub_id=facts["hub_id"],
        model_type=shapes["model_type"],
        moe_names=shapes["moe_names"],
        head=shapes["head"],
        weights=tuple(
            Weight(name, kind, tuple(shape), count, tied, transposed)
            for name, kind, shape, count, tied, transposed in shapes["weights"]
        ),
        dimensions=Dimensions(**shapes["dimensions"]),
    )
