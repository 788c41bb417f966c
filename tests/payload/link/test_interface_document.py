"""The interface control document names every code and every field that the code knows."""

from __future__ import annotations

import enum
from pathlib import Path

import payload.link
from payload.link.faults import BoxFault
from payload.link.packets import LAYOUTS, Failure, Function, LargeDataSubtype
from payload.link.wire import BULK_APID, CONTROL_APID, Verification

TEXT = (Path(payload.link.__file__).parent / "README.md").read_text(encoding="utf-8")


def spoken(member: enum.IntEnum) -> str:
    return member.name.lower().replace("_", " ")


def test_every_code_is_documented() -> None:
    for failure in Failure:
        assert f"| {failure.value} | {spoken(failure)} |" in TEXT
    for function in Function:
        assert f"function {function.value} *{spoken(function)}*" in TEXT
    for subtype in LargeDataSubtype:
        assert f"[13,{subtype.value}]" in TEXT
    for report in Verification:
        assert f"[1,{report.value}]" in TEXT
    for apid in (CONTROL_APID, BULK_APID):
        assert f"0x{apid:X}" in TEXT
    for fault in BoxFault:
        assert f"{fault.value} {spoken(fault).split()[0]}" in TEXT.split("**Faults**")[1]


def test_every_field_is_documented() -> None:
    for _, fields in LAYOUTS.values():
        for name in fields.replace(", then", ",").split(","):
            words = name.strip(" ()").split()
            if len(words) == 1:
                assert words[0] in TEXT, f"field {words[0]} is not in the document"
