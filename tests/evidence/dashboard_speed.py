"""How fast the dashboard opens a run of a million events, and how fast it answers.

A run folder of four satellites over thirty days is written event by event through `RunWriter`, with
the counts of a busy mission; then every page is opened in Chromium, from the request to the last
element drawn, and one control of each page is used::

    python tests/evidence/dashboard_speed.py [--events 1000000] [--folder DIR]

The events are made up (only their number and shape matter here); pictures are shared by all
captures.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import platform
import tempfile
import time
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
from dashboard_chromium import browser, dashboard, settle
from playwright.sync_api import Page

from dashboard.event_store import EventStore
from payload.frame import content_sha256
from simulator.scenario import load_scenario, resolved_yaml
from simulator.scenario.loading import bundled_scenarios
from simulator.telemetry import events, host_events
from simulator.telemetry.manifest import RunFolderError, new_manifest
from simulator.telemetry.metrics import compute_metrics
from simulator.telemetry.run_folder import RunFolder, RunWriter

DAYS = 30
SATELLITES = 4
EVENTS_PER_CAPTURE = 14
"""Frame path seven, storage two (captured; sent or dropped), power five."""
ORBIT_S = 5700.0
BYTES = 1_572_864
PX = 512 * 512
STATION = "matera"

OPENING_LIMIT_S = 3.0
INTERACTION_LIMIT_S = 1.0


def write_run(root: Path, total: int) -> Path:
    """A complete run folder of about `total` events."""
    names = [f"sat-{index + 1}" for index in range(SATELLITES)]
    scenario_text = _scenario_text(names)
    manifest = new_manifest(
        name="million",
        seed=1,
        epoch="2024-06-01T00:00:00+00:00",
        duration_s=DAYS * 86400.0,
        scenario_yaml=scenario_text,
        models={"threshold": "0" * 64},
        scenes={},
    )
    folder = root / "million"
    rng = np.random.default_rng(1)
    rgb = rng.uniform(0, 0.5, (4, 512, 512)).astype(np.float32)
    truth = (rng.uniform(size=(512, 512)) < 0.4).astype(np.uint8)
    frame_sha256, truth_sha256 = content_sha256(rgb), content_sha256(truth)
    with RunWriter(folder, manifest=manifest) as writer:
        writer.write_text("scenario.yaml", scenario_text)
        _write_places(writer, rng)
        writer.write_track(_track(names))
        writer.write_capture_images(
            reflectance=rgb,
            truth=truth,
            mask=truth,
            frame_sha256=frame_sha256,
            truth_sha256=truth_sha256,
            mask_sha256=truth_sha256,
        )
        _write_mission(writer, names, total, frame_sha256, truth_sha256)
        writer.seal()
        writer.complete(compute_metrics(RunFolder.open(folder)).to_dict())
    return folder


def _scenario_text(names: list[str]) -> str:
    scenario = load_scenario(bundled_scenarios()["first_light"], {"name": "million"})
    import yaml

    values = yaml.safe_load(resolved_yaml(scenario))
    values["duration_h"] = DAYS * 24
    values["satellites"] = [{**values["satellites"][0], "name": name} for name in names]
    return yaml.safe_dump(values, sort_keys=False)


def content_hash(text: str) -> str:
    """A hash that no other text has, so that the column is as hard to compress as a real one."""
    return hashlib.sha256(text.encode()).hexdigest()


def _write_places(writer: RunWriter, rng: np.random.Generator) -> None:
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Point",
                "coordinates": [float(rng.uniform(-180, 180)), float(rng.uniform(-60, 60))],
            },
            "properties": {"name": f"t{i:04d}", "priority": 1.0 + i % 4},
        }
        for i in range(1000)
    ]
    station = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [16.7, 40.65]},
        "properties": {"name": STATION, "altitude_m": 500.0, "min_elevation_deg": 10.0},
    }
    for name, found in (("targets.geojson", features), ("stations.geojson", [station])):
        writer.write_text(name, json.dumps({"type": "FeatureCollection", "features": found}))


def _track(names: list[str]) -> dict[str, np.ndarray]:
    t_s = np.arange(0, DAYS * 86400.0, 30.0)
    columns: dict[str, list[np.ndarray]] = {
        key: [] for key in ("t_s", "satellite", "latitude_deg", "longitude_deg", "altitude_km")
    }
    for index, name in enumerate(names):
        phase = 2 * np.pi * t_s / ORBIT_S + index
        columns["t_s"].append(t_s)
        columns["satellite"].append(np.full(len(t_s), name))
        columns["latitude_deg"].append(82 * np.sin(phase))
        columns["longitude_deg"].append((90 * index - t_s / 240 + 180) % 360 - 180)
        columns["altitude_km"].append(np.full(len(t_s), 510.0))
    return {key: np.concatenate(parts) for key, parts in columns.items()}


def made_up(event_type: type[events.Event], **known: object) -> events.Event:
    """An event with the fields that matter here; any other is zero or empty."""
    hints = typing.get_type_hints(event_type)
    others = {
        field.name: typing.get_origin(hints[field.name]) or hints[field.name]
        for field in dataclasses.fields(event_type)
        if field.name not in known
    }
    return event_type(**known, **{name: kind() for name, kind in others.items()})


def _write_mission(
    writer: RunWriter, names: list[str], total: int, frame_sha256: str, truth_sha256: str
) -> None:
    """All satellites side by side, in the order of time, as a mission writes them."""
    captures = total // EVENTS_PER_CAPTURE // len(names)
    step_s = DAYS * 86400.0 / captures
    ledgers = {name: {"captured": 0, "sent": 0, "dropped_policy": 0} for name in names}
    orbit = 0
    for index in range(captures):
        t_s = index * step_s + 1.0
        if t_s >= orbit * ORBIT_S:
            _write_orbit(writer, names, orbit)
            orbit += 1
        for name in names:
            capture, target = f"{name}-{index:06d}", f"t{(index * 7) % 1000:04d}"
            cloud_px = (index * 37) % PX
            _write_frame(writer, name, t_s, capture, target, cloud_px, frame_sha256, truth_sha256)
            for change in ("captured", "sent" if index % 2 else "dropped_policy"):
                ledgers[name][change] += BYTES
                _write_storage(writer, name, t_s + 3, capture, change, ledgers[name])
            for part in range(5):
                _write_power(writer, name, t_s + part, index, part)


def _write_orbit(writer: RunWriter, names: list[str], orbit: int) -> None:
    start_s = orbit * ORBIT_S
    for name in names:
        writer.write(
            made_up(
            events.Eclipse,
                t_s=start_s, satellite=name, start_s=start_s, end_s=start_s + 2000, kind="umbra"
            )
        )  # fmt: skip
        if orbit % 4 == 0:
            _write_pass(writer, name, start_s + 3000)


def _write_pass(writer: RunWriter, name: str, aos_s: float) -> None:
    writer.write(
        made_up(
            events.Pass,
            t_s=aos_s + 400, satellite=name, station=STATION, aos_s=aos_s, los_s=aos_s + 400,
            max_elevation_deg=35.0, outcome="used", usable_s=400.0, transmit_s=380.0,
            capacity_bytes=50_000_000, bytes=47_500_000,
        )
    )  # fmt: skip


def _write_frame(
    writer: RunWriter, name: str, t_s: float, capture: str, target: str, cloud_px: int,
    frame_sha256: str, truth_sha256: str,
) -> None:  # fmt: skip
    cover = cloud_px / PX
    clear_px = PX - cloud_px
    lost_px = clear_px // 50
    writer.write(
        made_up(
            events.Capture,
            t_s=t_s, satellite=name, capture=capture, target=target, attempt=1,
            reacquisition=False, latitude_deg=0.0, longitude_deg=0.0, off_nadir_deg=5.0,
            roll_deg=5.0, pitch_deg=0.0, slew_deg=5.0, slew_start_s=t_s - 10,
            sun_elevation_deg=45.0, weather_cover=cover, scene="made/up", scene_sha256="0" * 64,
            scene_kind="library", scene_gsd_m=10.0, surface=("cropland", "forest")[cloud_px % 2],
            frame_sha256=frame_sha256, truth_sha256=truth_sha256, cover=cover, clear_px=clear_px,
            cloud_px=cloud_px, gsd_m=10.0, bytes=BYTES, stored=True,
        )
    )  # fmt: skip
    writer.write(
        made_up(
            events.Inference,
            t_s=t_s + 2, satellite=name, capture=capture, status="ok", model="threshold",
            model_sha256="0" * 64, device="myriad2", tiles=4,
            tile_sha256=tuple(content_hash(f"{capture}/{tile}") for tile in range(4)),
            queued_s=0.5, start_s=t_s + 1, latency_s=1.0, energy_wh=0.0005, provenance="modelled",
            energy_provenance="modelled", mask_sha256=truth_sha256, cover_detected=round(cover, 2),
            block_cover=(cover,) * 4, clear_px=clear_px, cloud_px=cloud_px,
            clear_px_called_cloud=lost_px, cloud_px_called_cloud=cloud_px,
        )
    )  # fmt: skip
    writer.write(
        made_up(
            host_events.HostInference,
            t_s=t_s + 2, satellite=name, capture=capture, wall_s=0.01, model_calls=1,
            peak_memory_mib=90.0, memory_provenance="modelled", rss_mib=300.0,
        )
    )  # fmt: skip
    writer.write(
        made_up(
            events.Decision,
            t_s=t_s + 2, satellite=name, capture=capture, policy="reschedule", action="keep",
            cover_detected=round(cover, 2), cover_true=cover, blocks=4, blocks_kept=4,
            kept_blocks=(0, 1, 2, 3), bytes_raw=BYTES, bytes_kept=BYTES,
            region_px=clear_px + cloud_px, block_bytes=(), clear_px=clear_px,
            cloud_px=cloud_px, clear_px_kept=clear_px - lost_px, cloud_px_kept=cloud_px,
            clear_px_perfect=clear_px, clear_px_false_discard=lost_px,
            reason=f"{4 - cloud_px % 4} of 4 blocks hold at most 50 % cloud, frame {cover:.0%}",
        )
    )  # fmt: skip
    writer.write(
        made_up(
            events.Product,
            t_s=t_s + 2, satellite=name, product=f"{capture}-p", kind="pixels",
            capture=capture, target=target, bytes=BYTES, blocks=4, clear_px=clear_px - lost_px,
            cloud_px=cloud_px, priority=1.0, rank_key=1.0,
        )
    )  # fmt: skip
    writer.write(
        made_up(
            events.Downlink,
            t_s=t_s + 3600, satellite=name, product=f"{capture}-p", capture=capture,
            target=target, station=STATION, start_s=t_s + 3590, end_s=t_s + 3600, bytes=BYTES,
            remaining_bytes=0, complete=True, modcod=(),
        )
    )  # fmt: skip
    writer.write(
        made_up(
            events.Plan,
            t_s=t_s, satellite=name, change="add", trigger="result", target=target,
            capture_s=t_s + 100, expected_value=1.0 - cover, forecast_cover=cover,
            planned_captures=10, reason=f"forecast cover {cover:.0%} at {t_s:.0f} s",
        )
    )  # fmt: skip


def _write_storage(
    writer: RunWriter, name: str, t_s: float, capture: str, change: str, ledger: dict[str, int]
) -> None:
    stored = max(0, ledger["captured"] - ledger["sent"] - ledger["dropped_policy"])
    writer.write(
        made_up(
            events.Storage,
            t_s=t_s, satellite=name, capacity_bytes=2 << 30, captured_bytes=ledger["captured"],
            sent_bytes=ledger["sent"], dropped_policy_bytes=ledger["dropped_policy"],
            dropped_overflow_bytes=0, dropped_fault_bytes=0, dropped_released_bytes=0,
            derived_bytes=0, compressed_bytes=0, stored_bytes=stored, queued_bytes=stored,
            capture=capture, product=f"{capture}-p", change=change, delta_bytes=BYTES,
            reason="made up",
        )
    )  # fmt: skip


def _write_power(writer: RunWriter, name: str, t_s: float, index: int, part: int) -> None:
    charge = 0.8 + 0.15 * float(np.sin(t_s / ORBIT_S)) + 0.01 * float(np.sin(37 * t_s))
    writer.write(
        made_up(
            events.Power,
            t_s=t_s, satellite=name, charge_wh=40 * charge, charge_fraction=charge,
            load_w=8.0 + part, payload_w=float(part == 1), imager_w=float(part == 2), radio_w=0.0,
            bus_w=6.0, generation_w=18.0 * (t_s % ORBIT_S > 2000), generated_wh=t_s / 360,
            consumed_wh=t_s / 450, curtailed_wh=0.0, unserved_wh=0.0, payload_wh=index / 1000,
            low_power=False, reason="made up",
        )
    )  # fmt: skip


def readable(folder: Path) -> bool:
    """Whether the run is there, whole, and of the present version of the events."""
    try:
        store = EventStore(folder)
        for name in events.EVENT_TYPES:
            store.rows(f"SELECT count(*) FROM {name}")
    except RunFolderError:
        return False
    return store.run.complete


WATCH = """
window.lastChange = 0;
new MutationObserver(() => { window.lastChange = performance.now(); })
    .observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
