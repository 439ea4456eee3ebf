"""The work of `tfxai doctor`: findings as a table or JSON, and an exit code."""

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from tfxai.base.errors import TfxaiWarning
from tfxai.base.progress import bar
from tfxai.cli import device_checks, diagnosis
from tfxai.cli.diagnosis import Finding
from tfxai.cli.terminal import print_table

#: ok -> the word in the column "check".
WORDS = {True: "ok", False: "FAILED", None: ""}


def find(need_gpu: bool = False) -> list[Finding]:
    """Return all findings, in the order of the report.

    Args:
        need_gpu: A machine without a GPU is a failure.
    """
    diagnosis.split_cpu()
    steps = len(device_checks.COMPARED) + len(device_checks.TIMED)
    findings = [*diagnosis.versions(), *diagnosis.devices(need_gpu)]
    with bar("checking", steps) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore", TfxaiWarning)  # of untrained weights
        computed = [
            *device_checks.kernels(),
            *device_checks.maps(advance),
            *device_checks.speed(advance),
        ]
    return [*findings, *diagnosis.memory(), *computed]


def report(need_gpu: bool = False, as_json: bool = False) -> None:
    """Print the findings; exit with 1 if a check failed.

    Args:
        need_gpu: A machine without a GPU is a failure.
        as_json: Print JSON, {"ok": bool, "findings": [...]}, in place of the table.
    """
    findings = find(need_gpu)
    ok = all(f.ok is not False for f in findings)
    if as_json:
        rows = [_json_row(f) for f in findings]
        click.echo(json.dumps({"ok": ok, "findings": rows}, indent=1))
    else:
        print_table(["group", "name", "value", "check", "note"], _rows(findings))
        failed = sum(f.ok is False for f in findings)
        click.echo(f"{failed} check(s) failed" if failed else "all checks passed")
    if not ok:
        click.get_current_context().exit(1)


def _json_row(f: Finding) -> dict[str, Any]:
    """A finding as JSON, which has no NaN."""
    value = f.value if isinstance(f.value, str) or math.isfinite(f.value) else None
    return {**asdict(f), "value": value}


def _rows(findings: Sequence[Finding]) -> list[list[str]]:
    """The cells of the table; a group is named in its first row."""
    rows: list[list[str]] = []
    last = ""
    for f in findings:
        value = f.value if isinstance(f.value, str) else f"{f.value:.3g}"
        group = "" if f.group == last else f.group
        rows.append([group, f.name, value, WORDS[f.ok], f.note])
        last = f.group
    return rows
