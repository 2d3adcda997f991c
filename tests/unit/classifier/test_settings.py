from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.classifier.adapters.chat_completions import ChatEndpoint
from services.classifier.settings import ClassifierSettings

KEY = "sk-private\n"


def test_no_language_model_is_asked_unless_told_to() -> None:
    assert ClassifierSettings().classifier_llm_base_url is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"classifier_llm_base_url": "http://127.0.0.1/v1"}, "PAIDAN_CLASSIFIER_LLM_MODEL"),
        ({"classifier_llm_timeout": "PT10S"}, "PAIDAN_CLASSIFIER_LLM_TIMEOUT"),
    ],
)
def test_what_does_not_fit_together_is_named(changed: dict[str, str], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        ClassifierSettings(**changed)


@pytest.mark.parametrize(
    "base_url", ["ftp://host/v1", "host/v1", "https://", "https://me:secret@host/v1", "https://host/v1?x=1", "http://host:99999/v1"]
)
def test_an_address_that_cannot_be_asked_is_refused_at_the_start(base_url: str) -> None:
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        ChatEndpoint(base_url, model="m", key=None, most_tokens=200)


def test_a_key_that_no_header_may_hold_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="key") as refused:
        ChatEndpoint("https://host/v1", model="m", key=KEY, most_tokens=200)

    assert KEY.strip() not in str(refused.value)
    assert KEY.strip() not in repr(ClassifierSettings(classifier_llm_key=KEY))
