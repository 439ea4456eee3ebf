"""Class names from the text of a file, in the forms in which they are published.

JSON: a list; index -> name, also below "id2label" (Hugging Face); index -> [WordNet id,
name] (Keras); name -> index (`class_indices` of Keras). Text: one name per line; lines
that begin with an index (`1 goldfish`, `1,goldfish`, `1: goldfish`, `(1) goldfish`);
`synset_words.txt` with a WordNet id in every line; a Python dict
(`imagenet1000_clsidx_to_labels.txt`); CSV with an index in the first or the last
column.
"""

import ast
import csv
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_INDEX = re.compile(r"\s*\(?(\d+)(?:\s*[,;:\t|=)]|\s*[.\u2013-](?=\s)|\s)\s*(\S.*)")
_INDEX_LAST = re.compile(r"(.*\S)(?:\s*[,;:\t|=]|\s)\s*(\d+)\s*")
_SYNSET = re.compile(r"\s*n\d{8}[\s,;:]+(\S.*)")
_SYNSET_LAST = re.compile(r"(.*[^\s,;:])[\s,;:]+n\d{8}")
_BULLET = re.compile(r"[-*\u2022]\s+(\S.*)")
_TABLE = {".csv": ",", ".tsv": "\t"}
_HEADERS = ("label", "labels", "name", "names", "class", "classes", "class_name")
#: Files of another form: parts of them would be taken for names.
_OTHER = (".yaml", ".yml", ".pbtxt", ".xml", ".html", ".toml", ".ini", ".py")


def parse(text: str, suffix: str) -> list[str]:
    """Return the class names in the order of their indices.

    Args:
        text: The text of the file.
        suffix: The suffix of the file, such as ".json".

    Raises:
        ValueError: The text has another form, or an index is missing.
    """
    suffix = suffix.lower()
    if suffix in _OTHER:
        raise ValueError(f"a file {suffix} is not read")
    if suffix == ".json":
        return _of_data(json.loads(text, object_pairs_hook=_distinct))
    if text.lstrip()[:1] in ("{", "["):
        return _of_data(_literal(text))
    if suffix in _TABLE:
        return _of_table(list(csv.reader(text.splitlines(), delimiter=_TABLE[suffix])))
    lines = re.split(r"\r\n|\r|\n", text.rstrip())
    return _of_lines([line.strip() for line in lines])


