"""`nephoscope profile-device`: measure a live payload and write its device profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def profile_device(
    out: Annotated[Path, typer.Argument(help="File to write; its stem is the profile's name.")],
    link: Annotated[
        str, typer.Option(help="subprocess, tcp://HOST:PORT or serial:///dev/...?baud=N.")
    ] = "subprocess",
    model: Annotated[str, typer.Option(help="Model the payload flies.")] = "unet-distilled",
    base: Annotated[
        str, typer.Option(help="Profile that power and memory are taken from.")
    ] = "host",
    repetitions: Annotated[int, typer.Option(help="Frames of each size.")] = 10,
    threads: Annotated[int, typer.Option(help="Threads, where this side starts it.")] = 1,
) -> None:
    """Time a live payload on unseen tiles and write a device profile."""
    # Imported late: numpy and ONNX Runtime take a moment that other commands need not wait for.
    from payload.card_library import load_card
    from payload.device import load_device
    from payload.link import open_link
    from payload.link.profile import check_profile_path, write_profile
    from payload.link.profile import profile_device as measure

    check_profile_path(out)
    payload = open_link(
        link, model=model, device=base, timing="measured", threads=threads, time_scale=1.0
    )
    try:
        found = measure(payload, load_card(model), load_device(base), out.stem, repetitions)
    finally:
        payload.close()
    profile = write_profile(found, out)
    row = profile.tile_latency_s[0]
    typer.echo(
        f"{out}: {row.seconds * 1000:.1f} ms per tile of {row.tile_px} px with {row.model}, "
        f"{profile.overhead_s_per_frame * 1000:.1f} ms per frame"
    )
