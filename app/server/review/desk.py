"""Reads findings and writes decisions for the browser, in a process of its own, since it needs pandas.

    python -m app.server.review.desk

Each line of standard input is a JSON object with `call` and arguments; each line of standard output is its `result`, or an `error` for
people. It ends when standard input is closed, as it is when the service was killed.
"""

import base64
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from app.data import review
from components.core import spreadsheets
from components.core.errors import LesionflowError
from components.core.paths import CROSS_VALIDATION, DATA, FINDINGS
from components.data_quality import decisions

PER_PAGE = 20
"""Findings on a page."""
CHANGED = "The findings have changed since this page was loaded. Load it again."


def findings(kind: str, page: int) -> dict[str, Any]:
    """A page of findings of one kind, most urgent first; without a kind, those of the most urgent kind.

    Args:
        kind: of the findings.
        page: from 1.
    """
    found, decided = _findings(), decisions.load_decisions().set_index("path")
    kinds = review.kinds_of(found)
    chosen = kind if kind in kinds else next(iter(kinds), "")
    groups = [group for _, group in found[found["kind"] == chosen].groupby("number", sort=True)]
    shown = groups[(page - 1) * PER_PAGE : page * PER_PAGE]
    return {
        "kinds": kinds,
        "kind": chosen,
        "meaning": review.MEANINGS.get(chosen, ""),
        "page": page,
        "pages": max(1, -(-len(groups) // PER_PAGE)),
        "diagnoses": review.diagnoses(),
        "findings": [_finding(group, decided) for group in shown],
    }


def _findings() -> pd.DataFrame:
    """The findings, read again when `validate` or a cross-validation has written them again."""
    return _read_findings(tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in (FINDINGS, CROSS_VALIDATION)))


@lru_cache(maxsize=1)
def _read_findings(_written: tuple[int, ...]) -> pd.DataFrame:
    return review.shown_findings()


def _finding(group: pd.DataFrame, decided: pd.DataFrame) -> dict[str, Any]:
    files = [_file(position, row, decided) for position, row in enumerate(group.itertuples())]
    return {"number": int(group["number"].iloc[0]), "says": group["says"].iloc[0], "files": files}


def _file(position: int, row: Any, decided: pd.DataFrame) -> dict[str, Any]:
    return {
        "position": position,
        "path": row.path,
        "sha256": row.sha256,
        "diagnosis": row.diagnosis,
        "left_out": bool(row.left_out),
        "decided": review.decision_text(row.path, decided),
    }


def picture(number: int, position: int) -> dict[str, str]:
    """The picture of a file of a finding: a JPEG in base64, or why there is none."""
    content, problem = review.picture_of(DATA / _row(number, position).path)
    return {"jpeg": base64.b64encode(content).decode(), "problem": problem}


def decide(number: int, position: int, sha256: str, decision: str, to: str) -> str:
    """Write a decision as `lesionflow data review --decisions` does; return what to say about it.

    Args:
        number, position: of the finding, and of the file in it.
        sha256: of the file that the reviewer saw.
        decision: keep, drop or relabel.
        to: the new diagnosis, for relabel.
    """
    row = _row(number, position)
    if row.sha256 != sha256 or not sha256:
        raise LesionflowError(CHANGED)
    table = pd.DataFrame([(row.path, sha256, decision, to, review.note_of(row))], columns=decisions.COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / review.TABLE
        spreadsheets.write(table, filled)
        for _ in review.merge(filled):
            pass
    return review.decision_text(row.path, decisions.load_decisions().set_index("path"))


def _row(number: int, position: int) -> Any:
    found = _findings()
    rows = list(found[found["number"] == number].itertuples())
    if not 0 <= position < len(rows):
        raise LesionflowError(CHANGED)
    return rows[position]


CALLS: Mapping[str, Callable[..., Any]] = {"findings": findings, "picture": picture, "decide": decide}


def answer(line: str) -> dict[str, Any]:
    """The answer to one line."""
    request = json.loads(line)
    try:
        return {"result": CALLS[request.pop("call")](**request)}
    except LesionflowError as fault:
        return {"error": str(fault)}
    except OSError as fault:
        return {"error": f"The files of the dataset cannot be used: {fault.strerror}."}


def serve(lines: TextIO, output: TextIO) -> None:
    """Answer line by line until there are no more."""
    for line in _lines(lines):
        print(json.dumps(answer(line)), file=output, flush=True)


def _lines(lines: TextIO) -> Iterator[str]:
    while line := lines.readline():
        yield line


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
