"""Settings of the classifier: those of every service, and its own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from chassis.settings import SECOND, ServiceSettings


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
    classifier_learn_linger: timedelta = Field(
        timedelta(seconds=4),
        ge=timedelta(0),
        le=timedelta(seconds=6),
        description="How long the brokers gather what becomes of tickets before it is taken in together.",
    )
    classifier_outcome_retention: timedelta = Field(
        timedelta(days=400), description="How long texts and outcomes of tickets are kept after the last thing that happened to them."
    )
    classifier_shadow_dir: Path | None = Field(
        None, description="Folder of a model that answers in the shadow: it is compared with the one that is served, and never answers."
    )
    classifier_llm_base_url: str | None = Field(
        None,
        description="OpenAI-compatible endpoint that is asked about texts on which the model abstains, e.g. `https://host/v1`; without it "
        "none is asked. Texts leave the system then, with personal data hidden.",
    )
    classifier_llm_model: str = Field("", description="Name of the language model there.")
    classifier_llm_key: SecretStr | None = Field(None, description="Its bearer token.")
    classifier_llm_threshold: float = Field(
        0.9,
        ge=0.5,
        le=1,
        description="Least confidence at which its answer may stand without a person, if the model finds it likely too, 0.5–1.",
    )
    classifier_llm_timeout: timedelta = Field(4 * SECOND, gt=timedelta(0), description="Time for its answers to what is asked together.")
    classifier_llm_answer_within: timedelta = Field(
        10 * SECOND,
        description="Time from a ticket's submission to its answer; it is not asked when that cannot be kept. Stay well below "
        "`PAIDAN_DISPATCHER_RULES_AFTER`.",
    )
    classifier_llm_concurrency: int = Field(8, ge=1, le=64, description="Questions at once.")
    classifier_llm_most_tokens: int = Field(200, ge=50, le=4000, description="Longest answer that is asked for, in tokens.")

    @model_validator(mode="after")
    def _language_model_is_whole(self) -> Self:
        if self.classifier_llm_base_url is not None and not self.classifier_llm_model:
            raise ValueError("PAIDAN_CLASSIFIER_LLM_BASE_URL needs PAIDAN_CLASSIFIER_LLM_MODEL")
        if self.classifier_llm_timeout >= self.classifier_llm_answer_within:
            raise ValueError("PAIDAN_CLASSIFIER_LLM_TIMEOUT must be shorter than PAIDAN_CLASSIFIER_LLM_ANSWER_WITHIN")
        return self
