"""Writes the review page with the images of every finding, and merges the reviewer's decisions."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from app.data import label_suspects
from components.core import spreadsheets
from components.core.errors import LesionflowError, UnreadableImageError
from components.core.files import atomic_write, require_file
from components.core.paths import DATA, FINDINGS, LABELS, REPORTS
from components.data_quality import decisions
from components.data_quality.dataset import METADATA
from components.data_quality.findings import KINDS
from components.data_quality.label_definitions import read_definitions
from components.data_quality.pages import render
from components.imaging import images
from components.runtime import renamed_params

REVIEW = REPORTS / "review"
TABLE = "decisions.csv"
TEMPLATE = Path(__file__).with_name("review.html.jinja")
SIDE = 180
"""Longest side of an image on the page, in pixels."""
SHOWN = 300
"""Findings of each kind on the page; the rest are counted, and build/findings.csv lists all."""
MEANINGS = {**KINDS, label_suspects.KIND: label_suspects.MEANING}
"""What each kind of finding means, the most urgent first."""
WITHOUT_PICTURES = ("missing_license", "missing_file", "not_rgb", "exif_rotated")


def write_page() -> Iterator[str]:
    """Write reports/review/ with index.html and the decision table decisions.csv to complete; yields messages.

    Raises:
        LesionflowError: `validate` has not run.
    """
    decided = decisions.load_decisions().set_index("path")
    shown = shown_findings()
    with atomic_write(REVIEW) as draft:
        draft.mkdir()
        (draft / "index.html").write_text(_page(shown, decided), encoding="utf-8")
        spreadsheets.write(_to_fill_in(shown, decided), draft / TABLE)
    yield f"{shown['number'].nunique()} findings about {shown['path'].nunique()} files: {REVIEW / 'index.html'}"
    yield f"complete {REVIEW / TABLE} (keep, drop or relabel), then: lesionflow data review --decisions {REVIEW / TABLE}"


def shown_findings() -> pd.DataFrame:
    """The findings about files that have a picture, from build/findings.csv, and the suspects of the last cross-validation.

    Raises:
        LesionflowError: `validate` has not run.
    """
    found = spreadsheets.read(require_file(FINDINGS)).astype({"number": int}).replace({"kind": renamed_params.KINDS})
    suspects = label_suspects.read_suspects(int(found["number"].max()) + 1 if len(found) else 0)
    shown = found[~found["kind"].isin(WITHOUT_PICTURES) & (found["path"] != METADATA)]
    return pd.concat([shown, suspects], ignore_index=True) if len(suspects) else shown


def kinds_of(found: pd.DataFrame) -> dict[str, int]:
    """Number of findings of each kind that there is, the most urgent kind first."""
    counts = found.groupby("kind")["number"].nunique()
    return {kind: int(counts[kind]) for kind in MEANINGS if kind in counts.index}


def diagnoses() -> list[str]:
    """The diagnoses that the page offers for relabeling: the classes of all label sets; none without label sets."""
    if not LABELS.is_dir():
        return []
    return sorted({name for definition in read_definitions(LABELS).values() for name in definition.classes})


def note_of(row: Any) -> str:
    """What decisions.csv notes about a row of the findings."""
    return f"{row.kind}: {row.says}"


def decision_text(path: str, decided: pd.DataFrame) -> str:
    """The decision about a file for people; empty if there is none.

    Args:
        path: of the file.
        decided: decisions by path.
    """
    if path not in decided.index:
        return ""
    row = decided.loc[path]
    return f"{row['decision']} as {row['to'].replace('_', ' ')}" if row["to"] else str(row["decision"])


def merge(filled: Path) -> Iterator[str]:
    """Merge the completed rows into decisions.csv, in place of older decisions about the same files; yields messages.

    Raises:
        LesionflowError: a row is invalid; nothing was changed.
    """
    new = decisions.load_decisions(filled)
    if new.empty:
        raise LesionflowError(f"{filled} contains no decision. Write keep, drop or relabel in its column 'decision'.")
    kept = decisions.load_decisions()
    replaced = kept["path"].isin(new["path"])
    table = pd.concat([kept[~replaced], new]).reindex(columns=decisions.COLUMNS).fillna("").sort_values("path")
    with atomic_write(decisions.DECISIONS) as draft:
        spreadsheets.write(table, draft)
    counts = new["decision"].value_counts()
    yield f"{len(new)} decisions merged ({', '.join(f'{count} {name}' for name, count in counts.items())}), {replaced.sum()} replaced"
    yield f"next: git add {decisions.DECISIONS} && git commit, then dvc repro"


def _to_fill_in(found: pd.DataFrame, decided: pd.DataFrame) -> pd.DataFrame:
    files = found[found["sha256"] != ""].drop_duplicates("path")
    table = pd.DataFrame({"path": files["path"], "sha256": files["sha256"]})
    for column in ("decision", "to"):
        known = dict(zip(decided.index, decided[column], strict=True))
        table[column] = [known.get(path, "") for path in files["path"]]
    return table.assign(note=files["kind"] + ": " + files["says"])


def _page(found: pd.DataFrame, decided: pd.DataFrame) -> str:
    sections = [_section(kind, found[found["kind"] == kind], decided) for kind in kinds_of(found)]
    return render(TEMPLATE, table=TABLE, findings_table=FINDINGS, side=SIDE, sections=sections, diagnoses=diagnoses())


def _section(kind: str, found: pd.DataFrame, decided: pd.DataFrame) -> dict[str, Any]:
    groups = [group for _, group in found.groupby("number", sort=True)]
    shown = [{"says": group["says"].iloc[0], "files": [_file(row, decided) for row in group.itertuples()]} for group in groups[:SHOWN]]
    return {"kind": kind, "meaning": MEANINGS[kind], "action": found["then"].iloc[0], "total": len(groups), "findings": shown}


def _file(row: Any, decided: pd.DataFrame) -> dict[str, Any]:
    picture, problem = picture_of(DATA / row.path)
    made = decided.loc[row.path] if row.path in decided.index else {"decision": "", "to": ""}
    return {
        "path": row.path,
        "sha256": row.sha256,
        "note": note_of(row),
        "decision": made["decision"],
        "to": made["to"],
        "diagnosis": row.diagnosis,
        "left_out": bool(row.left_out),
        "decided": decision_text(row.path, decided),
        "picture": base64.b64encode(picture).decode(),
        "problem": problem,
    }


def picture_of(path: Path) -> tuple[bytes, str]:
    """The image as a small JPEG and no problem, or nothing and why it cannot be shown."""
    try:
        image = images.decode(path.read_bytes())
    except FileNotFoundError:
        return b"", "file missing"
    except OSError as fault:
        return b"", fault.strerror or str(fault)
    except UnreadableImageError as fault:
        return b"", str(fault)
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue(), ""
