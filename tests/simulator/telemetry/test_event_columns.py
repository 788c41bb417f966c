"""A reader trusts `SCHEMA_VERSION`: no column may change while the version stays."""

from __future__ import annotations

import hashlib

from simulator.telemetry.events import EVENT_TYPES, SCHEMA_VERSION, arrow_schema
from simulator.telemetry.host_events import HOST_EVENT_TYPES

COLUMNS_OF_VERSION = {3: "1b2e351f8ec1ef91072f1a7c81f85676c2c45e54f30e4f47ff1cb60ebf1fa0a2"}
"""SHA-256 of the columns of each version, by `columns_sha256`."""


def columns_sha256() -> str:
    """Hash of every event type's columns: name, type and order."""
    lines = [
        f"{root}/{name} {field.name} {field.type}"
        for root, types in (("events", EVENT_TYPES), ("host_events", HOST_EVENT_TYPES))
        for name in sorted(types)
        for field in arrow_schema(types[name])
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_columns_change_with_the_version_alone() -> None:
    assert columns_sha256() == COLUMNS_OF_VERSION.get(SCHEMA_VERSION), (
        "columns of events changed: raise SCHEMA_VERSION, so that a reader of the old ones says "
        f"so, and note {columns_sha256()} as those of the new version"
    )
