"""`python -m tests.benchmarks`: print the table of docs/benchmarks.md, measured on this machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

from tests.benchmarks import (
    batch_figures,
    calculator_figures,
    conversation_figures,
    dataset_figures,
    page_figures,
    startup,
    studio_figures,
)

MODULES = (
    startup,
    page_figures,
    studio_figures,
    conversation_figures,
    dataset_figures,
    calculator_figures,
    batch_figures,
)
LIBRARIES = ("gradio", "torch", "transformers", "peft", "trl")


def main() -> None:
    print(f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()},")
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES) + "\n")
    print("| what | value | how |\n| --- | --- | --- |", flush=True)
    for module in MODULES:
        for figure in module.figures():
            print(f"| {figure.what} | {figure.value} | {figure.how} |", flush=True)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
