"""Champion and challenger: which is better at what came later, and whether any class would get worse."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from services.classifier.domain.outcomes import Source
from services.classifier.training.evaluation import wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from services.classifier.training.outcomes import Outcome

_TAIL = 0.025
_CORRECTIONS = frozenset(
    {Source.DESK_DECISION.value, Source.RETURNED_AND_KEPT_ELSEWHERE.value, Source.TRANSFERRED_AND_KEPT.value, Source.DECLINED.value},
)


def held_out(outcomes: Sequence[Outcome], champion: Sequence[str], challenger: Sequence[str], silent: float) -> dict[str, Any]:
    """Return how often each of two models is right about outcomes that neither learnt from.

    That a unit kept what the model sent it is counted as right for the model of that time, and some of it is wrong: of the misroutes a
    share `silent` comes back to nobody's ears. As many of the champion's answers to a class as that makes, reckoned from what did come back
    from it, are not counted as lost by a challenger that answers otherwise; else whoever repeats the old errors would win.

    Args:
        outcomes: With the class that they speak for.
        champion: Its first class for each.
        challenger: The same.
        silent: Share of misroutes that are accepted in silence, 0–1, below 1.
    """
    returned = Counter(each.predicted for each in outcomes if each.source in _CORRECTIONS and each.predicted not in {"", each.label})
    rows: dict[str, dict[str, Any]] = {}
    for label in sorted({each.label for each in outcomes}):
        right = [(first == label, second == label) for each, first, second in _zip(outcomes, champion, challenger) if each.label == label]
        lost = [
            each.source == Source.KEPT.value
            for each, first, second in _zip(outcomes, champion, challenger)
            if each.label == label == first != second
        ]
        excused = min(round(returned[label] * silent / (1 - silent)), sum(lost))
        rows[label] = _row(
            texts=len(right),
            champion_right=sum(first for first, _ in right) - excused,
            challenger_right=sum(second for _, second in right),
            lost=len(lost) - excused,
            silent=excused,
        )
    total = {name: sum(row[name] for row in rows.values()) for name in ("texts", "champion_right", "challenger_right", "lost", "silent")}
    return {**_row(**total), "by_class": rows}


def _zip(outcomes: Sequence[Outcome], champion: Sequence[str], challenger: Sequence[str]) -> Iterator[tuple[Outcome, str, str]]:
    return zip(outcomes, champion, challenger, strict=True)


def _row(*, texts: int, champion_right: int, challenger_right: int, lost: int, silent: int) -> dict[str, Any]:
    counted = texts - silent
    low, high = wilson(champion_right, counted)
    won = challenger_right - (champion_right - lost)
    return {
        "texts": texts,
        "silent": silent,
        "champion_right": champion_right,
        "challenger_right": challenger_right,
        "won": won,
        "lost": lost,
        "champion": champion_right / counted if counted else 0.0,
        "champion_low": low,
        "champion_high": high,
        "challenger": challenger_right / counted if counted else 0.0,
        "worse": _is_worse(won, lost),
    }


def _is_worse(won: int, lost: int) -> bool:
    """Say whether more was lost than chance explains.

    Both models answer the same texts, so that only those count about which one is right and the other wrong (McNemar 1947): whether the
    exact 95 % interval of the share lost, of what changed, lies above one half (Clopper and Pearson 1934).
    """
    changed = won + lost
    return sum(math.comb(changed, count) for count in range(lost, changed + 1)) < _TAIL * (1 << changed)


def corpus(champion: Mapping[str, Any], challenger: Mapping[str, Any]) -> dict[str, Any]:
    """Return both models' figures for the corpus, each text by a model that never saw its writer, from their cards."""
    first, second = (card["evaluation"]["across_writers"] for card in (champion, challenger))
    labels = sorted(first["by_class"].keys() & second["by_class"].keys())
    return {
        "same_texts": champion.get("data_sha256") == challenger.get("data_sha256"),
        "champion": {name: first[name] for name in _HEADLINE},
        "challenger": {name: second[name] for name in _HEADLINE},
        "by_class": {
            label: {
                "texts": first["by_class"][label]["texts"],
                "champion": first["by_class"][label]["recall"],
                "champion_low": first["by_class"][label]["recall_low"],
                "champion_high": first["by_class"][label]["recall_high"],
                "challenger": second["by_class"][label]["recall"],
                "worse": second["by_class"][label]["recall"] < first["by_class"][label]["recall_low"],
            }
            for label in labels
        },
    }


_HEADLINE = ("top1_strict", "top3_strict", "macro_f1_strict", "ece", "coverage", "precision_when_answered")


def objections(held_out: Mapping[str, Any], corpus: Mapping[str, Any]) -> list[str]:
    """Return why the challenger must not be promoted; empty if it may."""
    found = []
    if held_out["worse"]:
        found.append(f"of {held_out['texts']} later outcomes {held_out['lost']} lost and {held_out['won']} won, more than chance explains")
    found += [
        f"{label}: of {row['texts']} later outcomes {row['lost']} lost and {row['won']} won, more than chance explains"
        for label, row in held_out["by_class"].items()
        if row["worse"]
    ]
    found += [
        f"{label}: {row['challenger']:.2f} of its {row['texts']} texts of the corpus right, below the champion's interval "
        f"{row['champion_low']:.2f}–{row['champion_high']:.2f}"
        for label, row in corpus["by_class"].items()
        if row["worse"]
    ]
    return found


def _interval(row: Mapping[str, Any], digits: int) -> str:
    return f"{row['champion']:.{digits}f} ({row['champion_low']:.{digits}f}–{row['champion_high']:.{digits}f})"


def markdown(comparison: Mapping[str, Any]) -> str:
    """Return a comparison for people."""
    learnt, later, texts = comparison["learnt"], comparison["held_out"], comparison["corpus"]
    return "\n".join(
        [
            f"# {comparison['challenger']} against {comparison['champion']}",
            "",
            "**May be promoted.**" if comparison["promotable"] else "**Must not be promoted:**",
            *(f"- {reason}" for reason in comparison["objections"]),
            "",
            f"Learnt from {learnt['outcomes']:,} outcomes until {learnt['until']}, judged by {later['texts']:,} later ones.",
            "",
            "| outcomes rest on | learnt from | mean weight | mean weight believed |",
            "|---|---|---|---|",
            *(
                f"| {source} | {row['outcomes']} | {row['weight']:.2f} | {row['believed']:.2f} |"
                for source, row in learnt["by_source"].items()
            ),
            "",
            "| right first answers | champion (95 %) | challenger |",
            "|---|---|---|",
            f"| later outcomes, {later['silent']} silent misroutes taken out | {_interval(later, 3)} | {later['challenger']:.3f} |",
            *(f"| corpus across writers, {name} | {texts['champion'][name]:.3f} | {texts['challenger'][name]:.3f} |" for name in _HEADLINE),
            "",
            *([] if texts["same_texts"] else ["The corpus has changed since the champion was trained.", ""]),
            *_table("Later outcomes", later["by_class"]),
            *_table("Corpus across writers", texts["by_class"]),
        ],
    )


def _won_and_lost(row: Mapping[str, Any]) -> str:
    return f"{row['won']}, {row['lost']}" if "won" in row else ""


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"## {title}",
        "",
        "| class | texts | champion (95 %) | challenger | won, lost | |",
        "|---|---|---|---|---|---|",
        *(
            f"| {label} | {row['texts']} | {_interval(row, 2)} | {row['challenger']:.2f} | {_won_and_lost(row)} "
            f"| {'worse' if row['worse'] else ''} |"
            for label, row in rows.items()
        ),
        "",
    ]
