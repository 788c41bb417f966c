"""Scenario: choose a mission, edit it, see what is wrong with it, fly it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import form, jobs
from dashboard.job_panel import show_job
from dashboard.jobs import JobError
from dashboard.navigation import draw
from dashboard.runs_folder import Folders, FoundRun
from dashboard.scenario_text import (
    bundled_folder,
    check_text,
    resolved_for_rerun,
    to_fly,
    with_values,
)
from dashboard.shell import counted, folders, plain, runs_root
from simulator.scenario import Problem, Scenario, ScenarioError, bundled_scenarios
from simulator.scenario.explain import json_schema

UPLOADED = "an uploaded file"


def show() -> None:
    """Draw the page."""
    st.title("Scenario", anchor=False)
    found = folders()
    _choose(found)
    text = st.session_state["text"]
    if asked := st.query_params.get("job"):
        show_job(asked)
    edit, as_text = st.tabs(["Form", "Text"])
    problems, scenario = _problems(text)
    with as_text:
        _text_editor(text, problems)
    with edit:
        _form_editor(text, problems)
    _verdict(problems, scenario)
    _fly(text, scenario)


def _choose(found: Folders) -> None:
    bundled = bundled_scenarios()
    flown = [f"run: {run.run_id}" for run in found.runs if run.state != "unreadable"]
    names = [*bundled, *flown, UPLOADED]
    left, right = st.columns([2, 2], vertical_alignment="bottom")
    start = list(bundled).index("first_light") if "first_light" in bundled else 0
    chosen = left.selectbox(
        "Start from",
        names,
        start,
        key="scenario",
        bind="query-params",
        help="A bundled mission, the scenario of a run, or a file of your own.",
    )
    text = None
    if chosen == UPLOADED:
        upload = right.file_uploader(
            "A scenario file (its relative paths start at the bundled scenarios)",
            type=["yaml", "yml"],
        )
        if upload is not None:
            text = _decoded(upload.getvalue())
            chosen = f"{UPLOADED} {upload.name} {hash(text)}"
    elif chosen in bundled:
        text = bundled[chosen].read_text(encoding="utf-8")
        right.caption(f"Bundled: {plain(bundled[chosen].name)}")
    else:
        text = _text_of(found.run(chosen.removeprefix("run: ")))
    if st.session_state.get("text_from") != chosen and text is not None:
        st.session_state["text_from"] = chosen
        _take(text)
    st.session_state.setdefault("text", "")


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        st.error("The file is not text in UTF-8. Upload a YAML file.")
        return ""


def _text_of(run: FoundRun | None) -> str | None:
    if run is None:
        return None
    try:
        return resolved_for_rerun(run)
    except ScenarioError as error:
        _show_problems(error.problems)
        return None


def _take(text: str) -> None:
    """Make `text` the one that is edited; the widgets of the former text are left behind."""
    st.session_state["text"] = text
    st.session_state["edition"] = st.session_state.get("edition", 0) + 1


def _problems(text: str) -> tuple[tuple[Problem, ...], Scenario | None]:
    if not text.strip():
        return (), None
    try:
        return (), check_text(text, bundled_folder())
    except ScenarioError as error:
        return error.problems, None


def _text_editor(text: str, problems: tuple[Problem, ...]) -> None:
    edition = st.session_state.get("edition", 0)
    edited = st.text_area(
        "YAML", text, height=420, key=f"text-{edition}", help="Ctrl+Enter applies it."
    )
    if edited != text:
        st.session_state["text"] = edited
        st.rerun()
    lines = {problem.line for problem in problems if problem.line}
    if lines:
        numbered = text.splitlines()
        for line in sorted(lines):
            if line <= len(numbered):
                st.code(f"{line}: {numbered[line - 1]}", language="yaml")
    st.download_button(
        "Download", text, "scenario.yaml", "application/yaml", on_click="ignore", type="tertiary"
    )


def _form_editor(text: str, problems: tuple[Problem, ...]) -> None:
    import yaml

    try:
        values = yaml.safe_load(text) if _readable(problems) else None
    except (yaml.YAMLError, ValueError):
        values = None
    if not isinstance(values, dict):
        st.info("The text is no YAML mapping, so there is no form for it. Mend it under Text.")
        return
    with st.form(f"form-{st.session_state.get('edition', 0)}", border=False):
        changes = form.draw(
            form.fields_of(json_schema(), values), f"f{st.session_state.get('edition', 0)}"
        )
        if st.form_submit_button("Apply", icon=":material/check:"):
            if changes:
                _take(with_values(text, changes))
            st.rerun()


def _readable(problems: tuple[Problem, ...]) -> bool:
    return not any("alias" in problem.reason or "no YAML" in problem.reason for problem in problems)


def _verdict(problems: tuple[Problem, ...], scenario: Scenario | None) -> None:
    if problems:
        _show_problems(problems)
        return
    if scenario is None:
        st.info("Choose a scenario above, or upload one.")
        return
    st.success(
        f"**{plain(scenario.name)}**: {scenario.duration_h:g} h, "
        f"{counted(len(scenario.satellites), 'satellite')}, "
        f"{counted(len(scenario.ground.stations), 'station')}, policy "
        f"{plain(scenario.autonomy.policy)}. {plain(scenario.description)}"
    )
    if st.button("Check everything it names", icon=":material/fact_check:"):
        with st.spinner("Opening targets, orbit, scenes, model and device"):
            try:
                check_text(st.session_state["text"], bundled_folder(), everything=True)
            except ScenarioError as error:
                _show_problems(error.problems)
                return
        st.success("Targets, orbit, scenes, model and device can all be opened.")


def _show_problems(problems: tuple[Problem, ...]) -> None:
    count = f"{len(problems)} things are" if len(problems) > 1 else "One thing is"
    st.error(f"{count} wrong with this scenario.")
    st.dataframe(
        pd.DataFrame(
            {
                "line": [problem.line for problem in problems],
                "field": [problem.field_path for problem in problems],
                "value": [problem.value for problem in problems],
                "reason": [problem.reason for problem in problems],
                "allowed": [problem.allowed for problem in problems],
                "remedy": [problem.remedy for problem in problems],
            }
        ),
        hide_index=True,
        column_config={"line": st.column_config.NumberColumn(width="small")},
    )


def _fly(text: str, scenario: Scenario | None) -> None:
    if refused := jobs.why_not_into(runs_root()):
        st.info(plain(refused))
        return
    if not st.button(
        "Run", type="primary", icon=":material/rocket_launch:", disabled=scenario is None
    ):
        return
    if scenario is None:
        return
    try:
        job = jobs.start(
            runs_root(),
            f"{scenario.name}, {scenario.autonomy.policy}, seed {scenario.seed}",
            ["run", "{scenario}", "--out", "{out}", "--quiet"],
            scenario_text=to_fly(text, bundled_folder()),
            scenario_name=scenario.name,
        )
    except JobError as error:
        st.error(plain(error))
        return
    except ScenarioError as error:
        _show_problems(error.problems)
        return
    st.query_params["job"] = job.job_id
    st.rerun()


draw(show)
