"""Previews: what the ground saw of a frame before its pixels, and what it then asked for.

A mask costs the bytes of its own picture; the ground answers what came down, after its delay;
pixels behind a preview go into the queue, or out of the memory, in the very contact that says so.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

from payload.frame import BLOCK_PX, COVER_STEP
from simulator.telemetry.audit.findings import TIME_TOLERANCE_S, Finding, RunLog, at, is_pixels
from simulator.telemetry.audit.pixels import region_of
from simulator.telemetry.audit.shown import Shown
from simulator.telemetry.events import Decision, Ground, Product

COVER_TOLERANCE = 1e-6
ORACLE_TOLERANCE = COVER_STEP
"""`oracle` reports truth quantised per block; no mask of it is in the log."""


def check_previews(log: RunLog) -> Iterator[Finding]:
    """Follow previews to the ground, and its answers back."""
    kind = log.scenario.get("data_handling", {}).get("preview", "none")
    decisions = {row.capture: row for row in log.decisions}
    for product in log.products:
        if not is_pixels(product):
            if product.kind != kind or (product.blocks, product.clear_px, product.cloud_px) != (
                0,
                0,
                0,
            ):
                yield Finding(at(product), f"a {product.kind} with {product.blocks} blocks")
            yield from _size(product, log)
    yield from _news(log, decisions)
    yield from _answers(log)
    yield from _carried_out(log)


def pixels_delivered_s(log: RunLog) -> dict[str, float]:
    """When the pixels of each capture were whole on the ground."""
    return _delivered_s(log, previews=False)


def _delivered_s(log: RunLog, *, previews: bool) -> dict[str, float]:
    named = log.product_by_name
    return {
        row.capture: row.end_s
        for row in log.downlinks
        if row.complete and row.product in named and is_pixels(named[row.product]) != previews
    }


def _size(product: Product, log: RunLog) -> Iterator[Finding]:
    """A mask is compressed again; a thumbnail is smaller than its pixels would be."""
    if product.kind == "mask":
        inference = log.inference_by_capture.get(product.capture)
        if inference is not None and inference.mask_sha256:
            mask = log.run.mask(inference.mask_sha256) == 1
        else:
            capture = log.capture_by_name[product.capture]
            mask = np.isin(log.run.truth(capture.truth_sha256), (1, 2))
        file = io.BytesIO()
        Image.fromarray(mask).save(file, format="PNG", optimize=True)
        if product.bytes != len(file.getvalue()):
            yield Finding(at(product), f"{product.bytes} bytes, the mask has {file.tell()}")
        return
    edge_px = log.scenario["data_handling"]["thumbnail_px"]
    if not 0 < product.bytes <= 3 * edge_px * edge_px + 1024:
        yield Finding(at(product), f"{product.bytes} bytes for {edge_px} px")


def _news(log: RunLog, decisions: dict[str, Decision]) -> Iterator[Finding]:
    came_s = _delivered_s(log, previews=True)
    rules = log.scenario.get("data_handling", {})
    shown = Shown(log)
    for row in log.grounds:
        if row.source not in ("mask", "thumbnail"):
            if row.answer or row.answer_ready_s != -1.0:
                yield Finding(at(row), f"{row.source} is answered with {row.answer!r}")
            continue
        if row.t_s < came_s.get(row.capture, math.inf):
            yield Finding(at(row), f"the {row.source} was not down yet")
        expected, tolerance = _shown(row, decisions[row.capture], log, shown)
        if abs(row.cover - expected) > tolerance:
            yield Finding(at(row), f"cover is {row.cover}, the {row.source} shows {expected}")
        ready_s = row.t_s + rules["request_delay_h"] * 3600.0
        if abs(row.answer_ready_s - ready_s) > TIME_TOLERANCE_S:
            yield Finding(at(row), f"answered at {row.answer_ready_s}, not after the delay")
        wanted = row.cover <= rules["request_max_cloud_fraction"] and not row.satisfied
        if row.answer != ("request" if wanted else "release"):
            yield Finding(at(row), f"answer is {row.answer!r} for a cover of {row.cover}")


def _shown(row: Ground, decision: Decision, log: RunLog, shown: Shown) -> tuple[float, float]:
    """Part of the region that a preview does not show clear, and how exactly it is known."""
    capture, region = log.capture_by_name[row.capture], region_of(log, row.satellite)
    if row.source == "mask":
        inference = log.inference_by_capture.get(row.capture)
        if inference is None:
            return shown.by_truth(decision), ORACLE_TOLERANCE
        return shown.by_payload(inference, decision), COVER_TOLERANCE
    truth = log.run.truth(capture.truth_sha256)
    edge_px = log.scenario["data_handling"]["thumbnail_px"]
    step = math.ceil(max(truth.shape) / edge_px)
    columns = math.ceil(truth.shape[1] / BLOCK_PX)
    cloud = valid = 0
    for y in range(0, truth.shape[0], step):
        line = truth[y, ::step]
        blocks = y // BLOCK_PX * columns + np.arange(0, truth.shape[1], step) // BLOCK_PX
        inside = line[np.isin(blocks, region)]
        cloud += int(((inside == 1) | (inside == 2)).sum())
        valid += int((inside != 255).sum())
    return (cloud / valid if valid else 1.0), COVER_STEP / 2 + COVER_TOLERANCE


def _answers(log: RunLog) -> Iterator[Finding]:
    """What goes up was answered, was ready, and is said once."""
    answers = {row.capture: row for row in log.grounds if row.answer}
    said: set[str] = set()
    for uplink in log.uplinks:
        for word, captures in (("request", uplink.requested), ("release", uplink.released)):
            for capture in captures:
                answer = answers.get(capture)
                if answer is None or answer.answer_ready_s > uplink.t_s or capture in said:
                    yield Finding(at(uplink), f"no answer on {capture} was ready, or it was said")
                elif answer.satellite != uplink.satellite:
                    yield Finding(at(uplink), f"{capture} is on board of {answer.satellite}")
                elif word == "request" and answer.answer != "request":
                    yield Finding(at(uplink), f"{capture} is asked for, the ground let it go")
                said.add(capture)


def _carried_out(log: RunLog) -> Iterator[Finding]:
    """Held pixels move in the contact that says so, and only then."""
    held = {row.capture for row in log.products if not is_pixels(row)}
    asked_s = {c: row.t_s for row in log.uplinks for c in row.requested}
    let_go_s = {c: row.t_s for row in log.uplinks for c in row.released}
    queued = {row.capture: row.t_s for row in log.products if is_pixels(row)}
    gone = {row.capture for row in log.storages if row.change == "dropped_overflow"}
    released = {row.capture: row.t_s for row in log.storages if row.change == "dropped_released"}
    for name, done, ordered in (("queued", queued, asked_s), ("released", released, let_go_s)):
        for capture in held:
            if capture in done and done[capture] != ordered.get(capture):
                yield Finding(f"capture {capture}", f"{name} though the ground had not said so")
            if capture in ordered and capture not in done and capture not in gone:
                yield Finding(f"capture {capture}", f"not {name} though the ground said so")
    for capture in released.keys() - held:
        yield Finding(f"capture {capture}", "released without a preview")
