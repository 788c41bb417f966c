"""Battery and storage of the mini mission, added up while its events are written."""

from __future__ import annotations

from mini_mission import BUS_W, CAPACITY_WH, GENERATION_W, IDLE_W, SATELLITE

from simulator.telemetry import events as ev
from simulator.telemetry.run_folder import RunWriter


class Ledgers:
    """Battery and storage of the mini mission, kept while its events are written."""

    def __init__(self, writer: RunWriter) -> None:
        self.writer = writer
        self.t_s, self.charge_wh, self.load_w = 0.0, 0.8 * CAPACITY_WH, BUS_W + IDLE_W
        self.generated = self.consumed = self.curtailed = self.payload = 0.0
        self.payload_w = IDLE_W
        self.bytes = dict.fromkeys(
            ("captured", "sent", "dropped_policy", "dropped_overflow", "dropped_fault"), 0
        )
        self.queued = 0

    def power(self, t_s: float, reason: str, payload_w: float = IDLE_W, **loads_w: float) -> None:
        hours = (t_s - self.t_s) / 3600
        surplus = self.charge_wh + hours * (GENERATION_W - self.load_w)
        self.charge_wh = min(surplus, CAPACITY_WH)
        self.curtailed += surplus - self.charge_wh
        self.generated += hours * GENERATION_W
        self.consumed += hours * self.load_w
        self.payload += hours * self.payload_w
        imager_w, radio_w = loads_w.get("imager_w", 0.0), loads_w.get("radio_w", 0.0)
        look_ahead_w = loads_w.get("look_ahead_w", 0.0)
        self.t_s, self.load_w = t_s, BUS_W + payload_w + imager_w + radio_w + look_ahead_w
        self.payload_w = payload_w
        self.writer.write(
            ev.Power(
                t_s=t_s,
                satellite=SATELLITE,
                charge_wh=self.charge_wh,
                charge_fraction=self.charge_wh / CAPACITY_WH,
                load_w=self.load_w,
                payload_w=payload_w,
                imager_w=imager_w,
                radio_w=radio_w,
                look_ahead_w=look_ahead_w,
                bus_w=BUS_W,
                generation_w=GENERATION_W,
                generated_wh=self.generated,
                consumed_wh=self.consumed,
                curtailed_wh=self.curtailed,
                unserved_wh=0.0,
                payload_wh=self.payload,
                low_power=False,
                reason=reason,
            )
        )

    def storage(self, t_s: float, capture: str, change: str, delta: int) -> None:
        self.bytes[change] += delta
        stored = self.bytes["captured"] - sum(v for k, v in self.bytes.items() if k != "captured")
        self.writer.write(
            ev.Storage(
                t_s=t_s,
                satellite=SATELLITE,
                capacity_bytes=2 * 2**30,
                captured_bytes=self.bytes["captured"],
                derived_bytes=0,
                compressed_bytes=0,
                dropped_released_bytes=0,
                sent_bytes=self.bytes["sent"],
                dropped_policy_bytes=self.bytes["dropped_policy"],
                dropped_overflow_bytes=self.bytes["dropped_overflow"],
                dropped_fault_bytes=self.bytes["dropped_fault"],
                stored_bytes=stored,
                queued_bytes=self.queued,
                capture=capture,
                product=f"p-{capture}" if change == "sent" else "",
                change=change,
                delta_bytes=delta,
                reason=change,
            )
        )
