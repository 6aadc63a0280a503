"""Models by name, in memory, shared: `ModelManager` and the records it speaks in."""

from pipelines.models.download import Cancelled, Progress
from pipelines.models.lease import FreshLease, Lease
from pipelines.models.manager import ModelManager
from pipelines.models.spec import Gauge, ModelSpec, ModelStatus, Pair

__all__ = ["Cancelled", "FreshLease", "Gauge", "Lease", "ModelManager", "ModelSpec", "ModelStatus", "Pair", "Progress"]
