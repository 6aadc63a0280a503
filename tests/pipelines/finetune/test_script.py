import ast
import re

import pytest

from pipelines.finetune.config import FinetuneConfig
from pipelines.finetune.run import TrainedModel
from pipelines.finetune.script import training_script

HUB = TrainedModel("some-8b", "acme/some-8b", "acme/some-8b", revision="abc", parameters=8_000_000_000, context=8192)


@pytest.mark.parametrize("method", ["lora", "full", "qlora"])
def test_every_method_makes_a_script_that_parses(method):
    text = training_script(FinetuneConfig(method=method).resolved(HUB.parameters, 1000, 8192), HUB, "cuda")
    ast.parse(text)
    assert ("LoraConfig(" in text) == (method != "full")
    assert ("BitsAndBytesConfig(" in text) == (method == "qlora")
    assert 'MODEL = "acme/some-8b"' in text and "revision=REVISION" in text


def test_the_header_is_inline_script_metadata():
    """The regular expression is PEP 723's own."""
    text = training_script(FinetuneConfig().resolved(1000, 10, 128), HUB)
    block = re.search(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$", text)
    assert block and block["type"] == "script"
    import tomllib

    content = "".join(line[2:] if line.startswith("# ") else line[1:] for line in block["content"].splitlines(True))
    dependencies = tomllib.loads(content)["dependencies"]
    assert "trl==1.16.0" in dependencies and not any("+" in one for one in dependencies)
