"""`python -m pipelines.finetune '{"method": "lora"}'`: write a run's directory and print it, without a studio.

The worker trains it, alone or under `accelerate launch`. Settings of the studio come from its environment variables
(STUDIO_RUNS_DIR, STUDIO_PAIR, …); the device is the worker's to choose.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from pipelines.errors import InputError
from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.preparing import prepare_run
from pipelines.models import ModelManager
from pipelines.settings import parse_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 2 for settings that are not allowed, with a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.finetune", description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", default="{}", help="settings as JSON, the keys of /finetune")
    chosen = parser.parse_args(arguments)
    settings = parse_settings([], os.environ)
    try:
        asked = FinetuneConfig.from_dict(_read(chosen.config))
        run = prepare_run(asked, settings.runs_dir, ModelManager(settings), settings.device)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    run.leave_to_others()
    print(run.path)
    return 0


def _read(text: str) -> dict[str, object]:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        what = f"no JSON: {error.msg} at character {error.pos}"
        raise InputError(what, "config", "Quote it for the shell.") from None


if __name__ == "__main__":
    sys.exit(main())
