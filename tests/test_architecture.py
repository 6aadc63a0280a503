"""The shape of the house: which module may import which, what the page may import, and how long a file gets."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from pipelines.settings import Settings
from pipelines.stages import STAGES

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([ROOT / "studio.py", *ROOT.glob("components/**/*.py"), *ROOT.glob("pipelines/**/*.py")])
HEAVY = {"torch", "transformers", "peft", "trl", "datasets", "bitsandbytes", "accelerate", "safetensors"}


def name_of(path: Path) -> str:
    """components/widgets/spans.py → components.widgets.spans"""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, under `if TYPE_CHECKING` too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively; write the full name"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_the_arrows_point_one_way(path: Path) -> None:
    forbidden = {"studio": {"tests"}, "components": {"studio", "tests"}}
    below = forbidden.get(top(name_of(path)), {"studio", "components", "gradio", "tests"})
    assert not {module for module in imports(path) if top(module) in below}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name.startswith("stage_")], ids=name_of)
def test_a_stage_never_imports_another_stage(path: Path) -> None:
    assert not {module for module in imports(path) if module.startswith("components.stage_")}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_module_is_longer_than_a_reader_scrolls(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_building_the_page_imports_no_library_that_computes() -> None:
    """Asked of a fresh interpreter, so that whatever another module imports on the way is found too."""
    code = f"""
import sys
from components import app
from components.context import Studio
from pipelines.settings import Settings
app.build(Studio.of(Settings()))
print(sorted({HEAVY!r} & set(sys.modules)))
"""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip().splitlines()[-1] == "[]"


def test_every_stage_has_its_module_and_its_text() -> None:
    modules = {path.stem for path in ROOT.glob("components/stage_*.py")}
    assert modules == {f"stage_{stage.key.replace('-', '_')}" for stage in STAGES}
    assert all(len(stage.explain) > 200 for stage in STAGES)


@pytest.mark.parametrize("option", [field.name for field in fields(Settings)])
def test_every_option_is_in_the_readme(option: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"--{option.replace('_', '-')}" in readme
    assert f"STUDIO_{option.upper()}" in readme or "STUDIO_…" in readme


def test_the_page_names_no_address_outside_in_its_style_or_script() -> None:
    files = [*ROOT.glob("assets/css/*"), *ROOT.glob("assets/js/*")]
    assert files
    for path in files:
        assert not re.search(r"https?://", path.read_text(encoding="utf-8")), path.name
