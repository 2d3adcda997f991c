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
    classifier_catalogue: Path = Field(
        Path(__file__).resolve().parents[2] / "catalogue",
        description="Folder with the catalogue's files: who leads for which class, to learn from what units keep and return.",
    )
    classifier_learn: bool = Field(default=True, description="Take in what becomes of tickets, to learn from it.")
    classifier_outcome_retention: timedelta = Field(
        timedelta(days=400), description="How long texts and outcomes of tickets are kept after the last thing that happened to them."
    )
    classifier_shadow_dir: Path | None = Field(
        None, description="Folder of a model that answers in the shadow: it is compared with the one that is served, and never answers."
    )
