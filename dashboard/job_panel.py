"""Jobs on a page: progress bar, cancel button, what went wrong, and the way to the result."""

from __future__ import annotations

import streamlit as st

from dashboard import jobs
from dashboard.jobs import Job
from dashboard.runs_folder import Folders, find_folders
from dashboard.shell import plain, runs_root
from simulator.telemetry.manifest import readable_time

POLL_S = 1.5
CANCELLED = "cancelled_jobs"


def show_job(job_id: str) -> None:
    """Show one job of this runs folder, live while it runs."""
    job = next((job for job in jobs.list_jobs(runs_root()) if job.job_id == job_id), None)
    if job is None:
        st.warning("The link names a job that is not in this folder of runs.")
        return
    watch = st.fragment(_panel, run_every=POLL_S if jobs.is_alive(job) else None)
    watch(job)


def _panel(job: Job) -> None:
    found = find_folders(runs_root())
    state = jobs.outcome(job, found)
    with st.container(border=True):
        st.markdown(f"**{plain(job.title)}** · {state} · started {readable_time(job.started)}")
        if state == "running":
            _running(job, found)
            return
        if state == "complete":
            _links(job, found)
        elif state == "interrupted":
            flown = jobs.runs_of(job, found)
            left = (
                "What was simulated until then stays readable." if flown else "Nothing was flown."
            )
            st.info(f"Cancelled. {left}")
            _links(job, found)
        else:
            st.error("The run did not start or did not end well. It said:")
            st.code(jobs.log_tail(runs_root(), job) or "(nothing)", language=None)
    if st.session_state.get(f"ended-{job.job_id}") is None:
        # Once, so that the page around the panel shows the result and polling stops.
        st.session_state[f"ended-{job.job_id}"] = True
        st.rerun()


def _running(job: Job, found: Folders) -> None:
    runs = jobs.runs_of(job, found)
    done = sum(run.state == "complete" for run in runs)
    share = jobs.progress(job, found)
    words = f"{100 * share:.0f} % simulated"
    if job.expected_runs > 1:
        words += f", {done} of {job.expected_runs} runs complete"
    st.progress(share, text=words if runs else "Checking the scenario and computing geometry")
    asked = job.job_id in st.session_state.setdefault(CANCELLED, set())
    label = "End it at once" if asked else "Cancel"
    if st.button(label, key=f"cancel-{job.job_id}-{asked}", icon=":material/cancel:"):
        jobs.cancel(job, force=asked)
        st.session_state[CANCELLED].add(job.job_id)
        st.toast("Asked to stop.")


def _links(job: Job, found: Folders) -> None:
    if job.out:
        st.page_link(
            "pages/models.py",
            label="See the comparison",
            icon=":material/compare_arrows:",
            query_params={"campaign": job.out},
        )
        return
    for run in jobs.runs_of(job, found):
        st.page_link(
            "pages/downlink.py",
            label=f"See {plain(run.run_id)}",
            icon=":material/download:",
            query_params={"run": run.run_id},
        )
