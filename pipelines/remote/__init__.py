"""Models that an OpenAI-compatible server answers for (`--endpoint`): vLLM, TGI, llama.cpp's server, `transformers
serve`. It gives texts and, most of them, probabilities; it applies its own chat templates; it never gives weights."""

from pipelines.remote.model import ServedModel
from pipelines.remote.server import Listed, Server

__all__ = ["Listed", "ServedModel", "Server"]
