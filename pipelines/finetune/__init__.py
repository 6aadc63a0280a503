"""Fine-tuning runs: what is asked for, the directory it lives in, the worker that trains it, the service around it."""

from pipelines.finetune.config import FinetuneConfig, Pair
from pipelines.finetune.prediction import Prediction
from pipelines.finetune.run import RunDirectory
from pipelines.finetune.service import FinetuneService
from pipelines.finetune.view import RunView

__all__ = ["FinetuneConfig", "FinetuneService", "Pair", "Prediction", "RunDirectory", "RunView"]
