"""Which role may call which RPC; a method that is not here is refused."""

from __future__ import annotations

from chassis.caller import EVERY_ROLE, Role

_CLASSIFYING = frozenset({Role.PORTAL, Role.DESK, Role.OPERATOR})

ACCESS = {
    "Classify": _CLASSIFYING,
    "ClassifyBatch": _CLASSIFYING,
    "ListClasses": EVERY_ROLE,
    "GetModel": frozenset({Role.DESK, Role.OPERATOR}),
}
