"""Entry point: ``streamlit run dashboard/app.py -- RUNS_DIR``, or ``nephoscope dashboard``."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.navigation import pages_of_app

ICON = Path(__file__).with_name("icon.png")
LESS_SPACE_ABOVE = """
<style>
[data-testid="stMainBlockContainer"] {padding-top: 4.5rem; padding-bottom: 3rem;}
[data-testid="stMetricValue"] {font-size: 1.65rem;}
[data-testid="stImage"] img {border-radius: 6px;}
</style>
"""

page = pages_of_app()
st.set_page_config(page_title=f"{page.title} - Nephoscope", page_icon=str(ICON), layout="wide")
st.html(LESS_SPACE_ABOVE)
page.run()
