"""Whether two checkouts made the same of one dataset: every file of build/ and reports/, byte for byte.

    python -m benchmarks.outputs BEFORE AFTER

For a refactoring that must change no output: run the pipeline in both, then this. Times, measured latencies and MLflow's ids differ
between any two runs and are not compared; nor is the scan cache.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

FOLDERS = ("build", "reports")
SCANS = "build/scans/"
TIME = re.compile(rb"\d{8}T\d{6}\.\d+Z|\d{4}-\d\d-\d\d[T ]\d\d:\d\d[:\d.]*(?:\+00:00|Z)?|\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d")
OF_A_RUN = frozenset(("median_latency_ms", "mlflow_run", "new_version", "promotion", "version", "was_champion"))
"""Keys of JSON reports whose values are of one run."""


def main() -> None:
    """Compare, and print each file that differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, metavar="BEFORE", help="a checkout whose pipeline has run")
    parser.add_argument("after", type=Path, metavar="AFTER", help="another one")
    given = parser.parse_args()
    for root in (given.before, given.after):
        if missing := [name for name in FOLDERS if not (root / name).is_dir()]:
            parser.error(f"{root} has no {missing[0]}/: run `dvc repro` there")
    names, different = compared(given.before, given.after)
    for name in different:
        print(f"differs: {name}")
    print(f"{len(names) - len(different)} of {len(names)} files are equal")
    raise SystemExit(bool(different))


def compared(before: Path, after: Path) -> tuple[list[str], list[str]]:
    """Names of the files that either checkout made, and of those that differ or are in one alone."""
    names = sorted(made(before) | made(after))
    return names, [name for name in names if content(before / name) != content(after / name)]


def made(root: Path) -> set[str]:
    """The files under FOLDERS, without the scan cache."""
    files = (path.relative_to(root).as_posix() for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file())
    return {name for name in files if not name.startswith(SCANS)}


def content(path: Path) -> Any:
    """What is compared of a file; None where there is none."""
    if not path.exists():
        return None
    raw = path.read_bytes()
    if path.suffix == ".json" and "reports" in path.parts:
        try:
            return without(json.loads(raw))
        except ValueError:
            return raw
    return TIME.sub(b"", raw) if path.suffix == ".html" else raw


def without(document: Any) -> Any:
    """The document without what is of one run, at every level."""
    if isinstance(document, dict):
        return {key: without(value) for key, value in document.items() if key not in OF_A_RUN}
    return [without(item) for item in document] if isinstance(document, list) else document


if __name__ == "__main__":
    main()
