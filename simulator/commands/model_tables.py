"""Tables of models: what their cards say, what they cost here, how they compare.

Models are compared on the same patches: score, difference, false cloud by surface. A difference is
paired: both models saw the same redrawn patches. A surface's share of clear pixels called cloud
says what a pooled figure hides, that a model is good everywhere but over snow.

Names are a user's own: brackets in them are text, not styles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from payload.card import JaccardRecord, ModelCard
from payload.training import profiling
from payload.training.evaluation import ALL, FEW_PATCHES, Estimate, Evaluation
from payload.training.evaluation import as_plain as evaluation_as_plain
from payload.training.paired import PairedDifference, paired_difference

LABEL = "human"
"""Only what a person drew ranks models."""


POOLED = ("all", "val")
"""Data set and split of the score that a list of models shows: all collections together."""

FIGURE_TABLES = (
    ("overlap with the labels", ("jaccard", "scene_jaccard", "precision", "recall")),
    ("errors", ("accuracy", "false_cloud_fraction", "calibration_error")),
)
"""The figures of an evaluation, by the question they answer."""

CARD_COLUMNS = ("model", "precision", "parameters", "MAC/px", "kB", "peak MiB", "ms, 2 threads")


def cards_table(cards: Sequence[ModelCard]) -> Table:
    """What the cards say, one line each: cost, and the pooled score on human labels."""
    table = Table(title="Cloud models", title_justify="left", box=None, pad_edge=False)
    for column in (*CARD_COLUMNS, "Jaccard, val, human labels"):
        head = column.replace("precision", "pre-\ncision").replace("peak ", "peak\n")
        head = head.replace("2 ", "2\n").replace("val, ", "val,\n")
        table.add_column(head, justify="left" if column == "model" else "right", vertical="bottom")
    protocol = _common_protocol(cards)
    for card in cards:
        human = [record for record in card.jaccard if record.label == LABEL]
        compared = [r for r in _pooled(card) if r.protocol == protocol]
        others = "\n".join(map(_named_score, human)) or "-"
        score = _score(compared[0]) if compared else others
        table.add_row(*map(escape, (*_card_cells(card), score)))
    return table


def _pooled(card: ModelCard) -> list[JaccardRecord]:
    """Scores over all patches of the split together; more than one where scenes differed."""
    return [r for r in card.jaccard if (r.label, r.data_set, r.split) == (LABEL, *POOLED)]


def _common_protocol(cards: Sequence[ModelCard]) -> str:
    """That of most pooled scores: scores over other patches do not stand beside them."""
    found = Counter(record.protocol for card in cards for record in _pooled(card))
    return found.most_common(1)[0][0] if found else ""


def cards_markdown(cards: Sequence[ModelCard]) -> str:
    """The same as a Markdown table, with every score on human labels."""
    head = (*CARD_COLUMNS, "Jaccard on human labels [95 %]")
    rows = [head, ("---",) * len(head)]
    for card in cards:
        scores = (_named_score(record) for record in card.jaccard if record.label == LABEL)
        rows.append((*_card_cells(card), "; ".join(scores)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _card_cells(card: ModelCard) -> tuple[str, ...]:
    threads = _profiled_threads(card)
    return (
        card.name,
        card.precision,
        f"{card.parameters:,}",
        f"{card.macs_per_px:,.0f}",
        f"{card.bytes / 1000:,.0f}",
        "" if card.peak_memory_mib is None else f"{card.peak_memory_mib:.0f}",
        f"{1000 * threads[2]['latency_least_s']:.1f}" if 2 in threads else "",
    )


def _profiled_threads(card: ModelCard) -> Mapping[int, Mapping[str, float]]:
    """What `models profile --record` wrote; empty where a card's own author wrote otherwise."""
    profile = card.measurements.get("profile")
    threads = profile.get("threads") if isinstance(profile, Mapping) else None
    if not isinstance(threads, Mapping):
        return {}
    return {n: v for n, v in threads.items() if isinstance(v, Mapping) and "latency_least_s" in v}


def _score(record: JaccardRecord) -> str:
    interval = f" [{record.ci95[0]:.2f}, {record.ci95[1]:.2f}]" if record.ci95 else ""
    return f"{record.value:.3f}{interval}"


def _named_score(record: JaccardRecord) -> str:
    return f"{record.data_set} {record.split} {_score(record)}"


