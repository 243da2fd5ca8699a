"""Tells patients and their lesions apart. All functions are pure."""

import pandas as pd

from components.data_quality.findings import Finding
from components.data_quality.placeholders import NO_VALUE

KIND = "lesion_of_several_patients"


def known_ids(ids: "pd.Series[str]", placeholders: frozenset[str] = NO_VALUE) -> "pd.Series[str]":
    """The ids without placeholders, which become null."""
    return ids.where(~ids.str.strip().str.casefold().isin(placeholders))


def fill_patients(patients: "pd.Series[str]", lesions: "pd.Series[str]") -> "pd.Series[str]":
    """The patients; an image without one, whose lesion other images assign to a single patient, gets that patient."""
    of_lesion = patients.groupby(lesions).agg(lambda group: group.dropna().unique()[0] if group.nunique() == 1 else None)
    return patients.fillna(lesions.map(of_lesion.dropna()).astype("str"))


def lesion_keys(patients: "pd.Series[str]", lesions: "pd.Series[str]") -> "pd.Series[str]":
    """A lesion is (patient, lesion): some sources number lesions within each patient. Null without a lesion."""
    return (patients + " / " + lesions).where(patients.notna(), lesions)


def find_shared_lesions(files: pd.DataFrame, source: str) -> list[Finding]:
    """Find lesion ids that several patients have, the most patients first.

    If more than half of the ids are shared, the source numbers lesions within each patient: that is one finding about the source.

    Args:
        files: path, patient_id and named_lesion, the id that metadata.csv gives.
        source: the table that gives the ids, which the finding about the source names.
    """
    counts = files.groupby("named_lesion")["patient_id"].nunique()
    shared, of_patients = counts.index[counts > 1], int((counts > 0).sum())
    if 2 * len(shared) > of_patients:
        message = f"{len(shared)} of {of_patients} lesion ids have several patients: lesions are numbered within each patient"
        return [Finding(KIND, (source,), f"{message}, so each patient's is a lesion of its own", float(len(shared)))]
    found = []
    for lesion, rows in files[files["named_lesion"].isin(shared)].groupby("named_lesion"):
        names = rows["patient_id"].dropna().unique()
        message = f"lesion {lesion} of {len(names)} patients ({', '.join(names[:3])}): each patient's is a lesion of its own"
        found.append(Finding(KIND, tuple(rows["path"]), message, float(len(names))))
    return sorted(found, key=lambda finding: (-finding.severity, finding.subjects))
