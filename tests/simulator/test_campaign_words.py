"""What a campaign says of its variants and of its own intervals."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.campaign import (
    ENOUGH_SEEDS,
    Campaign,
    Estimate,
    RunRecord,
)
from simulator.comparison import Variant, variants_of
from simulator.scenario import load_scenario
from simulator.telemetry.runs import short_name


def campaign(*variants: Variant, seeds: int = 20) -> Campaign:
    return Campaign("example", variants, tuple(range(seeds)), ())


@pytest.mark.parametrize(
    ("variants", "labels"),
    [
        ([Variant("a", "host", "prune"), Variant("b", "host", "prune")], ["a", "b"]),
        ([Variant("a", "host", "prune"), Variant("a", "host", "oracle")], ["prune", "oracle"]),
        ([Variant("cards/v1.5.yaml", "host", "prune"), Variant("v2", "tx2", "prune")],
         ["v1.5 / host", "v2 / tx2"]),
        ([Variant("a", "host", "prune")], ["prune"]),
        ([Variant("/m/a/net.yaml", "host", "prune"), Variant("/m/b/net.yaml", "host", "prune"),
          Variant("unet", "host", "prune")], ["a/net", "b/net", "unet"]),
        ([Variant("/m/a/x/net.yaml", "host", "prune"), Variant("/m/b/x/net.yaml", "host", "prune")],
         ["a/x/net", "b/x/net"]),
        ([Variant("net", "host", "prune"), Variant("/net.yaml", "host", "prune")], ["net", "/net"]),
        ([Variant("/m/net.yaml", "host", "prune"), Variant("/m/net.yml", "host", "prune")],
         ["/m/net.yaml", "/m/net.yml"]),
    ],
)  # fmt: skip
def test_variants_are_named_by_what_differs(variants: list[Variant], labels: list[str]) -> None:
    assert list(campaign(*variants).labels.values()) == labels


def test_a_variant_named_twice_is_flown_and_counted_once(untouched_mission: Path) -> None:
    scenario = load_scenario(untouched_mission / "scenario.yaml")
    once = variants_of(scenario, ["threshold"], [], ["prune", "oracle"])
    twice = variants_of(scenario, ["threshold", "threshold"], [], ["prune", "oracle", "prune"])
    assert twice == once


def test_satellites_that_differ_keep_what_is_their_own(untouched_mission: Path) -> None:
    path = untouched_mission / "scenario.yaml"
    one = load_scenario(path).satellites[0].model_dump(mode="json", exclude_none=True)
    other = one | {"name": "other", "payload": one["payload"] | {"device": "raspberry-pi-4"}}
    mixed = load_scenario(path, {"satellites": [one, other]})
    (variant,) = variants_of(mixed, policies=["prune"])
    assert (variant.model, variant.device) == (one["payload"]["model"], "")
    assert variant.label == f"prune / {variant.model}"


def test_a_name_with_a_dot_is_no_path() -> None:
    assert short_name("unet-1.5") == "unet-1.5"
    assert short_name("/somewhere/cards/unet-1.5.yaml") == "unet-1.5"
    assert short_name("/somewhere/cards/unet-1.5.onnx") == "unet-1.5"


@pytest.mark.parametrize(("seeds", "warned"), [(1, False), (2, True), (ENOUGH_SEEDS, False)])
def test_intervals_of_few_seeds_come_with_a_warning(seeds: int, warned: bool) -> None:
    assert bool(campaign(Variant("a", "host", "prune"), seeds=seeds).warning) == warned


def partly_defined(known: int, seeds: int = 20) -> Campaign:
    """Two variants; the second has a value of `wait_h` in some seeds only."""
    one, two = Variant("a", "host", "prune"), Variant("b", "host", "prune")
    runs = [
        RunRecord(variant, seed, "f", {
            "captures": 9.0 + seed % 3,
            "wait_h": 40.0 + seed % 5 if variant == one or seed < known else None,
        })
        for variant in (one, two)
        for seed in range(seeds)
    ]  # fmt: skip
    return Campaign("example", (one, two), tuple(range(seeds)), tuple(runs))


@pytest.mark.parametrize("known", [1, 2, ENOUGH_SEEDS - 1])
def test_a_metric_that_few_seeds_have_comes_with_a_warning(known: int) -> None:
    partly = partly_defined(known)
    assert f"wait_h has a value in {known} of 20 seeds only" in partly.warning
    assert partly.warning_of(["captures"]) == ""


@pytest.mark.parametrize("known", [0, ENOUGH_SEEDS, 20])
def test_a_metric_that_no_seed_or_enough_have_comes_without(known: int) -> None:
    assert partly_defined(known).warning == ""


def test_a_difference_that_few_seeds_have_comes_with_a_warning() -> None:
    one, two = Variant("a", "host", "prune"), Variant("b", "host", "prune")
    spans = {one: range(12), two: range(8, 20)}
    runs = [
        RunRecord(variant, seed, "f", {"wait_h": 1.0 if seed in span else None})
        for variant, span in spans.items()
        for seed in range(20)
    ]
    both = Campaign("example", (one, two), tuple(range(20)), tuple(runs))
    assert "wait_h has a value in 4 of 20 seeds only" in both.warning


def test_one_value_is_no_evidence() -> None:
    assert not Estimate(-8.0, -8.0, -8.0, 1).excludes_zero
    assert Estimate(-8.0, -8.0, -8.0, 2).excludes_zero
