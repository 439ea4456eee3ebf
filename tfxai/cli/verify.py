"""The work of `tfxai verify`: a table of the files of a run, and what to type."""

from pathlib import Path

import click

from tfxai.cli.terminal import print_message, print_table
from tfxai.datasets.verify import UNCHECKED, CheckedFiles, verify

SHOWN = 50  # rows of the table; files of the same state share a row


def verify_folder(folder: Path) -> None:
    """Print the state of every file of a run; exit with 1 if a file is not correct.

    Args:
        folder: The folder that `tfxai run` wrote.
    """
    rows = verify(folder)
    broken = [row for row in rows if row.broken]
    shown = rows if len(rows) <= SHOWN else [rows[0], *broken][:SHOWN]
    cells = [(_names(r), str(r.count), str(r.samples), r.state) for r in shown]
    print_table(["file", "files", "samples", "state"], cells)
    if len(shown) < len(rows):
        print_message(f"... and {len(rows) - len(shown)} more rows")
    if any(row.state == UNCHECKED for row in rows):
        print_message(
            "Version 0.1 of tfxai wrote files without a digest, whose damage is not "
            "noticed: tfxai run with another --out writes them with digests.",
            "yellow",
        )
    if not broken:
        click.echo("every file is correct" if len(rows) > 1 else "there is no shard")
        return
    other = [row.first for row in broken if not row.again]
    if other:
        print_message(
            f"Files of another run or version: {', '.join(other[:10])}. Delete them "
            "first, or move them away.",
            "red",
        )
    count = sum(row.count for row in broken)
    print_message(
        f"{count} file(s) are not correct. To compute them again, repeat the tfxai run "
        f"command that wrote them, with --out {folder}.",
        "red",
    )
    click.get_current_context().exit(1)


def _names(row: CheckedFiles) -> str:
    """Return the name of a file, or of the first and the last one."""
    return row.first if row.count == 1 else f"{row.first} to {row.last}"
