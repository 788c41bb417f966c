"""Tables of models compared on the same patches: score, difference, false cloud by surface.

A difference is paired: both models saw the same redrawn patches. A surface's share of clear pixels
called cloud says what a pooled figure hides, that a model is good everywhere but over snow.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from payload.training.evaluation import ALL, Estimate, Evaluation
from payload.training.evaluation import as_plain as evaluation_as_plain
from payload.training.paired import PairedDifference, paired_difference

LABEL = "human"
"""Only what a person drew ranks models."""


def differences_to_first(results: Sequence[Evaluation]) -> list[PairedDifference]:
    """Pooled Jaccard of each further model minus the first's, on the patches a person labelled."""
    first, *others = results
    if not _collections(first):
        return []
    return [paired_difference(other, first, label=LABEL) for other in others]


def as_plain(
    results: Sequence[Evaluation], differences: Sequence[PairedDifference]
) -> dict[str, object]:
    """Evaluations and differences as plain values for JSON."""
    return {
        "evaluations": [evaluation_as_plain(result) for result in results],
        "jaccard_differences": [
            {
                "model": d.model,
                "against": d.against,
                "label": d.label,
                "collection": d.collection,
                "value_low_high": [
                    value if value == value else None
                    for value in (d.difference.value, d.difference.low, d.difference.high)
                ],
            }
            for d in differences
        ],
    }


def comparison_tables(
    results: Sequence[Evaluation], differences: Sequence[PairedDifference], split: str
) -> list[Table]:
    """Jaccard per collection with differences, and false cloud per surface."""
    first = results[0]
    if not _collections(first):
        return [_machine_labels(results, split)]
    return [
        _jaccard_table(results, differences, split),
        _false_cloud_table(results, split),
    ]


def _jaccard_table(
    results: Sequence[Evaluation], differences: Sequence[PairedDifference], split: str
) -> Table:
    first = results[0]
    collections = _collections(first)
    table = Table(
        "model",
        title=f"Pooled Jaccard, split {split}, human labels: value [95 % interval over patches]",
    )
    for collection in collections:
        patches = first.group(LABEL, collection).patches
        table.add_column(f"{collection} ({patches})", justify="right")
    table.add_column("false cloud, all", justify="right")
    table.add_column(f"minus {first.model}", justify="right")
    by_model = {d.model: d.difference for d in differences}
    for result in results:
        cells = [
            estimate_text(result.group(LABEL, name).figures["jaccard"]) for name in collections
        ]
        cells.append(estimate_text(result.group(LABEL).figures["false_cloud_fraction"]))
        cells.append(estimate_text(by_model[result.model]) if result.model in by_model else "")
        table.add_row(result.model, *cells)
    return table


def _false_cloud_table(results: Sequence[Evaluation], split: str) -> Table:
    surfaces = [
        group.surface
        for group in results[0].groups
        if group.label == LABEL and group.surface != ALL and group.cloud_fraction < 1
    ]
    table = Table("model", title=f"Clear pixels called cloud, by surface, split {split}")
    for surface in surfaces:
        patches = results[0].group(LABEL, ALL, surface).patches
        table.add_column(f"{surface} ({patches})", justify="right")
    for result in results:
        figures = [
            result.group(LABEL, ALL, surface).figures["false_cloud_fraction"]
            for surface in surfaces
        ]
        table.add_row(result.model, *(f"{figure.value:.3f}" for figure in figures))
    return table


def _machine_labels(results: Sequence[Evaluation], split: str) -> Table:
    groups = [g for g in results[0].groups if g.surface == ALL]
    table = Table("model", title=f"Agreement (Jaccard) with machine-made labels, split {split}")
    for group in groups:
        table.add_column(f"{group.collection}, {group.label} ({group.patches})", justify="right")
    for result in results:
        cells = (result.group(g.label, g.collection).figures["jaccard"] for g in groups)
        table.add_row(result.model, *(estimate_text(cell) for cell in cells))
    return table


def _collections(result: Evaluation) -> list[str]:
    return [g.collection for g in result.groups if g.label == LABEL and g.surface == ALL]


def estimate_text(estimate: Estimate) -> str:
    """``0.812`` over ``[0.74, 0.88]``; ``-`` where it is not defined."""
    if estimate.value != estimate.value:
        return "-"
    if estimate.low != estimate.low:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f}\n[{estimate.low:.2f}, {estimate.high:.2f}]"
