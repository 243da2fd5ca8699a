"""Validate the dataset: scan every file of data/, apply the policy of params.yaml to all findings, and check expectations.

Reads data/ and decisions.csv. Writes build/catalog.parquet (one row per file), build/quarantine.csv, build/findings.csv,
reports/validation/ (Data Docs) and reports/validation.json. Nothing in data/ is changed or deleted. Scan results are cached in
build/scans/ by content, so only new images are decoded.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from components.core import spreadsheets
from components.core.catalog import COLUMNS
from components.core.classes import CLASSES, MALIGNANT, encode_targets, output_names
from components.core.errors import LesionflowError
from components.core.files import atomic_write, write_json
from components.core.paths import CATALOG, DATA, FINDINGS, QUARANTINE, REPORTS, SCANS, UNFINISHED_SWAP
from components.data_quality import decisions, expectations, findings, groups, policy
from components.data_quality.dataset import add_labels, list_files, read_metadata
from components.data_quality.findings import ARCHIVE_ID, Finding
from components.data_quality.near_duplicates import Pairs, find_near_pairs
from components.data_quality.scan import ScanResult, scan
from components.runtime.params import Policy, Settings, Validate
from components.runtime.params_file import load
from components.runtime.stage import run

REPORT = REPORTS / "validation.json"
DOCS = REPORTS / "validation"


def find_look_alikes(frame: pd.DataFrame, scans: ScanResult, limits: Validate) -> Pairs:
    """Find near-duplicates among all readable files, as positions in `frame`; the first of equal images represents all."""
    readable = np.flatnonzero(frame["fault"] == "")
    first = readable[first_of_equal_images(frame.iloc[readable], limits)]
    pairs = find_near_pairs(scans.thumbnails[first], limits.near_duplicate_score)
    return Pairs(first[pairs.indices], pairs.scores)


def add_groups(frame: pd.DataFrame, pairs: Pairs, limits: Validate) -> list[str]:
    """For each file, the path of the first file of its group: files of the same lesion, archive ID or image.

    Blank images resemble each other, so they are not used as links. Near-duplicates are links unless the policy only warns about
    them.
    """
    shown = frame["pixels_sha256"].where((frame["fault"] == "") & (frame["contrast"] >= limits.min_contrast))
    keys = pd.DataFrame({"lesion": frame["lesion_id"], "image": frame["isic_id"].str.extract(ARCHIVE_ID, expand=False), "pixels": shown})
    linking = pairs if limits.policy.near_duplicate.action != "warn" else Pairs(pairs.indices[:0], pairs.scores[:0])
    return frame["path"].groupby(groups.group_numbers(keys, linking)).transform("first").tolist()


def find_problems(
    frame: pd.DataFrame, pairs: Pairs, metadata: pd.DataFrame | None, dropped: frozenset[str], limits: Validate
) -> list[Finding]:
    """Find all problems of a dataset's files, except those dropped by a reviewer; `pairs` are positions in `frame`."""
    candidates = frame[~frame["path"].isin(dropped)]
    images = candidates[(candidates["fault"] == "") & candidates["diagnosis"].notna()].reset_index(drop=True)
    pairs = _among(images, frame["pixels_sha256"], pairs)
    found = list(findings.find_file_problems(candidates, limits))
    found += findings.find_label_conflicts(images, pairs, metadata)
    found += findings.find_lesion_conflicts(images[images["lesion_named"]])
    found += findings.find_exact_duplicates(images)
    found += findings.find_near_duplicates(images, pairs)
    found += findings.train_test_leaks(images, pairs)
    if metadata is not None:
        there = set(frame["path"])
        found += [Finding("missing_file", (name,), findings.KINDS["missing_file"]) for name in sorted(set(metadata.index) - there)]
    return found


def _among(images: pd.DataFrame, pixels: "pd.Series[str]", pairs: Pairs) -> Pairs:
    """Convert `pairs` from positions in `pixels` to positions in `images`; the first image with the same pixels represents all."""
    first = images["pixels_sha256"].drop_duplicates()
    place = pixels.map(pd.Series(first.index, index=first.to_numpy())).fillna(-1).to_numpy(dtype=np.int64)
    indices = place[pairs.indices]
    there = (indices >= 0).all(axis=1)
    return Pairs(indices[there], pairs.scores[there])


def first_of_equal_images(images: pd.DataFrame, limits: Validate) -> np.ndarray:
    """Positions to search for near-duplicates: the first of each set of equal images, without blank images."""
    return np.flatnonzero(~images["pixels_sha256"].duplicated() & (images["contrast"] >= limits.min_contrast))