def profile_table(profiles: Sequence[profiling.Profile]) -> Table:
    """What models cost on this machine: one line for each number of threads."""
    title = f"One 512 px tile on {profiles[0].host}, {profiles[0].runtime}"
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("model")
    for heading in (
        "parameters", "MAC/px", "kB", "peak\nMiB", "thr.", "ms", "CPU\nms", "Mpx/s", "GFLOP/s",
        "of\npeak",
    ):  # fmt: skip
        table.add_column(heading, justify="right", vertical="bottom")
    for p in profiles:
        cells = [f"{p.parameters:,}", f"{p.macs_per_px:,.0f}", f"{p.bytes / 1000:,.0f}"]
        cells.append(f"{p.peak_memory_mib:.0f}")
        for threads in profiling.THREADS:
            first = threads == profiling.THREADS[0]
            table.add_row(
                *((escape(p.model), *cells) if first else [""] * (1 + len(cells))),
                str(threads),
                f"{1000 * p.latency[threads].least_s:.1f}",
                f"{1000 * p.latency[threads].processor_s:.1f}",
                f"{p.megapixels_per_s[threads]:.1f}",
                f"{p.gflop_per_s[threads]:.1f}",
                f"{p.share_of_peak[threads]:.2f}",
            )
    return table


def evaluation_tables(result: Evaluation, split: str) -> list[Table]:
    """All figures of one model per label, collection and surface, in two tables of 100 columns."""
    return [
        _figures_table(result, figures, f"{result.model}, split {split}: {what}")
        for what, figures in FIGURE_TABLES
    ]


def _figures_table(result: Evaluation, figures: Sequence[str], title: str) -> Table:
    table = Table(
        title=escape(f"{title} [95 % interval over patches]"),
        title_justify="left",
        box=None,
        caption=_few_patches(group.patches for group in result.groups),
        caption_justify="left",
    )
    table.add_column("labels, collection or surface")
    for heading in ("patches", "cloud", *figures):
        table.add_column(heading.replace("_", " "), justify="right")
    for group in result.groups:
        place = group.collection if group.surface == ALL else group.surface
        table.add_row(
            escape(f"{group.label}, {place}"),
            str(group.patches),
            "-" if math.isnan(group.cloud_fraction) else f"{group.cloud_fraction:.2f}",
            *(estimate_text(group.figures[figure]) for figure in figures),
        )
    return table


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
        title=escape(
            f"Pooled Jaccard, split {split}, human labels: value [95 % interval over patches]"
        ),
        caption=_few_patches(first.group(LABEL, name).patches for name in collections),
    )
    for collection in collections:
        patches = first.group(LABEL, collection).patches
        table.add_column(escape(f"{collection} ({patches})"), justify="right")
    table.add_column("false cloud, all", justify="right")
    table.add_column(escape(f"minus {first.model}"), justify="right")
    by_model = {d.model: d.difference for d in differences}
    for result in results:
        cells = [
            estimate_text(result.group(LABEL, name).figures["jaccard"]) for name in collections
        ]
        cells.append(estimate_text(result.group(LABEL).figures["false_cloud_fraction"]))
        cells.append(estimate_text(by_model[result.model]) if result.model in by_model else "")
        table.add_row(escape(result.model), *cells)
    return table


def _few_patches(counts: Iterable[int]) -> str | None:
    """A word of warning where a group has so few patches that its interval is too narrow."""
    if min((n for n in counts if n > 1), default=FEW_PATCHES) >= FEW_PATCHES:
        return None
    return (
        f"Under {FEW_PATCHES} patches intervals are too narrow: of 5 patches about 4 in 5 hold the "
        "true value."
    )


def _false_cloud_table(results: Sequence[Evaluation], split: str) -> Table:
    surfaces = [
        group.surface
        for group in results[0].groups
        if group.label == LABEL and group.surface != ALL and group.cloud_fraction < 1
    ]
    table = Table("model", title=escape(f"Clear pixels called cloud, by surface, split {split}"))
    for surface in surfaces:
        patches = results[0].group(LABEL, ALL, surface).patches
        table.add_column(escape(f"{surface} ({patches})"), justify="right")
    for result in results:
        figures = [
            result.group(LABEL, ALL, surface).figures["false_cloud_fraction"]
            for surface in surfaces
        ]
        table.add_row(escape(result.model), *(f"{figure.value:.3f}" for figure in figures))
    return table


def _machine_labels(results: Sequence[Evaluation], split: str) -> Table:
    groups = [g for g in results[0].groups if g.surface == ALL]
    title = f"Agreement (Jaccard) with machine-made labels, split {split}"
    table = Table("model", title=escape(title))
    for group in groups:
        heading = f"{group.collection}, {group.label} ({group.patches})"
        table.add_column(escape(heading), justify="right")
    for result in results:
        cells = (result.group(g.label, g.collection).figures["jaccard"] for g in groups)
        table.add_row(escape(result.model), *(estimate_text(cell) for cell in cells))
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
