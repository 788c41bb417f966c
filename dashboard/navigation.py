"""The pages of the dashboard, and how a link into the middle of it finds them.

A server that has just started takes every file below ``pages/`` for an application of its own
until `app.py` ran once, because Streamlit knows an older kind of application with such a folder.
A page that finds itself alone makes the pages known and starts over inside the application.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.shell import sentences

_known: list[bool] = []
"""Holds something as soon as the pages were made known to this server."""


def pages_of_app() -> StreamlitPage:
    """Make the pages known; return the one that is asked for."""
    # Without icons: Streamlit would fetch a page's icon from the internet as favicon.
    page = st.navigation(
        [
            st.Page("pages/missions.py", title="Missions", default=True),
            st.Page("pages/flight.py", title="Flight"),
            st.Page("pages/scenes.py", title="Scenes"),
            st.Page("pages/budgets.py", title="Budgets"),
            st.Page("pages/downlink.py", title="Downlink and autonomy", url_path="downlink"),
            st.Page("pages/models.py", title="Models"),
            st.Page("pages/scenario.py", title="Scenario"),
        ],
        position="top",
    )
    _known.append(True)
    return page


def draw(show: Callable[[], None]) -> None:
    """Draw a page, inside the application; an error of ours is shown as its sentence."""
    if not _known:
        pages_of_app()
        st.rerun()
    with sentences():
        show()
