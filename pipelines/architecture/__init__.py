"""Models without their weights: what they are made of, from a catalogue key, a Hub id or a `config.json`.

A catalogue model is read from committed shapes in a millisecond; only the other two build a model on the meta
device, which takes seconds the first time. Memory and parameter counts start from here.
"""

from pipelines.architecture.catalogue import Entry, entries
from pipelines.architecture.records import Architecture, Dimensions, Weight
from pipelines.architecture.resolve import architecture

__all__ = ["Architecture", "Dimensions", "Entry", "Weight", "architecture", "entries"]
