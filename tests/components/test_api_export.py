"""/export through a client: what arrives is the file itself."""

import time
import zipfile
from pathlib import Path

import pytest
from gradio_client import Client


def trained(client: Client) -> str:
    config = {"max_steps": 2, "batch_size": 2, "data": "alpaca", "eval_rows": 2}
    run_id = client.predict(config=config, api_name="/finetune")["run_id"]
    limit = time.monotonic() + 200
    while client.predict(run_id=run_id, api_name="/run")["status"] not in ("finished", "failed"):
        assert time.monotonic() < limit
        time.sleep(0.5)
    return run_id


@pytest.mark.slow
def test_a_run_arrives_as_a_file_for_each_tool(client: Client) -> None:
    run_id = trained(client)
    wanted = {
        "trl": None,
        "axolotl": "config.yaml",
        "llama-factory": "train.yaml",
        "unsloth": None,
        "adapter": "adapter_model.safetensors",
        "merged": "model.safetensors",
    }
    for tool, member in wanted.items():
        file = Path(client.predict(run_id=run_id, tool=tool, api_name="/export"))
        assert file.stem.endswith(run_id[:6])
        if member is None:
            assert file.read_text().startswith("# /// script")
        else:
            assert f"{file.stem}/{member}" in zipfile.ZipFile(file).namelist()


@pytest.mark.parametrize(
    ("run_id", "tool", "says"),
    [("0" * 16, "trl", "there is no run"), ("../../etc", "trl", "there is no run"), ("", "adapter", "there is no run")],
)
def test_a_wrong_run_is_named(client: Client, run_id: str, tool: str, says: str) -> None:
    with pytest.raises(Exception, match=says):
        client.predict(run_id=run_id, tool=tool, api_name="/export")
