"""Finds the images of the present dataset that patient ids, lesion ids and names of images stand for."""

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from app.console import first_few
from app.data.present import PresentDataset
from app.data.present_images import archive_ids
from app.data.pseudonyms import stored_patient_ids
from app.data.tables import FILE, ID
from components.core.errors import LesionflowError
from components.core.paths import DATA

SIMILAR = 0.5
"""Similarity from which an id is close to another (difflib); two ids of two characters that share one have 0.5."""
NAMED = 3
"""Images or ids that a message names."""
PATIENT, LESION = "patient_id", "lesion_id"


@dataclass(frozen=True)
class Selection:
    """What a person names, as it is given."""

    patients: tuple[str, ...] = ()
    lesions: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    """Paths in data/, file names or IDs of the ISIC Archive."""


def select_images(present: PresentDataset, selection: Selection) -> list[str]:
    """The paths of the selected images, sorted.

    A patient's images include those without a patient in metadata.csv whose lesion is known to be this patient's.

    Raises:
        LesionflowError: an id names no image, or a file name or lesion stands for several; the message names close ids, or the choice.
    """
    index = _Index.of(present)
    found: set[str] = set()
    for given in selection.patients:
        found.update(index.of_patient(given))
    for given in selection.lesions:
        found.update(index.of_lesion(given))
    for given in selection.images:
        found.update(index.of_image(given))
    return sorted(found)


@dataclass(frozen=True)
class _Index:
    """Images by the ids that they can be named by."""

    rows: pd.DataFrame
    """Patient, lesion and both as one key (`validate` names lesions by it) of each image, indexed by path; null where not known."""
    archive: dict[str, str]
    """ID of the ISIC Archive by path."""
    given: dict[str, str]
    """Column `isic_id` of metadata.csv by path."""

    @classmethod
    def of(cls, present: PresentDataset) -> "_Index":
        from components.data_quality import patients, placeholders  # imports scipy

        table = pd.DataFrame({FILE: []}, dtype="str") if present.metadata is None else present.metadata
        ids = table.set_index(FILE).reindex(columns=[PATIENT, LESION]).reindex(present.images).astype("str")
        rows = pd.DataFrame({LESION: patients.known_ids(ids[LESION].str.strip())})
        rows[PATIENT] = patients.fill_patients(patients.known_ids(ids[PATIENT].str.strip(), placeholders.NO_PATIENT), rows[LESION])
        rows["key"] = patients.lesion_keys(rows[PATIENT], rows[LESION])
        given = present.column(ID)
        return cls(rows, archive_ids(present.images, given), given)

    def of_patient(self, given: str) -> list[str]:
        found = self.rows.index[self.rows[PATIENT].isin(stored_patient_ids(given))].tolist()
        return found or _refuse_unknown("patient", given, self.rows[PATIENT].dropna().unique())

    def of_lesion(self, given: str) -> list[str]:
        wanted = given.strip()
        in_namespace = self.rows[LESION].str.endswith(f":{wanted}").fillna(False).astype(bool)
        named = self.rows[(self.rows[LESION] == wanted) | in_namespace | (self.rows["key"] == wanted)]
        keys = named["key"].unique()
        if len(keys) > 1:
            raise LesionflowError(
                f"lesion {given!r} stands for {len(keys)} lesions of different patients or sources: {first_few(sorted(keys))}."
                " Name one of these; nothing was changed"
            )
        return named.index.tolist() or _refuse_unknown("lesion", given, [*self.rows[LESION].dropna(), *self.rows["key"].dropna()])

    def of_image(self, given: str) -> list[str]:
        path = given.strip().removeprefix("./").removeprefix(f"{DATA}/")
        if path in self.rows.index:
            return [path]
        of_id = [name for name in self.rows.index if given.strip() in (self.archive.get(name), self.given.get(name))]
        if of_id:
            return of_id
        named = [name for name in self.rows.index if PurePosixPath(name).name == path]
        if len(named) > 1:
            raise LesionflowError(
                f"image {given!r} stands for {len(named)} files: {first_few(sorted(named))}. Name its path; nothing was changed"
            )
        return named or _refuse_unknown("image", given, [*self.rows.index, *self._names()])

    def _names(self) -> Iterator[str]:
        yield from (PurePosixPath(name).name for name in self.rows.index)
        yield from self.given.values()
        yield from self.archive.values()


def _refuse_unknown(kind: str, given: str, known: Collection[str]) -> list[str]:
    close = difflib.get_close_matches(given, dict.fromkeys(known), NAMED, cutoff=SIMILAR)
    hint = f". Close: {', '.join(close)}" if close else ""
    raise LesionflowError(f"{DATA}/ has no {kind} {given!r}{hint}; nothing was changed")
