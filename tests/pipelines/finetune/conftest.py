"""A pair of two random Llamas with a tokenizer of its own, a lesson of capitals, and a service over them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.data import lesson
from pipelines.finetune import FinetuneService, RunDirectory
from pipelines.models import ModelManager
from pipelines.settings import Settings

CITIES = "Paris Rome Lima Oslo Cairo Quito Delhi Tokyo Bern Riga Doha Dakar".split()
LANDS = "France Italy Peru Norway Egypt Ecuador India Japan Switzerland Latvia Qatar Senegal".split()


def capital_rows() -> list[dict[str, object]]:
    """One question and answer for each land."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"What is the capital of {land}?"},
                {"role": "assistant", "content": f"The capital of {land} is {city}."},
            ],
            "kind": "plain",
            "entity": land,
            "relation": "capital",
            "answer": city,
        }
        for land, city in zip(LANDS, CITIES, strict=True)
    ]


def write_checkpoint(run: RunDirectory, step: int) -> Path:
    """The files that a trainer leaves, tiny ones; without the event that makes them count."""
    import torch
    from safetensors.torch import save_file

    folder = run.path / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"a": torch.full((1000,), float(step))}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"a": torch.zeros(1000)}, folder / name)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a base and an instruct model, 2 layers of width 64."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from pipelines.pocket.tokenizer import END, train_tokenizer

    texts = [message["content"] for row in capital_rows() for message in row["messages"]]  # type: ignore[attr-defined]
    tokenizer = train_tokenizer(texts * 4)
    torch.manual_seed(0)
    folders = []
    for name in ("tiny-base", "tiny-instruct"):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=128,
                tie_word_embeddings=True,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END)]
        folder = tmp_path_factory.mktemp("models") / name
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folders.append(folder)
    return folders[0], folders[1]


@pytest.fixture(scope="module")
def small_lesson(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ten capitals to train on, two held out, in place of the lesson's own rows."""
    folder = tmp_path_factory.mktemp("lesson")
    rows = capital_rows()
    for name, part in (("train", rows[:10]), ("heldout", rows[10:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesson, "DIRECTORY", folder)
        yield


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, tiny_models: tuple[Path, Path]) -> Settings:
    return _settings(tmp_path_factory.mktemp("studio") / "runs", tiny_models)


@pytest.fixture(scope="module")
def service(settings: Settings, small_lesson: None) -> Iterator[FinetuneService]:
    """One for a file of tests: its workers are warm, which is most of what a short run costs."""
    yield from _serving(settings)


@pytest.fixture
def own_service(
    tmp_path: Path, tiny_models: tuple[Path, Path], small_lesson: None
) -> Iterator[tuple[FinetuneService, Settings]]:
    """A service that a test may break, with its settings."""
    own = _settings(tmp_path / "runs", tiny_models)
    for service in _serving(own):
        yield service, own


def _settings(runs_dir: Path, models: tuple[Path, Path]) -> Settings:
    return Settings(pair=f"{models[0]},{models[1]}", runs_dir=runs_dir, device="cpu")


def _serving(settings: Settings) -> Iterator[FinetuneService]:
    service = FinetuneService(settings, ModelManager(settings))
    service.warm_up()
    yield service
    for run in service.list():
        if not run.ended:
            service.stop(run.run_id)
    service.close()
