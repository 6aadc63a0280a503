"""What every tab is handed: the settings, the models and the runs of this process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.settings import Settings
from pipelines.teaching.preparing import Preparing
from pipelines.teaching.rooms import Rooms

if TYPE_CHECKING:
    from pipelines.experiments import ExperimentService
    from pipelines.finetune import FinetuneService
    from pipelines.models import ModelManager


@dataclass(frozen=True, slots=True)
class Studio:
    """One per process. Tests build it with doubles in place of `manager`, `runs` and `experiments`.

    preparing: the demonstrations of the lesson, made ahead of who gives it
    """

    settings: Settings
    manager: ModelManager
    runs: FinetuneService
    experiments: ExperimentService
    preparing: Preparing = field(init=False)
    rooms: Rooms = field(default_factory=Rooms)

    def __post_init__(self) -> None:
        object.__setattr__(self, "preparing", Preparing(self.manager, self.runs))

    @classmethod
    def of(cls, settings: Settings) -> Studio:
        """The studio as these settings ask for; loads no weights and starts no process."""
        from pipelines.experiments import ExperimentService
        from pipelines.finetune import FinetuneService
        from pipelines.models import ModelManager, zero_gpu

        if zero_gpu.available():  # which wants to be told of its functions before the page is served
            from pipelines import completion, together  # noqa: F401

        manager = ModelManager(settings)
        return cls(settings, manager, FinetuneService(settings, manager), ExperimentService(settings))

    def warm_up(self) -> None:
        """Load the running pair and start the training worker, after the page is served and beside it."""
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()

    def _warm_up(self) -> None:
        from pipelines.models import device, zero_gpu

        if zero_gpu.holds_none():
            device.load_libraries()  # so that no forked process has to; models are read where the GPU is
        else:
            self.manager.preload(("base", "instruct"))
        self.runs.warm_up()

    def close(self) -> None:
        """End the rooms, the experiments and the training worker; models go with the process."""
        self.rooms.close()
        self.experiments.close()
        self.runs.close()