def _distinct(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return a dict of pairs of which every key occurs once."""
    keys = [key for key, _ in pairs]
    found = dict(pairs)
    if len(found) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return found


def _literal(text: str) -> Any:
    """Return the value of JSON or of a Python literal."""
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError:
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            data = ast.literal_eval(tree)
        except (SyntaxError, ValueError) as error:
            raise ValueError("neither JSON nor a Python literal") from error
    if isinstance(tree, ast.Dict):
        keys = [ast.literal_eval(key) for key in tree.keys if key is not None]
        _distinct([(key, None) for key in keys])
    return data


def _of_data(data: Any) -> list[str]:
    """Return the labels of a parsed list or dict."""
    if isinstance(data, Mapping):
        for key in ("id2label", "label2id", "class_indices"):
            if isinstance(data.get(key), Mapping):
                return _of_data(data[key])
        rows: Any = _of_mapping(data)
    elif isinstance(data, list | tuple):
        rows = data
    else:
        raise ValueError("neither a list nor a dict")
    names = [r[1] if isinstance(r, list | tuple) and len(r) == 2 else r for r in rows]
    if not names or not all(isinstance(n, str) for n in names):
        raise ValueError("not a list of names")
    return names


def _of_mapping(data: Mapping[Any, Any]) -> list[Any]:
    """Return the values of index -> name, or the keys of name -> index, in order."""
    keys = [_index(k) for k in data]
    if None not in keys:
        return _ordered(list(zip(keys, data.values(), strict=True)))
    values = [_index(v) for v in data.values()]
    if None not in values:
        return _ordered(list(zip(values, data, strict=True)))
    raise ValueError("the keys are not the indices 0, 1, ..., and neither the values")


def _index(value: Any) -> int | None:
    """Return a whole number, also of text; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else None


def _ordered(rows: Sequence[tuple[Any, Any]]) -> list[Any]:
    """Return the names of (index, name), by index; every index from 0 on is needed."""
    by_index = dict(rows)
    if len(by_index) < len(rows):
        raise ValueError("an index occurs twice")
    missing = [i for i in range(len(rows)) if i not in by_index]
    if missing:
        raise ValueError(
            f"{len(rows)} names, and none has the index {missing[0]}; the first class "
            "has the index 0"
        )
    return [by_index[i] for i in range(len(rows))]


def _of_lines(lines: list[str]) -> list[str]:
    """Return the labels of lines of text."""
    full = [line for line in lines if line]
    if not full:
        raise ValueError("the file is empty")
    if any(line[-1] == "{" or line == "}" for line in full):
        raise ValueError("blocks in braces, and not one name per line")
    for form in (_BULLET, _SYNSET, _SYNSET_LAST):
        found = [form.fullmatch(line) for line in full]
        if all(found):
            full = lines = [m[1] for m in found if m]
    found = [_INDEX.fullmatch(line) for line in full]
    numbered = [(int(m[1]), _unquoted(m[2])) for m in found if m]
    if len(numbered) == len(full):
        return _without_synsets(_ordered(numbered))
    if found[0] is None and len(numbered) == len(full) - 1 > 1:  # below a heading
        return _without_synsets(_ordered(numbered))
    if any(number == i for i, (number, _) in enumerate(numbered)) and len(full) > 1:
        raise ValueError(f"only {len(numbered)} of {len(full)} lines have an index")
    last = [m for m in map(_INDEX_LAST.fullmatch, full) if m]
    places = sorted(int(m[2]) for m in last)
    if len(full) > 1 and places == list(range(len(full))):
        named = [(int(m[2]), _unquoted(m[1])) for m in last]
        if len({name for _, name in named}) == len(full):  # not "class 0", "class 1"
            return _ordered(named)
    return lines


def _of_table(rows: list[list[str]]) -> list[str]:
    """Return the labels of CSV: one column, or columns of which one has the index."""
    rows = [[cell.strip() for cell in row] for row in rows if any(map(str.strip, row))]
    if not rows:
        raise ValueError("the file is empty")
    if max(map(len, rows)) == 1:
        names = [row[0] for row in rows]
        below = names[1:] if names[0].lower() in _HEADERS else names
        return _of_lines(below)
    for column in (0, -1):
        heading = _index(rows[0][column]) is None
        body = rows[1:] if heading else rows
        indices = [_index(row[column]) for row in body]
        if body and None not in indices:
            rest = [row[1:] if column == 0 else row[:-1] for row in body]
            title = (rows[0][1:] if column == 0 else rows[0][:-1]) if heading else []
            names = [_name_of(row, title) for row in rest]
            return _ordered(list(zip(indices, names, strict=True)))
    lines = [" ".join([row[0], ", ".join(row[1:])]) for row in rows]
    if all(map(_SYNSET.fullmatch, lines)):
        return _of_lines(lines)
    raise ValueError("several columns, and neither the first nor the last is an index")


def _name_of(cells: list[str], title: list[str]) -> str:
    """Return the name in the cells of a row besides its index."""
    for cell, head in zip(cells, title, strict=False):
        if head.lower() in _HEADERS:
            return cell
    names = [c for c in cells if c and not re.fullmatch(r"n\d{8}", c)]
    if len(names) != 1:
        raise ValueError(f"the row {cells} has {len(names)} columns of names")
    return names[0]


def _unquoted(name: str) -> str:
    """Return a name without the quotes around it and a comma behind it."""
    name = name.strip()
    if name[:1] in ("'", '"') and name.endswith(f"{name[0]},"):
        name = name[:-1]
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        return name[1:-1]
    return name


def _without_synsets(names: list[str]) -> list[str]:
    """Return names without WordNet ids in front of all of them."""
    found = [_SYNSET.fullmatch(name) for name in names]
    return [m[1] for m in found if m] if all(found) else names
