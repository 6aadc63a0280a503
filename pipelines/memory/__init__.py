"""What training takes in GPU memory, term by term, how good that estimate is, and what a run costs."""

from pipelines.memory.cost import Cost, cost
from pipelines.memory.estimate import MOMENTS, Estimate, Term, estimate
from pipelines.memory.gpus import Fit, Gpu, fits, gpus
from pipelines.memory.record import memory_record
from pipelines.memory.setup import MemorySetup

__all__ = [
    "MOMENTS",
    "Cost",
    "Estimate",
    "Fit",
    "Gpu",
    "MemorySetup",
    "Term",
    "cost",
    "estimate",
    "fits",
    "gpus",
    "memory_record",
]