window.quiet = (ms) => performance.now() - window.lastChange > ms
    && document.querySelector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    && document.querySelectorAll('[data-testid=stSkeleton], [data-stale=true]').length === 0
    && [...document.images].every((image) => image.complete);
"""
QUIET_MS = 600
"""A page is taken to be drawn when nothing in it changed for this long."""


def measure(page: Page, act: Callable[[], object]) -> float:
    """Seconds from an act until the last change that it made to what the page shows."""
    started_ms = page.evaluate("performance.timeOrigin + performance.now()")
    act()
    page.wait_for_selector("h1")
    page.wait_for_timeout(QUIET_MS)
    page.wait_for_function(f"window.quiet({QUIET_MS})")
    ended_ms = page.evaluate("performance.timeOrigin + window.lastChange")
    errors = page.locator('[data-testid="stAlertContentError"]').all_inner_texts()
    if errors:
        raise SystemExit(f"{page.url} shows an error, so its time means nothing: {errors[0]}")
    return float(ended_ms - started_ms) / 1000


def press_right(page: Page, index: int = 0) -> None:
    """Move a slider by one step."""
    page.get_by_role("slider").nth(index).press("ArrowRight")


def choose(page: Page, label: str) -> None:
    """Choose the option after the present one."""
    box = page.get_by_role("combobox", name=label, exact=False).first
    box.press("ArrowDown")
    box.press("ArrowDown")
    box.press("Enter")


def search(page: Page, words: str) -> None:
    """Type into the search box of a page."""
    box = page.get_by_role("textbox", name="Search")
    box.fill(words)
    box.press("Enter")


INTERACTIONS: dict[str, tuple[str, Callable[[Page], object]]] = {
    "flight": ("move mission time", press_right),
    "scenes": ("filter by error", press_right),
    "budgets": ("shorten the part shown", press_right),
    "downlink": (
        "next targets",
        lambda page: page.get_by_test_id("stNumberInputStepUp").last.click(),
    ),
    "models": ("another cost", lambda page: choose(page, "Against")),
    "missions": ("search", lambda page: search(page, "million")),
}


def main() -> None:
    """Write the run if it is not there, then print one line per page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "nepho-speed")
    arguments = parser.parse_args()
    folder = arguments.folder / "million"
    if not readable(folder):
        started = time.perf_counter()
        write_run(arguments.folder, arguments.events)
        print(f"written in {time.perf_counter() - started:.0f} s")
    manifest = json.loads((folder / "manifest.json").read_text())
    rows = sum(
        max(0, record["rows"]) for name, record in manifest["files"].items() if "events" in name
    )
    print(f"{rows:,} events, {SATELLITES} satellites, {DAYS} days, {platform.processor()}")
    print(f"{'page':10} {'first':>7} {'again':>7} {'act':>7}  act")
    with dashboard(arguments.folder) as address, browser() as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.add_init_script(WATCH)
        page.goto(address)
        settle(page)
        for name in ("flight", "scenes", "budgets", "downlink", "models", "missions"):
            path = "" if name == "missions" else name
            first_s = measure(page, lambda path=path: page.goto(f"{address}/{path}"))
            again_s = measure(page, lambda path=path: page.goto(f"{address}/{path}"))
            words, act = INTERACTIONS.get(name, ("", None))
            act_s = measure(page, lambda act=act: act(page)) if act else float("nan")
            verdict = "" if first_s < OPENING_LIMIT_S else "  opening too slow"
            verdict += "" if not act_s >= INTERACTION_LIMIT_S else "  act too slow"
            print(f"{name:10} {first_s:6.2f}s {again_s:6.2f}s {act_s:6.2f}s  {words}{verdict}")


if __name__ == "__main__":
    main()
