"""What the tests share: a tokenizer and a pair of models built in the process. No test needs the Hub."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines.settings import Settings

SPECIAL_TOKENS = ("<|bos|>", "<|eos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_TEXT = [
    "The capital of France is Paris. The capital of Italy is Rome. Question: what is the capital of Spain?",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "Grüße aus Köln: naïve café, Ελλάδα, 東京, 🌍🚀. Numbers: 0 1 2 3 4 5 6 7 8 9.",
]


class TinyPair(NamedTuple):
    """Folders of a base and an instruct model that differ in their random weights."""

    base: Path
    instruct: Path

    @property
    def settings(self) -> Settings:
        """A studio that runs this pair, its runs beside it."""
        return Settings(pair=f"{self.base},{self.instruct}", runs_dir=self.base.parent / "runs", device="cpu")


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """Byte-level BPE of 400 tokens with the special tokens and the chat template of the pocket pair."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_TEXT, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", special_tokens=[("<|bos|>", backend.token_to_id("<|bos|>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
        chat_template=CHAT_TEMPLATE,
    )


@pytest.fixture(scope="session")
def tiny_folders(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> TinyPair:
    """The pair, written once. Read only; `tiny_pair` is what tests ask for."""
    root = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("tiny-base", "tiny-instruct")):
        _write_model(root / name, tiny_tokenizer, seed)
    return TinyPair(root / "tiny-base", root / "tiny-instruct")


@pytest.fixture
def tiny_pair(tiny_folders: TinyPair, tmp_path: Path) -> TinyPair:
    """The pair in a directory of this test, so that runs and adapters can be put beside it."""
    return TinyPair(*(Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in tiny_folders))


def write_adapter(base: Path, folder: Path, seed: int = 0, **options: Any) -> Path:
    """A LoRA adapter with random weights on both sides, so that it changes every logit."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    defaults = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False}
    config = LoraConfig(task_type="CAUSAL_LM", **defaults | options)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


class Disk:
    """A small disk of its own, to be filled, freed and made read only."""

    def __init__(self, path: Path) -> None:
        self.path, self._ballast = path, path / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Leave so many bytes free, in whole pages."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(shutil.disk_usage(self.path).free or 4096))
        os.truncate(self._ballast, self._ballast.stat().st_size - leave)

    def free(self) -> None:
        self._ballast.unlink()

    def mount(self, *options: str) -> bool:
        done = subprocess.run(["mount", *options, str(self.path)], capture_output=True, check=False)
        return done.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """64 MiB of memory as a disk, where this process may mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    made = Disk(path)
    if shutil.which("mount") is None or not made.mount("-t", "tmpfs", "-o", "size=64m", "tmpfs"):
        pytest.skip("no disk can be mounted here")
    yield made
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def _write_model(folder: Path, tokenizer: Any, seed: int) -> None:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|end|>")]
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
