"""Writes the review page with the images of every finding, and merges the reviewer's decisions."""

import base64
import io
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pandas as pd

from components.core import spreadsheets
from components.core.errors import LesionflowError, UnreadableImageError
from components.core.files import atomic_write, require_file
from components.core.paths import DATA, FINDINGS, REPORTS
from components.data_quality import decisions
from components.data_quality.findings import KINDS
from components.imaging import images
from components.runtime import renamed_params

REVIEW = REPORTS / "review"
TABLE = "decisions.csv"
SIDE = 180
"""Longest side of an image on the page, in pixels."""
SHOWN = 300
"""Findings of each kind on the page; the rest are counted, and build/findings.csv lists all."""
WITHOUT_PICTURES = ("missing_license", "missing_file", "not_rgb", "exif_rotated")
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#222}
section{margin:2.5rem 0}article{border-top:1px solid #ddd;padding:.8rem 0}article p{margin:.2rem 0 .6rem}
.row{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;width:190px}img,.none{width:180px;height:180px;object-fit:contain;background:#f3f3f3}
.none{display:flex;align-items:center;justify-content:center;color:#777;text-align:center}
figcaption{font-size:.8rem;overflow-wrap:anywhere}figcaption b{display:block}.out{color:#a00}.in{color:#060}nav a{margin-right:1.2rem}
"""


def write_page() -> Iterator[str]:
    """Write reports/review/ with index.html and the decision table decisions.csv to complete; yields messages.

    Raises:
        LesionflowError: `validate` has not run.
    """
    found = spreadsheets.read(require_file(FINDINGS)).astype({"number": int}).replace({"kind": renamed_params.KINDS})
    decided = decisions.load_decisions().set_index("path")
    shown = found[~found["kind"].isin(WITHOUT_PICTURES)]
    with atomic_write(REVIEW) as draft:
        draft.mkdir()
        (draft / "index.html").write_text(_page(shown, decided), encoding="utf-8")
        spreadsheets.write(_to_fill_in(shown, decided), draft / TABLE)
    yield f"{shown['number'].nunique()} findings about {shown['path'].nunique()} files: {REVIEW / 'index.html'}"
    yield f"complete {REVIEW / TABLE} (keep, drop or relabel), then: lesionflow data review --decisions {REVIEW / TABLE}"


def merge(filled: Path) -> Iterator[str]:
    """Merge the completed rows into decisions.csv, atomic_write older decisions about the same files; yields messages.

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
    kinds = [kind for kind in KINDS if kind in set(found["kind"])]
    links = [f"<a href='#{kind}'>{_words(kind)} ({found.loc[found['kind'] == kind, 'number'].nunique()})</a>" for kind in kinds]
    sections = [_section(kind, found[found["kind"] == kind], decided) for kind in kinds]
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Review of the dataset</title><style>{STYLE}</style>"
    how = f"Enter decisions in {TABLE} next to this page: keep, drop, or relabel with a class in column 'to'. Most urgent kinds come first."
    return "\n".join(
        [head, "<h1>Review of the dataset</h1>", f"<p>{escape(how)}</p>", f"<nav>{' '.join(links)}</nav>", *sections, "</html>"]
    )


def _section(kind: str, found: pd.DataFrame, decided: pd.DataFrame) -> str:
    groups = list(found.groupby("number", sort=True))
    rows = [_article(group, decided) for _, group in groups[:SHOWN]]
    more = f"<p>and {len(groups) - SHOWN} more in {escape(str(FINDINGS))}</p>" if len(groups) > SHOWN else ""
    head = f"<h2>{_words(kind)}</h2><p>{escape(KINDS[kind])}: {escape(found['then'].iloc[0])}</p>"
    return f"<section id='{kind}'>{head}{''.join(rows)}{more}</section>"


def _article(group: pd.DataFrame, decided: pd.DataFrame) -> str:
    items = []
    for row in group.itertuples():
        decision = decided.loc[row.path, "decision"] if row.path in decided.index else ""
        state = f"<span class='{'out' if row.left_out else 'in'}'>{'left out' if row.left_out else 'used'}</span>"
        decided_as = f"<br>decided: {escape(str(decision))}" if decision else ""
        label = _words(row.diagnosis) if row.diagnosis else "no class"
        items.append(
            f"<figure>{_picture(DATA / row.path)}<figcaption><b>{label}</b>{escape(row.path)}<br>{state}{decided_as}</figcaption></figure>"
        )
    return f"<article><p>{escape(str(group['says'].iloc[0]))}</p><div class='row'>{''.join(items)}</div></article>"


def _picture(path: Path) -> str:
    try:
        image = images.decode(path.read_bytes())
    except FileNotFoundError:
        return "<div class='none'>file missing</div>"
    except OSError as fault:
        return f"<div class='none'>{escape(fault.strerror or str(fault))}</div>"
    except UnreadableImageError as fault:
        return f"<div class='none'>{escape(str(fault))}</div>"
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return f"<img loading='lazy' alt='' src='data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}'>"


def _words(name: str) -> str:
    return escape(name.replace("_", " "))
