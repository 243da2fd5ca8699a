"""Scan every file of data/, build the catalog, quarantine what is unusable, and hold the rest to an expectation suite.

Reads data/. Writes build/catalog.parquet (a row per file), build/quarantine.csv, reports/validation/ (Data Docs) and
reports/validation.json. Nothing in data/ is changed or deleted.
"""

import hashlib
import os
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import imagehash
import pandas as pd
from tqdm import tqdm

from components import expectations, images
from components.catalog import COLUMNS
from components.classes import class_of_folder, output_names, targets
from components.errors import LesionflowError, UnreadableImage
from components.files import replacing, write_json
from components.paths import CATALOG, DATA, QUARANTINE, REPORTS
from components.settings import Settings, Validate, load
from components.stage import run

REPORT = REPORTS / "validation.json"
DOCS = REPORTS / "validation"
METADATA = "metadata.csv"
COMPANIONS = (METADATA, "attribution.txt", "licenses", ".gitignore")
ISIC_ID = re.compile(r"(ISIC_\d+)")
HASH_SIDE = 16

UNREADABLE, DUPLICATE, CONFLICT = "unreadable", "duplicate", "conflicting"
FINDINGS = {UNREADABLE: "max_unreadable", DUPLICATE: "max_duplicates", CONFLICT: "max_conflicts"}
"""Kinds of quarantine, and the knob of `validate` that limits each."""


def scan_file(root: Path, relative: str) -> dict[str, Any]:
    """Everything that one file tells by itself, as a partial catalog row; `reason` is empty where it is readable."""
    content = (root / relative).read_bytes()
    row: dict[str, Any] = {
        "path": relative,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "reason": "",
    }
    try:
        with images.open_checked(content) as header:
            row |= {"format": header.format, "mode": header.mode}
        image = images.decode(content)
    except UnreadableImage as fault:
        return row | {"reason": f"{UNREADABLE}: {fault}"}
    return row | {
        "width": image.width,
        "height": image.height,
        "pixels_sha256": images.pixels_sha256(image),
        "phash": str(imagehash.phash(image, hash_size=HASH_SIDE)),
    }


def list_files(root: Path) -> list[str]:
    """Relative paths of every file that should be an image, sorted; the dataset's companions are left out."""
    found = (path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file())
    return [path.as_posix() for path in found if path.parts[0] not in COMPANIONS]


def scan(root: Path, files: list[str]) -> pd.DataFrame:
    """Scan files on every core; one row per file, in the order given."""
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        scanned = pool.map(partial(scan_file, root), files, chunksize=16)
        rows = list(tqdm(scanned, total=len(files), desc="scanning", unit="file", mininterval=1))
    frame = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    return frame.astype({"width": "Int64", "height": "Int64"})


def read_metadata(root: Path) -> pd.DataFrame | None:
    """metadata.csv as text, indexed by filename, or None where the dataset has none.

    Raises:
        LesionflowError: it has no filename column, names a file twice, or is no CSV.
    """
    path = root / METADATA
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path} is not a CSV table: {fault}") from None
    if "filename" not in table:
        raise LesionflowError(f"{path} has no column 'filename': found {', '.join(table.columns)}")
    repeated = table.loc[table["filename"].duplicated(), "filename"]
    if len(repeated):
        raise LesionflowError(f"{path} names {len(repeated)} files more than once, first {repeated.iloc[0]!r}")
    return table.set_index("filename")


def describe(frame: pd.DataFrame, metadata: pd.DataFrame | None) -> pd.DataFrame:
    """Add what folders and metadata.csv say: class, image id, lesion, collection, licence."""
    frame = frame.copy()
    frame["diagnosis"] = [_class_of_path(path) for path in frame["path"]]
    stems = pd.Series([Path(path).stem for path in frame["path"]], index=frame.index)
    for column in ("isic_id", "lesion_id", "collection", "license"):
        known = metadata[column] if metadata is not None and column in metadata else pd.Series(dtype=str)
        frame[column] = frame["path"].map(known).astype("str")
    frame["isic_id"] = frame["isic_id"].fillna(stems)
    frame["lesion_id"] = frame["lesion_id"].fillna(frame["isic_id"])
    homeless = frame["diagnosis"].isna() & (frame["reason"] == "")
    frame.loc[homeless, "reason"] = f"{UNREADABLE}: in no folder named after a class"
    return frame


def _class_of_path(path: str) -> str | None:
    folders = reversed(Path(path).parts[:-1])
    return next((found for folder in folders if (found := class_of_folder(folder))), None)


def quarantine(frame: pd.DataFrame, metadata: pd.DataFrame | None, min_side: int) -> pd.DataFrame:
    """Give every file that may not be used its reason; the first of several equal files is kept.

    In order: too small, one image under two classes (every copy goes: nobody knows which label is right), exact duplicates.
    """
    frame = frame.copy()
    small = (frame["reason"] == "") & (frame[["width", "height"]].min(axis=1) < min_side).fillna(False)
    for index in frame.index[small]:
        size = f"{frame.at[index, 'width']} x {frame.at[index, 'height']} px"
        frame.at[index, "reason"] = f"{UNREADABLE}: {size} is smaller than {min_side} px a side"
    _mark_conflicts(frame, metadata)
    readable = frame[frame["reason"] == ""]
    first = readable.groupby("pixels_sha256")["path"].transform("first")
    for index in readable.index[first != readable["path"]]:
        frame.at[index, "reason"] = f"{DUPLICATE}: same pixels as {first[index]}"
    frame["usable"] = frame["reason"] == ""
    return frame


