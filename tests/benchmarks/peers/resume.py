"""What is done of a table that was begun earlier, and what is left to do."""

from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers import table
from tests.benchmarks.peers.drive import Row


@dataclass(frozen=True)
class Cell:
    """What a row would answer: a peer, its method and options, and its versions.

    limit: the seconds that a single answer may take.
    """

    peer: str
    how: str
    versions: str
    limit: float

    def answered(self, row: Row) -> bool:
        """Return True if the row is valid for this cell.

        A failure with a smaller time limit is not.
        """
        same = (row.peer, row.how, row.versions) == (self.peer, self.how, self.versions)
        return same and (not row.reason or (row.limit or 0) >= self.limit)


def key(row: Row) -> tuple[str, str, int]:
    """Return the case of a row."""
    return row.network, row.case, row.batch


class Results:
    """All rows, of this run and of earlier runs in the file, and their files."""

    def __init__(self, csv_file: Path | None, markdown_file: Path | None) -> None:
        self.csv_file, self.markdown_file = csv_file, markdown_file
        found = csv_file is not None and csv_file.exists()
        self.rows: list[Row] = table.read_csv(csv_file) if found else []

    def of(self, case: tuple[str, str, int]) -> list[Row]:
        """Return the rows of a case."""
        return [r for r in self.rows if key(r) == case]

    def done(self, case: tuple[str, str, int], cells: list[Cell]) -> bool:
        """Return True if every cell of a case has a valid row."""
        rows = self.of(case)
        return all(any(c.answered(r) for r in rows) for c in cells)

    def put(self, case: tuple[str, str, int], rows: list[Row]) -> None:
        """Replace the rows of a case and write the files."""
        places = [i for i, r in enumerate(self.rows) if key(r) == case]
        place = places[0] if places else len(self.rows)
        left = [r for r in self.rows if key(r) != case]
        self.rows = [*left[:place], *rows, *left[place:]]
        self.write()

    def write(self) -> None:
        """Write the files, each completely."""
        if self.csv_file is not None:
            table.write_csv(self.rows, self.csv_file)
        if self.markdown_file is not None:
            table.write_markdown(self.rows, self.markdown_file)
