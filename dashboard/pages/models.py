"""Models: what each cloud model finds and costs, and what a swap does to a mission."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard import jobs
from dashboard.campaign_panel import show_campaign
from dashboard.charts.models import COSTS, by_surface, pareto
from dashboard.job_panel import show_job
from dashboard.jobs import JobError
from dashboard.navigation import draw
from dashboard.runs_folder import Folders, setup_of, stored_metrics
from dashboard.scenario_text import resolved_for_rerun
from dashboard.shell import figure, folders, plain, rows, runs_root
from payload.card import JaccardRecord, ModelCard
from payload.card_library import list_cards
from payload.device import DeviceError, DeviceProfile, list_devices
from simulator.scenario import POLICIES, ScenarioError, bundled_scenarios
from simulator.telemetry.manifest import RunFolderError

WORST = """
    SELECT c.capture, c.surface, c.cover AS true_cover, d.cover_detected,
           d.clear_px_false_discard / nullif(c.clear_px + c.cloud_px, 0) AS falsely_discarded
    FROM decision d JOIN capture c USING (capture)
    WHERE d.clear_px_false_discard > 0 ORDER BY d.clear_px_false_discard DESC LIMIT 5"""
RUNS_SEARCHED = 6
LICENCE_PX = 290


def show() -> None:
    """Draw the page."""
    st.title("Models", anchor=False)
    found = folders()
    campaign = st.query_params.get("campaign")
    if asked := st.query_params.get("job"):
        show_job(asked)
    if campaign:
        show_campaign(found, campaign)
    cards = _cards()
    st.subheader("Cards", anchor=False)
    if not cards:
        st.info("No model card was found. `nephoscope train student` makes one.")
        return
    _table(cards)
    _costs(cards)
    _surfaces(found, cards)
    _swap(found, cards)
    _other_campaigns(found, campaign)


@st.cache_data(ttl=30, show_spinner=False)
def _cards() -> list[ModelCard]:
    cards = list_cards(lambda why: st.warning(plain(str(why))))
    return sorted(cards, key=lambda card: card.parameters)


def _table(cards: Sequence[ModelCard]) -> None:
    here = [card.is_here for card in cards]
    st.dataframe(
        pd.DataFrame(
            {
                "model": [card.name for card in cards],
                "flies": here,
                "precision": [card.precision for card in cards],
                "parameters": [card.parameters for card in cards],
                "MAC/px": [card.macs_per_px for card in cards],
                "kB": [card.bytes / 1000 for card in cards],
                "peak MiB": [card.peak_memory_mib for card in cards],
                "licence": [card.licence for card in cards],
                "description": [card.description for card in cards],
            }
        ),
        hide_index=True,
        placeholder="-",
        column_config={
            "model": st.column_config.TextColumn(pinned=True),
            "licence": st.column_config.TextColumn(width=LICENCE_PX),
            "flies": st.column_config.CheckboxColumn(
                width="small",
                help="Whether its ONNX file is on this machine. A card alone still tells what the "
                "model is and how it did.",
            ),
            "parameters": st.column_config.NumberColumn(format="localized"),
            "MAC/px": st.column_config.NumberColumn(
                format="%d", help="Multiply-accumulates per pixel of a tile."
            ),
            "kB": st.column_config.NumberColumn(format="%.0f", help="Size of the ONNX file."),
            "peak MiB": st.column_config.NumberColumn(
                format="%.0f", help="Peak memory of a process that detects one 512 px tile."
            ),
        },
    )


def _costs(cards: Sequence[ModelCard]) -> None:
    st.subheader("What is found, and what it costs", anchor=False)
    records = [(card, record) for card in cards for record in card.jaccard]
    if not records:
        st.info("No card has a Jaccard index yet. `nephoscope models evaluate NAME --record`.")
        return
    comparable = _comparable(records)
    devices = list_devices()
    one, two, three = st.columns(3)
    chosen = one.selectbox("Data set", list(comparable), key="data_set", bind="query-params")
    cost = two.selectbox(
        "Against", list(COSTS), format_func=COSTS.__getitem__, key="cost", bind="query-params"
    )
    device_name = three.selectbox(
        "Device",
        [device.name for device in devices],
        key="device",
        bind="query-params",
        help="Latency and energy are those of this device profile.",
    )
    device = next(device for device in devices if device.name == device_name)
    members = comparable[chosen]
    table = pd.DataFrame([_point(card, record, device) for card, record in members])
    shown = table.dropna(subset=[cost])
    if shown.empty:
        st.info(f"{plain(device.name)} has no speed for the precision of these models.")
        return
    figure(
        "pareto",
        pareto(shown, cost, [card.name for card in cards]),
        table,
        f"Jaccard index on {chosen} with its 95 % interval ({members[0][1].protocol}). Figures of "
        "other data sets or protocols do not compare with these. Dotted: the Pareto front.",
    )


def _comparable(
    records: Sequence[tuple[ModelCard, JaccardRecord]],
) -> dict[str, list[tuple[ModelCard, JaccardRecord]]]:
    """Cards with what was found on one data set by one protocol, the best known first.

    Other patches are another protocol: a card scored on scenes of one's own may call them the same.
    """
    protocols = {(_data_set(record), record.protocol) for _, record in records}
    several = {name for name, count in Counter(name for name, _ in protocols).items() if count > 1}
    found: dict[str, list[tuple[ModelCard, JaccardRecord]]] = {}
    for card, record in records:
        name = _data_set(record)
        if name in several:
            name += f", {record.protocol}"
        found.setdefault(name, []).append((card, record))
    return dict(sorted(found.items(), key=lambda group: -len(group[1])))


def _data_set(record: JaccardRecord) -> str:
    return f"{record.data_set}, {record.split}, {record.label} labels"


def _point(card: ModelCard, record: JaccardRecord, device: DeviceProfile) -> dict[str, object]:
    try:
        latency_s: float | None = device.tile_s(card)
    except DeviceError:
        latency_s = None
    interval = record.ci95 or (None, None)
    return {
        "model": card.name,
        "value": record.value,
        "low": interval[0],
        "high": interval[1],
        "parameters": card.parameters,
        "bytes": card.bytes,
        "latency_s": latency_s,
        "energy_wh": None if latency_s is None else device.energy_wh(latency_s),
    }


def _surfaces(found: Folders, cards: Sequence[ModelCard]) -> None:
    st.subheader("Clear ground falsely discarded, by surface", anchor=False)
    lines = _false_discards(found)
    if lines.empty:
        st.info("No complete run in this folder used a mask yet. Fly one below.")
        return
    models_flown = lines.groupby("mission")["model"].nunique().sort_values(ascending=False)
    chosen = st.selectbox(
        "Missions flown",
        list(models_flown.index),
        key="mission",
        bind="query-params",
        help="Models compare over the same ground only: scenario, length, policy and satellites.",
    )
    flown = lines[lines["mission"] == chosen]
    table = flown.groupby(["model", "surface"], as_index=False).agg(
        fraction=("fraction", "mean"), runs=("run", "nunique")
    )
    figure(
        "false-discards-by-surface",
        by_surface(table, [card.name for card in cards]),
        table,
        "Clear pixels dropped that a perfect mask under the same policy would have kept, of the "
        f"clear pixels captured: mean over the complete runs of this mission ({_spread(table)}).",
    )
    _worst(found)


def _false_discards(found: Folders) -> pd.DataFrame:
    """Of each complete run that used a mask, a line per surface; a run in two campaigns is one."""
    lines = []
    once = {run.path.name: run for run in found.runs}
    for name, run in once.items():
        setup = setup_of(run)
        if run.manifest is None or setup.policy in ("bent_pipe", "oracle"):
            continue  # they use no mask, so they say nothing of a model
        hours = run.manifest.duration_s / 3600
        mission = f"{run.manifest.name}, {hours:g} h, {setup.policy}"
        if setup.satellites > 1:
            mission += f", {setup.satellites} satellites"
        table = stored_metrics(run).get("false_discard_fraction_by_surface")
        if not isinstance(table, dict):  # an older run, or a damaged file
            continue
        lines += [
            {
                "mission": mission,
                "model": ", ".join(setup.models),
                "surface": surface,
                "fraction": fraction,
                "run": name,
            }
            for surface, fraction in table.items()
            if fraction is not None
        ]
    return pd.DataFrame(lines)


def _spread(table: pd.DataFrame) -> str:
    """How many runs stand behind a model: ``3 of each model``, ``1 to 5 of a model``."""
    fewest, most = int(table["runs"].min()), int(table["runs"].max())
    return f"{most} of each model" if fewest == most else f"{fewest} to {most} of a model"


def _worst(found: Folders) -> None:
    worst = []
    masked = [run for run in found.runs if run.state == "complete"][:RUNS_SEARCHED]
    for run in masked:
        try:
            table = rows(run, WORST)
        except RunFolderError:
            continue  # the run's own pages say what is wrong with it
        worst.append(table.assign(model=", ".join(setup_of(run).models), run=run.run_id))
    table = pd.concat(worst) if worst else pd.DataFrame()
    if table.empty:
        return
    with st.expander(f"Worst cases of the {len(masked)} newest complete runs"):
        table["open"] = [
            f"/scenes?run={r}&capture={c}"
            for r, c in zip(table["run"], table["capture"], strict=True)
        ]
        st.dataframe(
            table.sort_values("falsely_discarded", ascending=False),
            hide_index=True,
            column_config={
                "open": st.column_config.LinkColumn(display_text="pictures"),
                "falsely_discarded": st.column_config.NumberColumn(format="percent"),
                "true_cover": st.column_config.NumberColumn(format="percent"),
                "cover_detected": st.column_config.NumberColumn(format="percent"),
            },
        )


def _swap(found: Folders, cards: Sequence[ModelCard]) -> None:
    st.subheader("Swap: fly the same mission with other models, devices or policies", anchor=False)
    if refused := jobs.why_not_into(found.root):
        st.info(plain(refused))
        return
    bundled = bundled_scenarios()
    flown = {f"run: {run.run_id}": run for run in found.runs if run.manifest}
    with st.form("swap"):
        one, two, three = st.columns(3)
        mission = one.selectbox(
            "Mission", [*bundled, *flown], key="swap_mission", bind="query-params"
        )
        models = two.multiselect(
            "Models",
            [card.name for card in cards if card.is_here],
            key="swap_models",
            bind="query-params",
            placeholder="its own",
            help="Models whose ONNX file is on this machine.",
        )
        devices = three.multiselect(
            "Devices",
            [d.name for d in list_devices()],
            key="swap_devices",
            bind="query-params",
            placeholder="its own",
        )
        one, two, three = st.columns([2, 1, 1], vertical_alignment="bottom")
        policies = one.multiselect(
            "Policies",
            POLICIES,
            key="swap_policies",
            bind="query-params",
            placeholder="its own",
        )
        seeds = two.number_input(
            "Seeds",
            1,
            100,
            5,
            key="swap_seeds",
            bind="query-params",
            help="Every variant is flown with each; 20 for a verdict.",
        )
        pressed = three.form_submit_button(
            "Run", type="primary", icon=":material/rocket_launch:", width="stretch"
        )
    if not pressed:
        return
    variants = max(1, len(models)) * max(1, len(devices)) * max(1, len(policies))
    if variants < 2:
        st.warning(
            "Choose at least two models, devices or policies: one alone compares to nothing."
        )
        return
    _start(mission, flown, models, devices, policies, int(seeds), variants)


def _start(
    mission: str,
    flown: dict[str, object],
    models: list[str],
    devices: list[str],
    policies: list[str],
    seeds: int,
    variants: int,
) -> None:
    run = flown.get(mission)
    try:
        text = resolved_for_rerun(run) if run is not None else None  # type: ignore[arg-type]
    except ScenarioError as error:
        st.error(plain(error))
        return
    name = mission.removeprefix("run: ").replace("/", "-")
    out = _free_name(runs_root(), f"compare-{name}")
    options = []
    for option, names in (("--models", models), ("--devices", devices), ("--policies", policies)):
        options += [option, ",".join(names)] if names else []
    if not policies and not models and not devices:
        return
    scenario = "{scenario}" if text is not None else mission
    try:
        job = jobs.start(
            runs_root(),
            f"Swap on {mission}: {', '.join([*models, *devices, *policies])}, {seeds} seeds",
            ["compare", scenario, *options, "--seeds", str(seeds), "--out", "{out}", "--json"],
            out=out,
            expected_runs=variants * seeds,
            scenario_text=text,
            scenario_name=name,
        )
    except JobError as error:
        st.error(plain(error))
        return
    st.query_params["job"] = job.job_id
    st.rerun()


def _free_name(root: Path, name: str) -> str:
    taken = {path.name for path in root.glob(f"{name}*")} if root.is_dir() else set()
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, 10_000))) if n not in taken)


def _other_campaigns(found: Folders, shown: str | None) -> None:
    others = [name for name in found.campaigns if name != shown]
    if not others:
        return
    st.subheader("Campaigns in this folder", anchor=False)
    for name in others:
        st.page_link("pages/models.py", label=plain(name), query_params={"campaign": name})


draw(show)
