"""Scenes: what was imaged, what the payload made of it, and where it was wrong."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard.colours import ACTIONS, NEUTRAL
from dashboard.navigation import draw
from dashboard.pictures import (
    error_picture,
    load_pictures,
    load_rgb,
    overlay,
    truth_picture,
)
from dashboard.runs_folder import FoundRun
from dashboard.shell import (
    choose_run,
    counted,
    folders,
    open_store,
    plain,
    rows,
    sentences,
    utc,
)
from simulator.telemetry.manifest import RunFolderError

PER_PAGE = 12

CAPTURES = """
    SELECT c.capture, c.satellite, c.t_s, c.target, c.attempt, c.reacquisition, c.scene,
           c.scene_kind, c.scene_gsd_m, c.surface, c.cover, c.frame_sha256, c.truth_sha256,
           c.stored, c.clear_px + c.cloud_px AS px,
           coalesce(i.status, 'none') AS status, coalesce(i.model, '') AS model,
           coalesce(i.mask_sha256, '') AS mask_sha256, i.latency_s, i.energy_wh,
           coalesce(d.action, 'undecided') AS action, coalesce(d.cover_detected, -1)
               AS cover_detected, coalesce(d.reason, '') AS reason, d.blocks, d.blocks_kept,
           coalesce(d.clear_px_false_discard, 0) AS clear_px_false_discard,
           coalesce(i.clear_px_called_cloud, 0) AS clear_px_called_cloud,
           coalesce(i.cloud_px - i.cloud_px_called_cloud, 0) AS cloud_px_missed,
           (coalesce(i.clear_px_called_cloud, 0)
             + coalesce(i.cloud_px - i.cloud_px_called_cloud, 0))
             / nullif(c.clear_px + c.cloud_px, 0) AS error
    FROM capture c LEFT JOIN inference i USING (capture) LEFT JOIN decision d USING (capture)
