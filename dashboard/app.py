"""Entry point: ``streamlit run dashboard/app.py -- RUNS_DIR``, or ``nephoscope dashboard``."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.shell import sentences

st.set_page_config(
    page_title="Nephoscope", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide"
)

page = st.navigation(
    [
        st.Page("pages/missions.py", title="Missions", icon=":material/list_alt:", default=True),
        st.Page("pages/flight.py", title="Flight", icon=":material/satellite_alt:"),
        st.Page("pages/scenes.py", title="Scenes", icon=":material/photo_library:"),
        st.Page("pages/budgets.py", title="Budgets", icon=":material/battery_charging_full:"),
        st.Page(
            "pages/downlink.py",
            title="Downlink and autonomy",
            icon=":material/download:",
            url_path="downlink",
        ),
        st.Page("pages/models.py", title="Models", icon=":material/model_training:"),
        st.Page("pages/scenario.py", title="Scenario", icon=":material/tune:"),
    ],
    position="top",
)
with sentences():
    page.run()
