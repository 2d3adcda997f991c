"""Write the tables of `docs/settings.md` from the settings classes, or check them.

python -m tools.settings_table            # write
python -m tools.settings_table --check    # exit 1 when they differ
"""

from __future__ import annotations

import sys
from datetime import time, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr, TypeAdapter
from pydantic_settings import BaseSettings

from chassis.settings import KafkaSettings, ServiceSettings
from tools.tables import ROOT, SERVICES, main, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

DOCUMENT = ROOT / "docs" / "settings.md"
_HEADER = ("variable", "default", "meaning")


def settings_of(service: str) -> type[ServiceSettings]:
    """Return the settings class of a service."""
    module = import_module(f"services.{service}.settings")
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, ServiceSettings) and kind.__module__ == module.__name__
    )


def rows(settings: type[BaseSettings], *, without: frozenset[str] = frozenset()) -> Iterator[tuple[str, str, str]]:
    """Yield variable, default and meaning of each setting; settings that hold settings have tables of their own."""
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings)
        if name not in without and not nested:
            variable = field.validation_alias or f"{prefix}{name}".upper()
            yield f"`{variable}`", _default(field), field.description or ""


def _default(field: FieldInfo) -> str:
    match field.get_default(call_default_factory=True, validated_data={}):
        case None:
            return "none"
        case SecretStr() as secret:
            return f"`{secret.get_secret_value()}`"
        case timedelta() as duration:
            return f"`{TypeAdapter(timedelta).dump_python(duration, mode='json')}`"
        case time() as moment:
            return f"`{moment:%H:%M}`"
        case Path() as path:
            return f"`{path.relative_to(ROOT) if path.is_absolute() else path}`"
        case value:
            return f"`{value}`"


def sections() -> dict[str, str]:
    """Return the document's generated sections."""
    common = frozenset(ServiceSettings.model_fields)

    def own(service: str) -> str:
        settings = settings_of(service)
        inherited = common - settings.__annotations__.keys()
        return table(_HEADER, rows(settings, without=inherited))

    return {
        "settings common": table(_HEADER, rows(ServiceSettings)),
        "settings kafka": table(_HEADER, rows(KafkaSettings)),
        **{f"settings {service}": own(service) for service in SERVICES},
    }


if __name__ == "__main__":
    sys.exit(main(DOCUMENT, sections(), __doc__))
