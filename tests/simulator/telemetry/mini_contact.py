"""One pass of the mini mission: products go down, and the ground learns of them."""

from __future__ import annotations

from mini_ledgers import Ledgers
from mini_mission import BLOCK_BYTES, PASS_S, PASSES_S, RADIO_W, SATELLITE

from simulator.telemetry import events as ev
from simulator.telemetry.run_folder import RunWriter


def antennas(writer: RunWriter) -> None:
    """The antenna belongs to the satellite in every pass, from AOS to LOS."""
    for aos_s in PASSES_S:
        writer.write(
            ev.Antenna(
                t_s=0.0,
                satellite=SATELLITE,
                station="matera",
                start_s=aos_s,
                end_s=aos_s + PASS_S,
                capacity_bytes=int(PASS_S * 1e6 / 8),
            )
        )


def contact(
    writer: RunWriter,
    ledgers: Ledgers,
    aos_s: float,
    products: list[tuple[str, str, int, int]],
) -> None:
    """Send (capture, target, blocks, blocks sent) one after the other at 1 Mbit/s."""
    ledgers.power(aos_s, "radio on", radio_w=RADIO_W)
    t_s, sent = aos_s, 0
    learned: list[tuple[str, str, float]] = []
    for capture, target, blocks, blocks_sent in products:
        size = blocks_sent * BLOCK_BYTES
        start_s, t_s = t_s, t_s + size * 8 / 1e6
        sent += size
        writer.write(
            ev.Downlink(
                t_s=t_s,
                satellite=SATELLITE,
                product=f"p-{capture}",
                capture=capture,
                target=target,
                station="matera",
                start_s=start_s,
                end_s=t_s,
                bytes=size,
                remaining_bytes=(blocks - blocks_sent) * BLOCK_BYTES,
                complete=blocks == blocks_sent,
                modcod=(),
            )
        )
        if blocks == blocks_sent:
            learned.append((capture, target, {"c1": 0.5}.get(capture, 0.0)))
        ledgers.queued -= size
        ledgers.storage(t_s, capture, "sent", size)
    los_s = aos_s + PASS_S
    writer.write(
        ev.Pass(
            t_s=los_s,
            satellite=SATELLITE,
            station="matera",
            aos_s=aos_s,
            los_s=los_s,
            max_elevation_deg=40.0,
            outcome="used",
            usable_s=PASS_S,
            transmit_s=t_s - aos_s,
            capacity_bytes=5_000_000,
            bytes=sent,
        )
    )
    for capture, target, cover in learned:
        writer.write(
            ev.Ground(
                t_s=los_s,
                satellite=SATELLITE,
                capture=capture,
                target=target,
                source="downlink",
                cover=cover,
                mask_sha256="",
                satisfied=cover < 0.2,
                tasking_ready_s=-1.0 if cover < 0.2 else los_s + 3600.0,
                answer="",
                answer_ready_s=-1.0,
                reason="downlink",
            )
        )
        if cover < 0.2:
            writer.write(
                ev.Coverage(
                    t_s=los_s,
                    satellite="",
                    area="field",
                    target=target,
                    period=0,
                    frames=2,
                    frames_covered=1,
                    covered_fraction=0.75,
                )
            )
    ledgers.power(los_s, "radio off")
