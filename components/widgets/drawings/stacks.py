"""Stage 6: the stacked bytes of three methods against the memories of real GPUs."""

from __future__ import annotations

from components.widgets.drawings.parts import Caption, Picture, apart, figure, line, pictures, rect, text
from pipelines.memory.estimate import Estimate
from pipelines.teaching.figures import Stack, StackFigures

GIB = 2**30
NAMES = {"full": "Full", "lora": "LoRA", "qlora": "QLoRA"}
# From the bottom up; what is small at any method is drawn as one part.
PARTS = (
    ("weights", "weights", ("weights", "quant_constants")),
    ("gradients", "gradients", ("gradients",)),
    ("optimizer", "optimizer states", ("optimizer",)),
    ("rest", "adapter, activations, logits, overhead", ("adapter", "activations", "logits", "overhead")),
)


def stacks_html(figures: StackFigures, where: str) -> str:
    """Three bars from one ground, and a line at the memory of each GPU."""
    setup = figures.stacks[0].estimate.setup
    parts = "; ".join(f"{NAMES[stack.estimate.setup.method]} {_gib(stack.estimate.total)}" for stack in figures.stacks)
    last = figures.stacks[-1]
    alone = f" {NAMES[last.estimate.setup.method]} fits on one {last.smallest.title}." if last.smallest else ""
    caption = Caption(
        f"{figures.model}, stacked against GPUs.",
        f"{parts}.{alone} A frozen weight needs neither gradient nor optimizer state, and in four bits a quarter of "
        "the room.",
        f"Computed for one GPU at the peak of a step: {figures.parameters:,} parameters, batch {setup.batch}, "
        f"{setup.seq_len:,} tokens, AdamW, bf16, rank {setup.r} on all linear layers; every term is in Play. GPU "
        "memories as nvidia-smi reports them.",
    )
    return figure("qlora", pictures("qlora", where, lambda wide: _draw(figures, wide), caption), caption)


def sizes(result: Estimate) -> list[tuple[str, int]]:
    """(key, bytes) of each part of a bar, from the bottom up; they add up to the estimate."""
    return [(key, sum(result.size(term) for term in terms)) for key, _, terms in PARTS]


def _draw(figures: StackFigures, wide: bool) -> Picture:
    width, tall, top = (960.0, 370.0, 30.0) if wide else (340.0, 300.0, 24.0)
    bar, step, begin = (150.0, 196.0, 16.0) if wide else (54.0, 66.0, 0.0)
    ground = top + tall
    scale = tall / max(stack.estimate.total for stack in figures.stacks)
    right = begin + 2 * step + bar + (40.0 if wide else 8.0)
    shapes = [line(0, ground, right, ground, "ground")]
    heights = [gpu.gib * GIB * scale for gpu in figures.gpus]
    for gpu, height, named in zip(figures.gpus, heights, apart(heights, 20.0 if wide else 16.0), strict=True):
        y, at = ground - height, ground - named
        label = f"{gpu.title.removesuffix(' SXM')} · {gpu.gib:g} GiB" if wide else f"{_short(gpu.title)} {gpu.gib:.0f}"
        shapes.append(line(0, y, right, y, "limit"))
        shapes.append(line(right, y, right + 12, at, "leader"))
        shapes.append(text(right + 16, at + 5, label))
    for number, stack in enumerate(figures.stacks):
        shapes.append(_bar(stack, begin + number * step, bar, ground, scale, wide))
    if not wide:
        shapes.append(text(right + 16, ground - apart(heights, 16.0)[-1] - 14, "GiB of one", "quiet"))
    return Picture(width, _legend(shapes, ground, wide, right), "".join(shapes))


def _bar(stack: Stack, x: float, width: float, ground: float, scale: float, wide: bool) -> str:
    shapes, y = [], ground
    for (key, amount), (_, name, _) in zip(sizes(stack.estimate), PARTS, strict=True):
        height = amount * scale
        y -= height
        shapes.append(rect(x, y, width, height, f"part-{key}"))
        if height > 22:
            words = f"{name.partition(' ')[0]} {amount / GIB:.0f}" if wide else f"{amount / GIB:.0f}"
            shapes.append(text(x + width / 2, y + height / 2 + 6, words, "on-part", "middle"))
    method = NAMES[stack.estimate.setup.method]
    shapes.append(text(x + width / 2, y - 9, _gib(stack.estimate.total), "strong", "middle"))
    shapes.append(text(x + width / 2, ground + (26 if wide else 19), method, "large" if wide else "strong", "middle"))
    if wide:
        shapes.append(text(x + width / 2, ground + 48, _where(stack), "quiet", "middle"))
    return "".join(shapes)


def _legend(shapes: list[str], ground: float, wide: bool, right: float) -> float:
    """Draw the names of the parts; returns the height of the picture."""
    if wide:
        for number, (key, name, _) in enumerate(reversed(PARTS)):
            y = 44.0 + 26.0 * number
            shapes.append(rect(right + 16, y - 12, 14, 14, f"part-{key}"))
            shapes.append(text(right + 38, y, name))
        return ground + 58
    for number, (key, name, _) in enumerate(PARTS):
        y = ground + 48.0 + 21.0 * number
        shapes.append(rect(0, y - 11, 12, 12, f"part-{key}"))
        shapes.append(text(20, y, name))
    return ground + 48.0 + 21.0 * len(PARTS) - 10


def _where(stack: Stack) -> str:
    if stack.smallest is not None:
        return f"one {stack.smallest.title}"
    return f"{stack.count} × H100" if stack.count else "more than 128 GPUs"


def _short(title: str) -> str:
    """Without the memory in its name, which stands beside it."""
    return title.removesuffix(" SXM").partition(" 80 GB")[0].partition(" 141 GB")[0].partition(" 180 GB")[0]


def _gib(amount: float) -> str:
    return f"{amount / GIB:,.0f} GiB"
