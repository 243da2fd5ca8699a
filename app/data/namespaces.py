"""Names lesions after their source, so that ids of two sources never mean the same lesion."""

import hashlib
import re
import unicodedata
from pathlib import Path

import pandas as pd

from app.data.forms.definitions import Form
from components.core.errors import LesionflowError

ARCHIVE_ID = re.compile(r"(ISIC|HAM|IP|IL)_\d+")
"""Ids of the ISIC Archive, which mean the same in all of its collections."""
ARCHIVE_SUFFIXES = re.compile(r"(\.(zip|tar|tgz|gz|bz2|xz))+$", re.IGNORECASE)


def choose_namespace(source: Path, form: Form, given: str | None) -> str:
    """The namespace of a source's ids: the name that the user gives, the form's if it is that of a public dataset, or the name of the
    folder or archive; in small letters, digits and hyphens.

    Raises:
        LesionflowError: the given name has neither letters nor digits.
    """
    if given is not None:
        if not (folded := _folded(given)):
            raise LesionflowError(f"--source {given!r} has no letter from a to z and no digit. Give another name.")
        return folded
    if form.headers:
        return form.name
    name = source.resolve().name
    return _folded(name if source.is_dir() else ARCHIVE_SUFFIXES.sub("", name)) or f"source-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def name_lesions(lesions: "pd.Series[str]", namespace: str) -> "pd.Series[str]":
    """The lesions as <namespace>:<id>; those of the ISIC Archive and those that have the namespace already stay as they are."""
    lesions = lesions.astype("str")
    stays = lesions.isna() | lesions.str.fullmatch(ARCHIVE_ID).fillna(False) | lesions.str.startswith(f"{namespace}:").fillna(False)
    return lesions.where(stays.astype(bool), f"{namespace}:" + lesions)


def _folded(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.casefold()).strip("-")
