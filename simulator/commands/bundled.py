"""What ships with the project and a scenario may name: scenarios, devices, ground stations.

Models have commands of their own (`simulator.commands.models`), and so have scene collections.
What takes long to import is imported where it is used, so that ``--help`` is quick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from simulator.commands.display import out, print_json, print_uncut

if TYPE_CHECKING:
    from payload.card import ModelCard
    from payload.device import DeviceProfile

DEFAULT_MODEL = "unet-distilled"
"""Whose time per tile tells devices apart."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def scenarios(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Print this one, for a file of your own."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the bundled scenarios, or print one of them to start from.

    A printed scenario names its files by their whole paths: it flies from any folder.

    [dim]nephoscope scenarios first_light > mine.yaml[/]
    """
    from simulator.scenario.loading import (
        bundled_scenarios,
        load_scenario,
        placed_text,
        scenario_path,
    )

    if name is not None:
        print(placed_text(scenario_path(name)), end="")
        return
    missions = [load_scenario(bundled) for bundled in bundled_scenarios()]
    if as_json:
        facts = ("name", "description", "duration_h")
        print_json([{fact: getattr(mission, fact) for fact in facts} for mission in missions])
        return
    table = _table("Bundled scenarios", "scenario", "h", "what is flown")
    for mission in missions:
        table.add_row(mission.name, f"{mission.duration_h:g}", escape(mission.description))
    out().print(table)
    out().print("One to start from: nephoscope scenarios NAME > mine.yaml")


def devices(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this one (or the profile at this path)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the payload computers, or show one with the source of each of its figures.

    [dim]nephoscope devices myriad2[/]
    """
    from payload.card_library import load_card
    from payload.device import list_devices, load_device

    if name is not None:
        _show_device(load_device(name), as_json=as_json)
        return
    profiles = list_devices()
    if as_json:
        print_json([asdict(profile) for profile in profiles])
        return
    card = load_card(DEFAULT_MODEL)
    table = _table("Payload computers", "device", "idle W", "active W", "MiB", "GMAC/s, fp32",
                   "GMAC/s, int8", "ms per tile", "mWh per tile", "speed is")  # fmt: skip
    for profile in profiles:
        table.add_row(*_device_cells(profile, card))
    print_uncut(table)
    out().print(f"A tile is 512 px, by {DEFAULT_MODEL}. Sources: nephoscope devices NAME")


def _device_cells(profile: DeviceProfile, card: ModelCard) -> tuple[str, ...]:
    seconds = profile.tile_s(card)
    return (
        profile.name,
        f"{profile.idle_power_w:g}",
        f"{profile.active_power_w:g}",
        f"{profile.memory_mib:,.0f}",
        _speed(profile.gmac_s.get("fp32")),
        _speed(profile.gmac_s.get("int8")),
        f"{1000 * seconds:.1f}",
        f"{1000 * profile.energy_wh(seconds):.3f}",
        profile.latency_provenance(card),
    )


def _speed(gmac_s: float | None) -> str:
    return "-" if gmac_s is None else f"{gmac_s:g}"


def _show_device(profile: DeviceProfile, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(profile))
        return
    facts = {key: value for key, value in asdict(profile).items() if _is_plain(value)}
    facts |= {f"gmac_s, {precision}": speed for precision, speed in profile.gmac_s.items()}
    facts |= {
        f"tile_latency_s, {row.model}, {row.tile_px} px": f"{row.seconds:g} on {row.host or '-'}"
        for row in profile.tile_latency_s
    }
    _print_pairs(facts.items(), profile.name)
    _print_pairs(
        ((s.field, f"{s.figure}: {s.source} ({s.status})") for s in profile.sources),
        "Where the figures come from",
    )


def _print_pairs(pairs: Iterable[tuple[str, object]], title: str) -> None:
    table = Table(
        title=escape(title), title_justify="left", box=None, pad_edge=False, show_header=False
    )
    table.add_column(style="cyan", overflow="fold", max_width=30)
    table.add_column(overflow="fold")
    for key, value in pairs:
        table.add_row(escape(key), escape(f"{value:g}" if isinstance(value, float) else str(value)))
    out().print(table)


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float))


def stations(as_json: JsonOption = False) -> None:
    """List the ground stations that a scenario may name instead of describing.

    [dim]nephoscope stations --json[/]
    """
    from simulator.ground.stations import catalogue

    known = catalogue().values()
    if as_json:
        print_json([asdict(station) for station in known])
        return
    table = _table("Ground stations", "station", "latitude deg", "longitude deg", "altitude m",
                   "position from")  # fmt: skip
    for station in known:
        table.add_row(
            station.name,
            f"{station.latitude_deg:.4f}",
            f"{station.longitude_deg:.4f}",
            f"{station.altitude_m:g}",
            escape(station.source),
        )
    print_uncut(table)


TEXTS = ("what is flown", "speed is", "position from")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(
            column.replace(", ", ",\n").replace(" per ", "\nper ").replace(" deg", "\ndeg"),
            justify="left" if index == 0 or column in TEXTS else "right",
            no_wrap=index == 0,
        )
    return table
