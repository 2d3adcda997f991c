"""Queries in the documentation: each is PromQL, and asks for metrics and labels that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest

from chassis.metrics import ChassisMetrics
from tools.tables import SERVICES
from tools.telemetry_table import declared, metrics_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
QUERIES = [
    (document.relative_to(ROOT), query)
    for document in DOCUMENTS
    for query in re.findall(
        r"`([^`\n]*\bpaidan_[a-z_]+[({\[][^`\n]*|[a-z]+[ (][^`\n]*\bpaidan_[a-z_]+[^`\n]*)`", document.read_text("utf-8")
    )
    if not query.startswith(("paidan ", "curl ", "GRANT ", "psql "))
]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
FROM_SCRAPING = {"job", "instance", "le"}


def known() -> dict[str, set[str]]:
    """Return the time series that there are, each with its labels."""
    series: dict[str, set[str]] = {}
    for metric in (*declared(ChassisMetrics()), *(metric for service in SERVICES for metric in metrics_of(service))):
        family = next(iter(metric.describe()))
        for suffix in SUFFIXES[family.type]:
            series[family.name + suffix] = {*metric._labelnames, *FROM_SCRAPING}
    return series


def parts(expression: Any) -> Iterator[Any]:
    """Yield an expression and everything in it."""
    yield expression
    inner = [getattr(expression, name, None) for name in ("expr", "lhs", "rhs", "vector_selector", "param")]
    for each in (*inner, *(getattr(expression, "args", None) or ())):
        if each is not None:
            yield from parts(each)


def test_there_are_queries() -> None:
    assert len(QUERIES) > 15


@pytest.mark.parametrize(("document", "query"), QUERIES, ids=[f"{document.stem}-{n}" for n, (document, _) in enumerate(QUERIES)])
def test_a_query_asks_for_what_there_is(document: Path, query: str) -> None:
    series = known()

    read = list(parts(promql_parser.parse(query)))

    selected = [each for each in read if isinstance(each, promql_parser.VectorSelector)]
    labels = set().union(*(series[each.name] for each in selected))
    assert selected, document
    for each in selected:
        assert {matcher.name for matcher in each.matchers.matchers} <= series[each.name]
    for each in read:
        if isinstance(each, promql_parser.AggregateExpr) and each.modifier is not None:
            assert set(each.modifier.labels) <= labels
