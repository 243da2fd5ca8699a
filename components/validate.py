"""Validate the dataset: scan every file of data/, apply the policy of params.yaml to all findings, and check expectations.

Reads data/ and decisions.csv. Writes build/catalog.parquet (one row per file), build/quarantine.csv, build/findings.csv,
reports/validation/ (Data Docs) and reports/validation.json. Nothing in data/ is changed or deleted. Scan results are cached in
build/scans/ by content, so only new images are decoded.
"""

from collections import Counter
from dataclasses import dataclass
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
from components.data_quality.data_docs import Counts
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
    problems = list(findings.find_file_problems(candidates, limits))
    problems += findings.find_label_conflicts(images, pairs, metadata)
    problems += findings.find_lesion_conflicts(images[images["lesion_named"]])
    problems += findings.find_exact_duplicates(images)
    problems += findings.find_near_duplicates(images, pairs)
    problems += findings.find_train_test_leaks(images, pairs)
    if metadata is not None:
        missing = sorted(set(metadata.index) - set(frame["path"]))
        problems += [Finding("missing_file", (name,), findings.KINDS["missing_file"]) for name in missing]
    return problems


def _among(images: pd.DataFrame, pixels: "pd.Series[str]", pairs: Pairs) -> Pairs:
    """Convert `pairs` from positions in `pixels` to positions in `images`; the first image with the same pixels represents all."""
    first = images["pixels_sha256"].drop_duplicates()
    positions = pixels.map(pd.Series(first.index, index=first.to_numpy())).fillna(-1).to_numpy(dtype=np.int64)
    indices = positions[pairs.indices]
    among_images = (indices >= 0).all(axis=1)
    return Pairs(indices[among_images], pairs.scores[among_images])


def first_of_equal_images(images: pd.DataFrame, limits: Validate) -> np.ndarray:
    """Positions to search for near-duplicates: the first of each set of equal images, without blank images."""
    return np.flatnonzero(~images["pixels_sha256"].duplicated() & (images["contrast"] >= limits.min_contrast))


