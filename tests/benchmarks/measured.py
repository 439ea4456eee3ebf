"""The line of a table that says when and where it was measured."""

import datetime
import os
import re
from pathlib import Path


def when_and_where() -> str:
    """Return such as `Measured 2026-11-30 on Intel(R) Xeon(R) Processor, 2 cores.`"""
    today, cores = datetime.date.today(), os.cpu_count()
    return f"Measured {today} on {_processor()}, {cores} cores."


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return "an unknown processor"
    names = re.findall(r"^model name\s*: (.+)$", text, re.M)
    return names[0] if names else "an unknown processor"
