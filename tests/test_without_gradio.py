"""The pipelines from a notebook or a script: what docs/deployment.md shows there, with Gradio out of reach."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_NO_GRADIO = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("gradio", "gradio_client", "components"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
"""


def snippets() -> list[str]:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text.partition("## In a notebook")[2], re.DOTALL)


def test_the_notebooks_snippet_answers_without_gradio() -> None:
    code = next(snippet for snippet in snippets() if "pipelines" in snippet)
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _NO_GRADIO + code], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 0, ended.stderr
    assert "Paris" in ended.stdout and "41,943,040" in ended.stdout


def test_the_frames_snippet_is_python_that_starts_this_studio() -> None:
    code = next(snippet for snippet in snippets() if "IFrame" in snippet)
    compile(code, "snippet", "exec")
    assert '"studio.py"' in code and "7860" in code
