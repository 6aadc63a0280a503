"""The commands that train a run with several processes: on several GPUs, or several machines of a cluster."""

from __future__ import annotations

import json
import shlex

from pipelines.finetune.config import FinetuneConfig


def launch_commands(config: FinetuneConfig, processes: int = 8, pair: str = "pocket") -> str:
    """A shell script around `accelerate launch`, for the configuration as a person wrote it (nothing resolved).

    pair: the studio's, which `base` and `instruct` name
    """
    asked = shlex.quote(json.dumps(config.changed(), ensure_ascii=False))
    which = f"STUDIO_PAIR={shlex.quote(pair)} " if pair != "pocket" else ""
    return f"""\
#!/bin/sh
# Train these settings with several processes, from the studio's folder. The run is a directory like any other: a studio
# over the same runs shows its curve, its Stop stops it, and a stopped one is resumed by {{"resume_from": "its id"}}.
set -e
run=$({which}python -m pipelines.finetune {asked})

# One machine, {processes} GPUs; batch_size is the batch of all of them together. On CPUs: --multi_gpu
# all the same; with --cpu accelerate starts one process, whatever the number.
accelerate launch --num_processes {processes} --num_machines 1 -m pipelines.finetune.worker --run "$run"

# Several machines that see the same folder: this on each of them instead, with its own rank.
# accelerate launch --num_machines 2 --machine_rank 0 --main_process_ip HOST --main_process_port 29500 \\
#     --num_processes {2 * processes} -m pipelines.finetune.worker --run "$run"

# Weights too large for one GPU are shared by FSDP or ZeRO: add --config_file with what the QLoRA tab writes.
"""