def count_classes(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """Count usable images and lesions of each output class, including zeros."""
    fit_for_use = frame[frame["usable"]]
    names = pd.Series([output_names(task)[target] for target in encode_targets(list(fit_for_use["diagnosis"]), task)])
    counts = Counter(names)
    lesions = fit_for_use.groupby(names.to_numpy())["lesion_id"].nunique()
    rows = [(name, counts[name], int(lesions.get(name, 0))) for name in output_names(task)]
    return pd.DataFrame(rows, columns=["class", "images", "lesions"])


def find_small_classes(classes: pd.DataFrame, least: int) -> list[Finding]:
    """Find classes with fewer usable images than `least`."""
    found = []
    for row in classes.itertuples():
        kind = "small_malignant_class" if row[1] in MALIGNANT or row[1] == "malignant" else "small_benign_class"
        if row.images < least:
            found.append(Finding(kind, (row[1],), f"{row.images} usable images, validate.min_images_per_class asks for {least}"))
    return found


def exclude_small_classes(frame: pd.DataFrame, found: list[Finding], limits: Policy, task: str) -> pd.DataFrame:
    """Exclude output classes that are too small from the catalog, if the policy excludes them and its limit is not exceeded."""
    frame = frame.copy()
    output = frame["diagnosis"].map(
        dict(zip(CLASSES, (output_names(task)[target] for target in encode_targets(CLASSES, task)), strict=True))
    )
    for finding in found:
        of_kind = [one for one in found if one.kind == finding.kind]
        if policy.policy_for(limits, finding.kind).action in policy.LEFT_OUT and not policy.policy_violations(of_kind, limits):
            rows = frame["usable"] & (output == finding.subjects[0])
            frame.loc[rows, "reason"] = f"{finding.kind}: {finding.message}"
    return frame.assign(usable=frame["reason"] == "")


def build_catalog(frame: pd.DataFrame, reasons: dict[str, str]) -> pd.DataFrame:
    """Build the catalog from the files and the reasons of excluded files."""
    texts = [reasons.get(path, "") for path in frame["path"]]
    return frame.assign(reason=texts, usable=[not reason for reason in texts])[list(COLUMNS)]


def audit_dataset(root: Path, scans: ScanResult, table: pd.DataFrame, limits: Validate) -> tuple[pd.DataFrame, list[Finding], pd.DataFrame]:
    """Return the catalog, the findings, and the findings as a table, given the scanned files and the reviewer's decisions."""
    metadata = read_metadata(root)
    frame = add_labels(scans.table, metadata)
    decided = decisions.match_decisions(table, frame)
    frame["diagnosis"] = pd.array(
        [decided.relabel.get(path, name) for path, name in zip(frame["path"], frame["diagnosis"], strict=True)], dtype="str"
    )
    if metadata is not None and "diagnosis" in metadata:
        metadata = metadata.assign(diagnosis=metadata["diagnosis"].where(~metadata.index.isin(decided.relabel)))
    pairs = find_look_alikes(frame, scans, limits)
    frame["group"] = add_groups(frame, pairs, limits)
    found = [*find_problems(frame, pairs, metadata, decided.drop, limits), *decided.stale]
    reasons = policy.apply_policy(found, limits.policy, decided, dict(zip(frame["path"], frame["diagnosis"], strict=True)))
    return build_catalog(frame, reasons), found, policy.as_table(found, limits.policy, reasons, frame)


def validate(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: data/ is missing or empty, a threshold is exceeded, or an expectation is not met.
    """
    if UNFINISHED_SWAP.exists():
        raise LesionflowError(
            f"an import was interrupted while it replaced {DATA}/. Run `lesionflow data recover` to restore the previous dataset."
        )
    if not DATA.is_dir():
        raise LesionflowError(
            f"{DATA}/ does not exist. Run `dvc pull` for the bundled sample or `lesionflow import SRC` for your own images."
        )
    files = list_files(DATA)
    if not files:
        raise LesionflowError(f"{DATA}/ contains no files. Run `lesionflow import SRC` to import a dataset.")
    limits = settings.validation
    scans = scan(DATA, files, SCANS)
    decided = decisions.load_decisions()
    frame, found, table = audit_dataset(DATA, scans, decided, limits)
    classes = count_classes(frame, settings.task)
    small = find_small_classes(classes, limits.min_images_per_class)
    found += small
    frame = exclude_small_classes(frame, small, limits.policy, settings.task)
    classes = count_classes(frame, settings.task)
    left_out = frame.loc[~frame["usable"], ["path", "diagnosis", "lesion_id", "reason"]]
    with atomic_write(CATALOG) as draft:
        frame.to_parquet(draft, index=False)
    with atomic_write(QUARANTINE) as draft:
        spreadsheets.write(left_out, draft)
    with atomic_write(FINDINGS) as draft:
        spreadsheets.write(table, draft)
    exceeded = policy.policy_violations(found, limits.policy)
    found_per_class = policy.per_class(table, CLASSES)
    with atomic_write(DOCS) as draft:
        unmet = expectations.check_catalog(frame, classes, found_per_class, limits, draft, decisions.match_decisions(decided, frame).keep)
    write_json(
        REPORT,
        {
            "files": len(frame),
            "usable": int(frame["usable"].sum()),
            "lesions": int(frame.loc[frame["usable"], "lesion_id"].nunique()),
            "quarantined": dict(Counter(reason.partition(":")[0] for reason in left_out["reason"])),
            "found": dict(policy.count_findings(found)),
            "found_per_class": found_per_class,
            "images_per_class": dict(zip(classes["class"], classes["images"].tolist(), strict=True)),
            "expectations_met": not unmet,
        },
    )
    print(f"{len(frame)} files ({scans.decoded} decoded), {int(frame['usable'].sum())} usable, {len(left_out)} excluded ({QUARANTINE})")
    for kind, count in policy.count_findings(found).most_common():
        print(f"  {count:>6} {kind:<21} {policy.policy_for(limits.policy, kind).action:<11} {findings.KINDS[kind]}")
    if exceeded or unmet:
        hint = f"{FINDINGS} lists all findings. Run `lesionflow data review` to see the images; {DATA}/ was not changed."
        raise LesionflowError("\n".join([*exceeded, *unmet, hint]))


if __name__ == "__main__":
    run(lambda: validate(load()), __doc__)
