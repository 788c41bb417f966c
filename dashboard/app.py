"""Entry point: ``streamlit run dashboard/app.py -- RUNS_DIR``, or ``nephoscope dashboard``."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.navigation import pages_of_app

ICON = Path(__file__).with_name("icon.png")
STYLE = """
<style>
[data-testid="stMainBlockContainer"] {padding-top: 4.5rem; padding-bottom: 3rem;}
[data-testid="stMetricValue"] {font-size: 1.65rem;}
[data-testid="stImage"] img {border-radius: 6px;}
.st-key-box-flight-map {height: 660px !important; flex: none !important;}
.st-key-pictures {display: grid; gap: 0.75rem; grid-template-columns: repeat(2, 1fr);}
.st-key-gallery {
  display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr));
}
[class*="st-key-cards-"] {
  display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr));
}
@media (min-width: 1100px) {
  [class*="st-key-cards-"] {grid-template-columns: repeat(4, 1fr);}
}
@media (max-width: 640px) {
  [class*="st-key-cards-"] {grid-template-columns: repeat(2, 1fr);}
  [data-testid="stMetricValue"] {font-size: 1.25rem;}
  [data-testid="stMetricLabel"] * {white-space: normal !important; text-overflow: clip;}
  .st-key-box-flight-map {height: 340px !important;}
  [data-testid="stMainBlockContainer"] {padding-top: 3.5rem;}
}
</style>
"""

page = pages_of_app()
st.set_page_config(page_title=f"{page.title} - Nephoscope", page_icon=str(ICON), layout="wide")
st.html(STYLE)
page.run()
