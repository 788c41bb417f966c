"""Rates over a pass against hand-computed numbers and the rows of the DVB-S2 table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.geometry import Pass
from simulator.ground.link_rates import (
    DVB_S2,
    RateProfile,
    budget_rate_mbps,
    es_n0_db,
    rate_profile,
)
from simulator.scenario import LinkBudget, ModcodStep, Radio

FREE_SPACE_DB = 0.01
BUDGET = LinkBudget(
    eirp_dbw=10.0, frequency_ghz=8.2, bandwidth_mhz=50.0, g_over_t_db_k=25.0, losses_db=3.0,
    margin_db=2.0,
)  # fmt: skip


def contact(elevation_deg, range_km):
    t_s = np.arange(len(elevation_deg)) * 10.0
    return Pass(
        "x", 0.0, float(t_s[-1]), 0.0, max(elevation_deg), t_s,
        np.array(elevation_deg, float), np.array(range_km, float),
    )  # fmt: skip


def test_the_budget_adds_up_by_hand():
    # 92.45 + 20 log10(1000 km) + 20 log10(8.2 GHz) = 170.73 dB of free-space loss
    expected_db = 10.0 - 170.726 + 25.0 + 228.599 - 3.0 - 76.990 - 2.0
    assert es_n0_db(BUDGET, 1000.0) == pytest.approx(expected_db, abs=FREE_SPACE_DB)


def test_air_costs_more_low_over_the_horizon():
    thick = BUDGET.model_copy(update={"atmosphere_zenith_db": 0.5})
    clear_db = es_n0_db(BUDGET, 1000.0, 30.0)
    assert es_n0_db(thick, 1000.0, 90.0) == pytest.approx(clear_db - 0.5)
    assert es_n0_db(thick, 1000.0, 30.0) == pytest.approx(clear_db - 1.0)
    assert es_n0_db(thick, 1000.0, 1.0) == es_n0_db(thick, 1000.0, 5.0)
    assert budget_rate_mbps(thick, 1000.0, 6.0)[0] < budget_rate_mbps(BUDGET, 1000.0, 6.0)[0]


@pytest.mark.parametrize(("name", "required_db", "bits_per_symbol"), DVB_S2)
def test_each_modcod_is_chosen_where_it_just_closes(name, required_db, bits_per_symbol):
    excess_db = es_n0_db(BUDGET, 1000.0) - required_db
    range_km = 1000.0 * 10.0 ** ((excess_db - 1e-6) / 20.0)
    rate_mbps, chosen = budget_rate_mbps(BUDGET, range_km)
    assert rate_mbps >= 50.0 * bits_per_symbol
    assert (chosen == name) == (rate_mbps == pytest.approx(50.0 * bits_per_symbol))


def test_out_of_range_nothing_closes():
    assert budget_rate_mbps(BUDGET, 1e6) == (0.0, "no MODCOD closes")


def test_a_table_uses_the_lower_end_of_each_step():
    radio = Radio(
        power_w=5,
        modcod=(
            ModcodStep(min_elevation_deg=10, rate_mbps=1),
            ModcodStep(min_elevation_deg=30, rate_mbps=4),
        ),
    )
    profile = rate_profile(radio, contact([5, 15, 35, 40, 20], [2000, 1500, 900, 800, 1300]))
    assert profile.rate_bps.tolist() == [0.0, 1e6, 4e6, 1e6]
    assert profile.bytes_between(0.0, 40.0) == 60e6 // 8
    assert profile.modcods_between(12.0, 38.0) == (">= 10 deg", ">= 30 deg", ">= 10 deg")
    assert profile.modcods_between(20.0, 30.0) == (">= 30 deg",)


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(1e3, 5e6)), min_size=1, max_size=8),
    st.integers(0, 20_000_000),
    st.floats(0.0, 60.0),
    st.floats(0.0, 60.0),
)
def test_what_is_sent_fits_and_takes_the_time_it_needs(rates, size_bytes, start_s, length_s):
    edges = np.arange(len(rates) + 1) * 10.0
    profile = RateProfile(edges, np.array(rates), ("",) * len(rates))
    end_s = start_s + length_s
    stop_s, sent = profile.send(size_bytes, start_s, end_s)
    assert 0 <= sent <= size_bytes
    assert start_s <= stop_s <= end_s or length_s == 0.0
    assert sent <= profile.bytes_between(start_s, stop_s) + 1
    if sent < size_bytes:
        assert stop_s == end_s
        assert sent == profile.bytes_between(start_s, end_s)
