"""One run from its directory to its adapter, through TRL's `SFTTrainer` or `DPOTrainer`.

The rows arrive with their labels (`pipelines.labels`), so the loss is on exactly the tokens that the SFT tab lights,
for every template, with or without generation markers. What is added to TRL's trainer: held-out answers at every
evaluation, and a record of each step. What is changed: only labelled positions go through the output head.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.finetune.arguments import dpo_arguments, lora_arguments, sft_arguments
from pipelines.finetune.card import card_files
from pipelines.finetune.computing import (
    attend_by_conversation,
    computing_arguments,
    scoring_supervised_positions_only,
    use_threads,
)
from pipelines.finetune.conversations import Example, Examples, build_examples
from pipelines.finetune.dpo import dpo_trainer_class
from pipelines.finetune.loading import end_token_ids, give_trained_rows_a_bias, load_adapter, load_base, load_tokenizer
from pipelines.finetune.looking import answer_and_record
from pipelines.finetune.processes import batch_of_this_process, leave_together, rank
from pipelines.finetune.recorder import Clock, recorder
from pipelines.finetune.rows import Rows
from pipelines.finetune.run import RunDirectory
from pipelines.models.device import choose_device

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments


def train(run: RunDirectory, clock: Clock) -> str:
    """Train as `run` says and leave the adapter (or model) in it. Returns the status: finished or stopped.

    Raises InputError for what a person can mend (rows without answers, memory); anything else is a fault.
    """
    config, model_info = run.config, run.model
    device = choose_device(run.record["device"])
    use_threads(model_info.parameters)
    run.append("phase", text="loading the model")
    tokenizer = load_tokenizer(model_info)
    model = load_base(model_info, config, device)
    if config.method != "full":
        give_trained_rows_a_bias()
    if run.start is not None:
        model = load_adapter(model, run.start)
    run.append("phase", text="rendering and labelling the conversations")
    examples = build_examples(Rows.read(run.path), tokenizer, config, model_info)
    # What the model is trained with is what everything after it must speak with: it travels in the tokenizer.
    tokenizer.chat_template = examples.chat_template
    run.append("phase", text="asking the model before it is trained")
    with scoring_supervised_positions_only():
        trainer = _trainer(run, model, tokenizer, examples, device, clock)
        if getattr(trainer, "padding_free", False):
            attend_by_conversation(model)
        checkpoint = run.path / "resume"
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint.is_dir() else None)
    _save(run, trainer, tokenizer)
    leave_together()
    if rank() == 0:
        shutil.rmtree(checkpoint, ignore_errors=True)
    return "stopped" if trainer.state.global_step < trainer.args.max_steps else "finished"


def _trainer(run: RunDirectory, model: Any, tokenizer: Any, examples: Examples, device: str, clock: Clock) -> Trainer:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTTrainer

    config = run.config
    end_ids = end_token_ids(model, tokenizer)
    preferring = config.objective == "dpo"

    class RecordedTrainer(dpo_trainer_class() if preferring else SFTTrainer):  # type: ignore[misc]
        """TRL's trainer, which also lets the model answer whenever it is evaluated."""

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            loss = super().evaluate(*args, **kwargs).get("eval_loss") if examples.heldout else None
            if loss is not None:
                run.append("heldout", step=self.state.global_step, loss=loss)
            step, sharded = self.state.global_step, self.is_fsdp_enabled or self.is_deepspeed_enabled
            answer_and_record(run, self.model, tokenizer, examples, end_ids, step, loss, clock, sharded)
            return {"eval_loss": loss} if loss is not None else {}

    def columns(rows: Sequence[Example]) -> Dataset:
        return Dataset.from_list([one.as_pair() if preferring else one.as_columns() for one in rows])

    trainer = RecordedTrainer(
        model=model,
        args=_arguments(run, model, max(len(one.input_ids) for one in examples.train), device),
        train_dataset=columns(examples.train),
        eval_dataset=columns(examples.heldout or examples.train[:1]),
        processing_class=tokenizer,
        peft_config=LoraConfig(**lora_arguments(config)) if config.method != "full" and run.start is None else None,
        callbacks=[recorder(run, clock)],
    )
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(run: RunDirectory, model: Any, longest: int, device: str) -> TrainingArguments:
    """What TRL is told: the run's settings, how this machine computes them, and how the studio looks at a run."""
    from trl import DPOConfig, SFTConfig

    config = run.config
    looking: dict[str, Any] = dict(
        output_dir=str(run.path / "checkpoints"),
        run_name=run.id[:6],
        per_device_eval_batch_size=64,
        eval_strategy="steps",
        eval_on_start=not (run.path / "resume").is_dir(),
        eval_steps=config.eval_steps,
        save_steps=config.eval_steps,
        save_total_limit=2,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=device == "cuda",
        logging_nan_inf_filter=False,
    )
    computing = computing_arguments(model, config, run.model.parameters, longest)
    computing["per_device_train_batch_size"] = batch_of_this_process(config.batch_size or 1)
    if config.objective == "dpo":
        return DPOConfig(**dpo_arguments(config, run.model.parameters, device) | computing, **looking)
    return SFTConfig(
        **sft_arguments(config, run.model.parameters, device) | computing,
        **looking,
        dataset_kwargs={"skip_prepare_dataset": not config.packing},
        eval_packing=False,
    )


def _save(run: RunDirectory, trainer: Trainer, tokenizer: Any) -> None:
    """adapter/ (or model/) with the tokenizer, whose chat template is the one it was trained with."""
    run.append("phase", text="saving")
    full = run.config.method == "full"
    # Shards are put together by all processes; the first one writes them.
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    weights = {"state_dict": trainer.accelerator.get_state_dict(trainer.model_wrapped)} if sharded else {}
    if rank() != 0:
        return
    with run.folder("model" if full else "adapter") as folder:
        # Alone: DPO of an adapter keeps a copy of how it began beside it.
        trainer.model.save_pretrained(folder, **weights, **({} if full else {"selected_adapters": ["default"]}))
        tokenizer.save_pretrained(folder)
        for name, text in card_files(run).items():
            (folder / name).write_text(text, encoding="utf-8")
        if not full:
            _name_the_base(folder, run.model.shown)


def _name_the_base(folder: Path, shown: str) -> None:
    """PEFT writes where the base was loaded from; an adapter that leaves this machine must not carry its paths."""
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": shown}
    path.write_text(json.dumps(settings, indent=2), encoding="utf-8")