def count_classes(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """Count usable images and lesions of each output class, including zeros."""
    usable = frame[frame["usable"]]
    names = pd.Series([output_names(task)[target] for target in encode_targets(list(usable["diagnosis"]), task)])
    counts = Counter(names)
    lesions = usable.groupby(names.to_numpy())["lesion_id"].nunique()
    rows = [(name, counts[name], int(lesions.get(name, 0))) for name in output_names(task)]
    return pd.DataFrame(rows, columns=["class", "images", "lesions"])


def find_small_classes(classes: pd.DataFrame, least: int) -> list[Finding]:
    """Find classes with fewer usable images than `least`."""
    small_classes = []
    for row in classes.itertuples():
        kind = "small_malignant_class" if row[1] in MALIGNANT or row[1] == "malignant" else "small_benign_class"
        if row.images < least:
            small_classes.append(Finding(kind, (row[1],), f"{row.images} usable images, validate.min_images_per_class asks for {least}"))
    return small_classes


def exclude_small_classes(frame: pd.DataFrame, small_classes: list[Finding], limits: Policy, task: str) -> pd.DataFrame:
    """Exclude output classes that are too small from the catalog, if the policy excludes them and its limit is not exceeded."""
    frame = frame.copy()
    output = frame["diagnosis"].map(
        dict(zip(CLASSES, (output_names(task)[target] for target in encode_targets(CLASSES, task)), strict=True))
    )
    for finding in small_classes:
        of_kind = [one for one in small_classes if one.kind == finding.kind]
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
    problems = [*find_problems(frame, pairs, metadata, decided.drop, limits), *decided.stale]
    reasons = policy.apply_policy(problems, limits.policy, decided, dict(zip(frame["path"], frame["diagnosis"], strict=True)))
    return build_catalog(frame, reasons), problems, policy.as_table(problems, limits.policy, reasons, frame)


@dataclass(frozen=True)
class Audit:
    """The result of validation: the catalog, the findings with those on small classes, the findings as a table, and the usable images and
    lesions of each class."""

    catalog: pd.DataFrame
    findings: list[Finding]
    table: pd.DataFrame
    classes: pd.DataFrame

    @property
    def excluded(self) -> pd.DataFrame:
        """Excluded files with their reasons."""
        return self.catalog.loc[~self.catalog["usable"], ["path", "diagnosis", "lesion_id", "reason"]]


def validate(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: data/ is missing or empty, a threshold is exceeded, or an expectation is not met.
    """
    scans = scan(DATA, list_dataset(), SCANS)
    limits, decided = settings.validation, decisions.load_decisions()
    audit = exclude_small(*audit_dataset(DATA, scans, decided, limits), settings)
    write_tables(audit)
    findings_per_class = policy.per_class(audit.table, CLASSES)
    kept = decisions.match_decisions(decided, audit.catalog).keep
    with atomic_write(DOCS) as draft:
        catalog = expectations.AuditedCatalog(audit.catalog, audit.classes, findings_per_class, kept)
        unmet = expectations.check_catalog(catalog, limits, draft)
    write_report(audit, findings_per_class, expectations_met=not unmet)
    print_summary(audit, scans.decoded, limits.policy)
    violations = policy.policy_violations(audit.findings, limits.policy)
    if violations or unmet:
        hint = f"{FINDINGS} lists all findings. Run `lesionflow data review` to see the images; {DATA}/ was not changed."
        raise LesionflowError("\n".join([*violations, *unmet, hint]))


def list_dataset() -> list[str]:
    """The files of data/.

    Raises:
        LesionflowError: data/ is missing, empty, or was being replaced when an import was killed.
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
    return files


def exclude_small(catalog: pd.DataFrame, problems: list[Finding], table: pd.DataFrame, settings: Settings) -> Audit:
    """Add the findings on small classes, and exclude these classes as the policy says."""
    limits = settings.validation
    small_classes = find_small_classes(count_classes(catalog, settings.task), limits.min_images_per_class)
    catalog = exclude_small_classes(catalog, small_classes, limits.policy, settings.task)
    return Audit(catalog, [*problems, *small_classes], table, count_classes(catalog, settings.task))


def write_tables(audit: Audit) -> None:
    """Write the catalog, the excluded files and the findings."""
    with atomic_write(CATALOG) as draft:
        audit.catalog.to_parquet(draft, index=False)
    with atomic_write(QUARANTINE) as draft:
        spreadsheets.write(audit.excluded, draft)
    with atomic_write(FINDINGS) as draft:
        spreadsheets.write(audit.table, draft)


def write_report(audit: Audit, findings_per_class: Counts, expectations_met: bool) -> None:
    """Write reports/validation.json."""
    usable = audit.catalog["usable"]
    write_json(
        REPORT,
        {
            "files": len(audit.catalog),
            "usable": int(usable.sum()),
            "lesions": int(audit.catalog.loc[usable, "lesion_id"].nunique()),
            "quarantined": dict(Counter(reason.partition(":")[0] for reason in audit.excluded["reason"])),
            "found": dict(policy.count_findings(audit.findings)),
            "found_per_class": findings_per_class,
            "images_per_class": dict(zip(audit.classes["class"], audit.classes["images"].tolist(), strict=True)),
            "expectations_met": expectations_met,
        },
    )


def print_summary(audit: Audit, decoded: int, limits: Policy) -> None:
    """Print the numbers of files, and of each kind of finding with what the policy does about it; `decoded`: files not scanned before."""
    files, usable, excluded = len(audit.catalog), int(audit.catalog["usable"].sum()), len(audit.excluded)
    print(f"{files} files ({decoded} decoded), {usable} usable, {excluded} excluded ({QUARANTINE})")
    for kind, count in policy.count_findings(audit.findings).most_common():
        print(f"  {count:>6} {kind:<21} {policy.policy_for(limits, kind).action:<11} {findings.KINDS[kind]}")


if __name__ == "__main__":
    run(lambda: validate(load()), __doc__)