"""

PICTURES = f"""
    SELECT *, count(*) OVER same AS alike, row_number() OVER (
        same ORDER BY clear_px_false_discard DESC, t_s) AS nth_alike
    FROM ({CAPTURES}) WHERE {{condition}}
    WINDOW same AS (PARTITION BY frame_sha256, mask_sha256, action)"""
"""Captures, and which of those with the same picture and the same fate each is."""


def _worst_of_each_scene(amount: str) -> str:
    """Order by `amount`, but the worst of every scene before the next worst of any."""
    return (
        f"({amount} > 0) DESC, row_number() OVER (PARTITION BY scene ORDER BY {amount} DESC, t_s), "
        f"{amount} DESC, t_s"
    )


ORDERS = {
    "worst false discards": _worst_of_each_scene("clear_px_false_discard"),
    "largest error": _worst_of_each_scene("coalesce(error, -1)"),
    "most cloud missed": _worst_of_each_scene("cloud_px_missed"),
    "cloudiest": "cover DESC, t_s",
    "clearest": "cover, t_s",
    "newest": "t_s DESC",
    "oldest": "t_s",
}


def show() -> None:
    """Draw the page."""
    st.title("Scenes", anchor=False)
    run = choose_run(folders())
    if run is None:
        return
    if not int(rows(run, "SELECT count(*) FROM capture").iat[0, 0]):
        st.info(
            "Nothing was imaged. A capture needs a target in the field of regard, sunlight, time "
            "to slew, power and storage: see Budgets for what ran out."
        )
        return
    condition, parameters, order, once = _filters(run)
    pictures = PICTURES.format(condition=condition)
    captures, distinct = (
        int(number)
        for number in rows(
            run,
            f"SELECT count(*), count(*) FILTER (nth_alike = 1) FROM ({pictures})",
            **parameters,
        ).iloc[0]
    )
    found = distinct if once else captures
    if not found:
        st.info("No capture matches the filters. Loosen one of them.")
        return
    pages = -(-found // PER_PAGE)
    page = 1
    line = st.container(horizontal=True, vertical_alignment="bottom")
    if pages > 1:
        page = int(
            line.number_input(
                f"Page of {pages}", 1, pages, 1, key="page", bind="query-params", width=160
            )
        )
    line.caption(
        f"{counted(distinct, 'picture')} of {counted(captures, 'capture')}"
        if once
        else counted(captures, "capture")
    )
    shown = rows(
        run,
        f"SELECT * FROM ({pictures}) {'WHERE nth_alike = 1' if once else ''} ORDER BY {order} "
        f"LIMIT {PER_PAGE} OFFSET {(min(page, pages) - 1) * PER_PAGE}",
        **parameters,
    )
    # The detail comes first, so that on a narrow screen it stands above the gallery.
    detail, gallery = st.columns([2, 3], gap="medium")
    asked = st.query_params.get("capture")
    with detail, sentences():
        _detail(run, asked, shown)
    with gallery, sentences():
        _gallery(run, shown, once=once)


def _filters(run: FoundRun) -> tuple[str, dict[str, object], str, bool]:
    known = rows(
        run,
        "SELECT list(DISTINCT surface ORDER BY surface) AS surfaces, "
        "(SELECT list(DISTINCT action ORDER BY action) FROM decision) AS actions FROM capture",
    ).iloc[0]
    one, two, three, four = st.columns([2, 2, 2, 2])
    order = one.selectbox(
        "Order",
        list(ORDERS),
        key="order",
        bind="query-params",
        help="Of worst, largest and most: one capture of each scene first, then the next of each.",
    )
    once = one.toggle(
        "Each picture once",
        value=True,
        key="once",
        bind="query-params",
        help="The same pixels may be flown over many targets; what was made of them is the same.",
    )
    actions = two.multiselect(
        "Decision", _listed(known["actions"]), key="decision", bind="query-params"
    )
    surfaces = three.multiselect(
        "Surface", _listed(known["surfaces"]), key="surface", bind="query-params"
    )
    error = four.slider(
        "Least detection error, %",
        0,
        100,
        0,
        key="error",
        bind="query-params",
        help="Pixels whose mask disagrees with the truth, of all labelled pixels of the frame.",
    )
    conditions, parameters = ["true"], {}
    if actions:
        conditions.append("list_contains($actions, action)")
        parameters["actions"] = list(actions)
    if surfaces:
        conditions.append("list_contains($surfaces, surface)")
        parameters["surfaces"] = list(surfaces)
    if error:
        conditions.append("error >= $error")
        parameters["error"] = error / 100
    return " AND ".join(conditions), parameters, ORDERS[order], once


def _listed(values: Any) -> list[str]:
    return [] if values is None else [str(value) for value in values]


def _gallery(run: FoundRun, shown: pd.DataFrame, *, once: bool) -> None:
    folder = open_store(run).run
    # The style sheet of `app.py` lays them out in rows: four on a wide screen, two on a narrow one.
    wall = st.container(key="gallery")
    for capture in shown.itertuples():
        with wall.container(border=True, gap="small"):
            try:
                st.image(load_rgb(folder, capture.frame_sha256), width="stretch")
            except RunFolderError as error:
                st.caption(plain(error))
            _badge(capture.action)
            st.caption(_words(capture, once=once))
            if st.button("Inspect", key=f"inspect-{capture.capture}", width="stretch"):
                st.query_params["capture"] = capture.capture
                st.rerun()


def _words(capture: Any, *, once: bool) -> str:
    """Whose picture it is, what was detected in it, and what was lost by mistake."""
    others = int(capture.alike) - 1 if once else 0
    whose = plain(capture.target) + (f" and {others:,} more" if others else "")
    detected = "no mask"
    if capture.cover_detected >= 0:
        detected = f"detected {100 * capture.cover_detected:.0f} %"
    words = f"{whose} · {detected}, true {100 * capture.cover:.0f} % cloud"
    if not capture.clear_px_false_discard:
        return words
    lost = 100 * capture.clear_px_false_discard / max(1, capture.px)
    return f"{words} · **{lost:.0f} % falsely discarded**"


def _badge(action: str) -> None:
    colour = ACTIONS.get(action, NEUTRAL)
    st.html(
        f'<span style="background:{colour};color:#111;border-radius:6px;padding:1px 8px;'
        f'font-size:0.8rem">{_letters(action)}</span>'
    )


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum() or c in " _-")


def _detail(run: FoundRun, asked: str | None, shown: pd.DataFrame) -> None:
    chosen = rows(run, f"SELECT * FROM ({CAPTURES}) WHERE capture = $capture", capture=asked or "")
    if asked and chosen.empty:
        st.warning(f"The link names the capture {plain(asked)}, which this run does not have.")
    capture = (chosen if len(chosen) else shown).iloc[0]
    st.subheader(plain(capture["capture"]), anchor=False)
    pictures = load_pictures(
        open_store(run).run,
        capture["frame_sha256"],
        capture["truth_sha256"],
        capture["mask_sha256"],
    )
    opacity = st.slider("Mask opacity, %", 0, 100, 45, key="opacity", bind="query-params") / 100
    grid = st.container(key="pictures")  # two by two, on a narrow screen too
    grid.image(
        pictures.rgb,
        width="stretch",
        caption="Seen (a scene smaller than the frame is mirrored to fill it)",
    )
    if pictures.mask is None:
        grid.info("No mask: the policy asked for none, or the frame went unprocessed.")
    else:
        grid.image(overlay(pictures, opacity), width="stretch", caption="Detected cloud")
    grid.image(
        truth_picture(pictures),
        width="stretch",
        caption="Truth: green clear, white cloud, grey thin cloud, dark shadow",
    )
    errors = error_picture(pictures)
    if errors is not None:
        grid.image(
            errors,
            width="stretch",
            caption="Errors: vermillion clear called cloud, purple missed, grey cloud found",
        )
    _badge(str(capture["action"]))
    st.markdown(f"**Why:** {plain(capture['reason']) or 'no decision was made'}")
    st.dataframe(
        _facts(run, capture),
        hide_index=True,
        height="content",
        column_config={"field": st.column_config.TextColumn(width=150)},
    )
    st.page_link(
        "pages/flight.py",
        label="See it in flight",
        icon=":material/satellite_alt:",
        query_params={"run": run.run_id, "t_h": f"{capture['t_s'] / 3600:.3f}"},
    )


def _facts(run: FoundRun, capture: pd.Series) -> pd.DataFrame:
    px = max(1, int(capture["px"]))
    detected = capture["cover_detected"]
    facts = {
        "time (UTC)": utc(run, capture["t_s"]),
        "satellite": capture["satellite"],
        "target": f"{capture['target']}, attempt {capture['attempt']}"
        + (" (reacquisition)" if capture["reacquisition"] else ""),
        "surface": capture["surface"],
        "cloud cover, true": f"{100 * capture['cover']:.1f} %",
        "cloud cover, detected": f"{100 * detected:.0f} %" if detected >= 0 else "no mask",
        "blocks kept": _kept(capture),
        "clear pixels called cloud": _of_frame(capture["clear_px_called_cloud"], px),
        "cloud pixels missed": _of_frame(capture["cloud_px_missed"], px),
        "falsely discarded": _of_frame(capture["clear_px_false_discard"], px),
        "model": capture["model"] or "none",
        "inference": capture["status"],
        "latency": "-" if pd.isna(capture["latency_s"]) else f"{capture['latency_s']:.3g} s",
        "energy": "-" if pd.isna(capture["energy_wh"]) else f"{capture['energy_wh']:.3g} Wh",
        "scene": capture["scene"],
        "pixels of the scene": f"{capture['scene_kind']}, {capture['scene_gsd_m']:g} m",
    }
    return pd.DataFrame({"field": list(facts), "value": [str(v) for v in facts.values()]})


def _of_frame(amount_px: float, frame_px: int) -> str:
    return f"{100 * amount_px / frame_px:.2f} % of the frame"


def _kept(capture: pd.Series) -> str:
    if pd.isna(capture["blocks"]):
        return "-"
    return f"{int(capture['blocks_kept'])} of {int(capture['blocks'])}"


draw(show)
