"""The model card for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def markdown(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown, from what `card.json` holds."""
    across, within = card["evaluation"]["across_writers"], card["evaluation"]["within_writers"]
    return "\n".join(
        [
            f"# Model {card['version']}",
            "",
            *_ABOUT,
            "",
            f"- Trained {card['train_time']} on {card['training_texts']:,} texts, SHA-256 `{card['data_sha256'][:16]}…`",
            f"- Settings `{card['settings']}`",
            f"- Arrays: `{card['file']}`, SHA-256 `{card['sha256'][:16]}…`; {card['features']:,} n-grams × {len(card['classes'])} classes",
            f"- Abstains below {card['policy']['threshold']:.3f}, and on fewer than {card['policy']['least_informative']} known characters",
            "",
            "## Figures",
            "",
            *_FIGURES_MEAN,
            "",
            "| figure | across writers | within writers |",
            "|---|---|---|",
            *(f"| {words} | {across[name]:.3f} | {within[name]:.3f} |" for name, words in _FIGURES.items()),
            "",
            "![calibration](reliability.svg) ![risk and coverage](risk_coverage.svg)",
            "",
            *_groups("Voices", across["by_style"]),
            *_groups("Writers", across["by_batch"]),
            "## Classes, across writers",
            "",
            "| class | texts | recall (95 %) | precision | F1 |",
            "|---|---|---|---|---|",
            *(
                f"| {label} | {f['texts']} | {f['recall']:.2f} ({f['recall_low']:.2f}–{f['recall_high']:.2f}) "
                f"| {f['precision']:.2f} | {f['f1']:.2f} |"
                for label, f in across["by_class"].items()
            ),
            "",
            "## Worst confusions, across writers",
            "",
            "| true | given | texts | for example |",
            "|---|---|---|---|",
            *(f"| {c['true']} | {c['given']} | {c['texts']} | {_in_cell(c['example'])} |" for c in across["confusions"]),
            "",
            "## Limits",
            "",
            *_LIMITS,
            "",
        ],
    )


_ABOUT = (
    "Recognises which of the catalogue's classes a company's request belongs to. Linear model over character n-grams (TF-IDF): support",
    "vector machine and naive Bayes added up; probabilities calibrated, and the bar for abstaining set, on writers it had not seen.",
)
_FIGURES_MEAN = (
    "Across writers: each writer's texts by a model that never saw that writer. Within: the same texts, as many of them for training,",
    "writers mixed. New people write to the service, so the first column is the one to expect; the gap says how much hangs on the hand.",
)
_LIMITS = (
    "The texts were written for training by few hands and are not real requests; see the data card beside the corpus. Figures on real",
    "requests will differ: watch the abstain rate and the return rate.",
)
_FIGURES = {
    "top1": "first answer right (alternatives accepted)",
    "top3": "right one among the first three (alternatives accepted)",
    "top1_strict": "first answer right, strictly",
    "top3_strict": "right one among the first three, strictly",
    "macro_f1": "macro F1 (alternatives accepted)",
    "macro_f1_strict": "macro F1, strictly",
    "ece": "expected calibration error",
    "coverage": "share answered (not abstained)",
    "precision_when_answered": "right when answered",
    "other_found_or_abstained": "out of scope: found or abstained",
}


def _groups(title: str, groups: Mapping[str, Mapping[str, float]]) -> list[str]:
    if not groups:
        return []
    return [
        f"## {title}, across writers",
        "",
        "| group | texts | right | strictly | answered |",
        "|---|---|---|---|---|",
        *(f"| {name} | {f['texts']} | {f['top1']:.3f} | {f['top1_strict']:.3f} | {f['coverage']:.3f} |" for name, f in groups.items()),
        "",
    ]


def _in_cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "¦")
