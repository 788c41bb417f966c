"""Whatever small mission is drawn, its books balance: the auditor finds nothing."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.telemetry.audit import audit

EXAMPLES = 8

changes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**31),
        "duration_h": st.sampled_from([1.0, 7.5, 18.0]),
        "autonomy__policy": st.sampled_from(
            ["bent_pipe", "discard", "prune", "prioritise", "reschedule", "oracle"]
        ),
        "autonomy__planner": st.sampled_from(["fifo", "greedy"]),
        "ground__processing_delay_h": st.sampled_from([0.0, 3.0]),
        "ground__min_elevation_deg": st.sampled_from([0.0, 10.0, 60.0]),
        "data_handling__compression": st.sampled_from(["none", "none", "jpeg2000"]),
        "data_handling__preview": st.sampled_from(["none", "mask", "thumbnail"]),
        "data_handling__region_of_interest_km": st.sampled_from([None, [4, 7], [5.12, 20]]),
        "data_handling__request_delay_h": st.sampled_from([0.0, 2.0]),
        "data_handling__storage_quotas": st.sampled_from(
            [[], [{"max_priority": 1, "fraction": 0.4}, {"max_priority": 2, "fraction": 0.8}]]
        ),
        "ground__screening": st.sampled_from(["perfect", "threshold"]),
        "satellites__0__power__battery_wh": st.floats(2.0, 40.0),
        "satellites__0__power__panel_area_m2": st.floats(0.005, 0.06),
        "satellites__0__power__pointing": st.sampled_from(["sun", "nadir", "body"]),
        "satellites__0__storage_gib": st.floats(0.01, 0.2),
        "satellites__0__agility__slew_rate_deg_s": st.floats(0.2, 5.0),
        "satellites__0__radio__rate_mbps": st.floats(0.01, 20.0),
        "satellites__0__payload__frame_deadline_s": st.floats(0.05, 100.0),
        "satellites__0__payload__energy_limit_wh_per_orbit": st.floats(0.001, 1.0),
        "satellites__0__look_ahead": st.sampled_from(
            [
                {},
                {"pitch_deg": 20, "half_swath_deg": 15, "power_w": 30, "cover_sigma": 0.5},
                {"pitch_deg": 55, "decide_s": 90, "cover_sigma": 0},
            ]
        ),
        "satellites__0__orbit": st.sampled_from(
            [
                {"sun_synchronous": {"altitude_km": 600, "ltan_h": 6.0}},
                {
                    "keplerian": {
                        "semi_major_axis_km": 7000,
                        "eccentricity": 0.01,
                        "inclination_deg": 55,
                        "raan_deg": 40,
                        "arg_perigee_deg": 10,
                        "mean_anomaly_deg": 200,
                    }
                },
            ]
        ),
    }
)


@given(drawn=changes)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_every_mission_passes_its_audit(fly, drawn):
    run = fly(**drawn)
    power = run.events("power").to_pydict()
    capacity_wh = drawn["satellites__0__power__battery_wh"]
    assert all(0.0 <= charge <= capacity_wh for charge in power["charge_wh"])
    report = audit(run)
    assert report.passed, report.text()