def _mark_conflicts(frame: pd.DataFrame, metadata: pd.DataFrame | None) -> None:
    readable = frame[frame["reason"] == ""]
    archive_ids = readable["isic_id"].str.extract(ISIC_ID, expand=False)
    for key in (readable["pixels_sha256"], archive_ids):
        for _, same in readable.groupby(key):
            if same["diagnosis"].nunique() > 1:
                stands = " and ".join(sorted(same["diagnosis"].unique()))
                frame.loc[same.index, "reason"] = f"{CONFLICT}: the same image stands under {stands}"
    if metadata is None or "diagnosis" not in metadata:
        return
    said = readable["path"].map(metadata["diagnosis"])
    for index in readable.index[said.notna()]:
        if class_of_folder(said[index]) != frame.at[index, "diagnosis"] and frame.at[index, "reason"] == "":
            frame.at[index, "reason"] = f"{CONFLICT}: metadata.csv says {said[index]!r}"


def count_classes(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """Usable images and lesions of each output class, zero included."""
    fit_for_use = frame[frame["usable"]]
    names = pd.Series([output_names(task)[target] for target in targets(list(fit_for_use["diagnosis"]), task)])
    counts = Counter(names)
    lesions = fit_for_use.groupby(names.to_numpy())["lesion_id"].nunique()
    rows = [(name, counts[name], int(lesions.get(name, 0))) for name in output_names(task)]
    return pd.DataFrame(rows, columns=["class", "images", "lesions"])


def faults(frame: pd.DataFrame, classes: pd.DataFrame, missing: list[str], limits: Validate) -> list[str]:
    """What exceeds the thresholds of params.yaml, a line each; empty where nothing does."""
    lines: list[str] = []
    for kind, knob in FINDINGS.items():
        bad = frame[frame["reason"].str.startswith(f"{kind}:")]
        limit = getattr(limits, knob)
        if limit is not None and len(bad) > limit:
            lines.append(f"{len(bad)} files are {kind}; validate.{knob} allows {limit}:")
            lines += [f"  {DATA}/{row.path}: {row.reason}" for row in bad.head(5).itertuples()]
    if limits.max_missing is not None and len(missing) > limits.max_missing:
        lines.append(f"{DATA / METADATA} names {len(missing)} files that are not there; validate.max_missing allows {limits.max_missing}:")
        lines += [f"  {DATA}/{name}" for name in missing[:5]]
    for row in classes.itertuples():
        if row.images < limits.min_images_per_class:
            lines.append(
                f"{row[1]}: {row.images} usable images, validate.min_images_per_class asks for {limits.min_images_per_class};"
                " its folder is missing, empty or too small"
            )
    return lines


def validate(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: data/ is missing or empty, a threshold is exceeded, or an expectation is not met.
    """
    if not DATA.is_dir():
        raise LesionflowError(f"{DATA}/ is not there: `dvc pull` brings the bundled sample, `lesionflow import SRC` your own images")
    files = list_files(DATA)
    if not files:
        raise LesionflowError(f"{DATA}/ holds no files: `lesionflow import SRC` brings a dataset")
    metadata = read_metadata(DATA)
    frame = describe(scan(DATA, files), metadata)
    frame = quarantine(frame, metadata, settings.validation.min_side)[list(COLUMNS)]
    missing = sorted(set(metadata.index) - set(files)) if metadata is not None else []
    classes = count_classes(frame, settings.task)

    with replacing(CATALOG) as draft:
        frame.to_parquet(draft, index=False)
    left_out = frame.loc[~frame["usable"], ["path", "diagnosis", "lesion_id", "reason"]]
    with replacing(QUARANTINE) as draft:
        left_out.to_csv(draft, index=False)
    exceeded = faults(frame, classes, missing, settings.validation)
    with replacing(DOCS) as draft:
        unmet = expectations.check(frame, classes, settings.validation, draft)
    kinds = Counter(reason.partition(":")[0] for reason in left_out["reason"])
    write_json(
        REPORT,
        {
            "files": len(frame),
            "usable": int(frame["usable"].sum()),
            "lesions": int(frame.loc[frame["usable"], "lesion_id"].nunique()),
            "quarantined": {kind: kinds[kind] for kind in FINDINGS},
            "missing": len(missing),
            "images_per_class": dict(zip(classes["class"], classes["images"].tolist(), strict=True)),
            "expectations_met": not unmet,
        },
    )
    print(f"{len(frame)} files, {int(frame['usable'].sum())} usable, {len(left_out)} quarantined ({QUARANTINE}), {len(missing)} missing")
    if exceeded or unmet:
        raise LesionflowError(
            "\n".join([*exceeded, *unmet, f"every file left out is in {QUARANTINE} with its reason; {DATA}/ was not changed"])
        )


if __name__ == "__main__":
    run(lambda: validate(load()), __doc__)
