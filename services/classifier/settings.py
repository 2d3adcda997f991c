"""Settings of the classifier: those of every service, and its own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field

from chassis.settings import ServiceSettings


class ClassifierSettings(ServiceSettings):
    """What the classifier needs: `PAIDAN_*`."""

    classifier_model_dir: Path = Field(
        Path("build/model"), description="Folder of the model that is served; a model put there is taken up."
    )
    classifier_model_interval: timedelta = Field(timedelta(seconds=10), description="How often the folder is looked at for another model.")
