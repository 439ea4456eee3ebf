"""List the licences of the packages that tfxai needs, of the installed versions.

python -m tests.licences            # print those of the extra "cpu"
python -m tests.licences gpu ray    # of other extras
python -m tests.licences --write    # write docs/tables/licences.md
"""

import argparse
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

TABLE = Path(__file__).resolve().parents[1] / "docs" / "tables" / "licences.md"


def licence_of(name: str) -> str:
    """Return the licence that a package declares: SPDX, classifiers, or first line."""
    data = metadata.metadata(name)
    if data["License-Expression"]:
        return str(data["License-Expression"])
    marks = [c for c in data.get_all("Classifier") or [] if c.startswith("License ::")]
    named = [c.rpartition(":: ")[2] for c in marks if c != "License :: OSI Approved"]
    if named:
        return ", ".join(named)
    text = (data["License"] or "").strip().partition("\n")[0]
    return text or "not declared"


def needed(name: str, extras: frozenset[str], done: set[str]) -> Iterator[str]:
    """Yield the packages that a package needs, and those that they need."""
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        wanted = [{"extra": e} for e in extras] or [{"extra": ""}]
        if marker is not None and not any(marker.evaluate(e) for e in wanted):
            continue
        other = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if other not in done:
            done.add(other)
            yield other
            try:
                yield from needed(other, frozenset(requirement.extras), done)
            except metadata.PackageNotFoundError:
                continue


def rows(extras: frozenset[str]) -> list[tuple[str, str, str]]:
    """Return (package, version, licence) of tfxai's dependencies, by name."""
    found = []
    for name in sorted(needed("tfxai", extras, set())):
        try:
            found.append((name, metadata.version(name), licence_of(name)))
        except metadata.PackageNotFoundError:
            found.append((name, "not installed", ""))
    return found


def page(table: list[tuple[str, str, str]]) -> str:
    """Return the whole file."""
    lines = [f"| {' | '.join(row)} |" for row in table]
    return (
        "# Licences\n\nWritten by `python -m tests.licences --write`; do not edit. "
        "The packages that the extra `cpu`\nneeds, and the licence that each declares."
        "\nDescription: [contributing.md](../contributing.md).\n\n"
        + "\n".join(["| package | version | licence |", "|---|---|---|", *lines])
        + "\n"
    )


def main() -> None:
    """Print the table, or write its file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("extras", nargs="*", default=["cpu"])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    text = page(rows(frozenset(given.extras)))
    if given.write:
        TABLE.write_text(text, "utf-8")
    else:
        print(text[text.index("| package") :], end="")


if __name__ == "__main__":
    main()
