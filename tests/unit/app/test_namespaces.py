"""Ids are named after their source, but for those of the ISIC Archive."""

from pathlib import Path

import pandas as pd
import pytest

from app.data.forms.definitions import FOLDERS, TABLE, forms
from app.data.namespaces import choose_namespace, name_lesions
from components.core.errors import LesionflowError


@pytest.mark.parametrize(
    ("source", "form", "given", "expected"),
    [
        ("x/Photos 2024.zip", TABLE, None, "photos-2024"),
        ("x/clinic.tar.gz", FOLDERS, None, "clinic"),
        ("x/Zürich, 3. Lieferung", TABLE, None, "zurich-3-lieferung"),
        ("x/anything", forms()["pad-ufes-20"], None, "pad-ufes-20"),
        ("x/anything", forms()["pad-ufes-20"], "Clinic A", "clinic-a"),
        ("x/anything", TABLE, "--Clinic--", "clinic"),
    ],
)
def test_namespace(source, form, given, expected):
    assert choose_namespace(Path(source), form, given) == expected


def test_folder_keeps_what_looks_like_a_suffix(tmp_path, monkeypatch):
    (tmp_path / "photos.zip").mkdir()
    assert choose_namespace(tmp_path / "photos.zip", TABLE, None) == "photos-zip"
    monkeypatch.chdir(tmp_path / "photos.zip")
    assert choose_namespace(Path(), TABLE, None) == "photos-zip"


def test_names_without_letters():
    names = {choose_namespace(Path(name), TABLE, None) for name in ("写真", "画像")}
    assert len(names) == 2 and all(name.startswith("source-") for name in names)
    with pytest.raises(LesionflowError, match="--source '写真' has no letter"):
        choose_namespace(Path("a"), TABLE, "写真")


def test_lesions_of_the_archive_keep_their_names():
    lesions = pd.Series(["IL_1234567", "HAM_0000001", "ISIC_0000001", "L1", "IL_x", "clinic:L2", None], dtype="str")
    expected = ["IL_1234567", "HAM_0000001", "ISIC_0000001", "clinic:L1", "clinic:IL_x", "clinic:L2"]
    named = name_lesions(lesions, "clinic")
    assert named.dropna().tolist() == expected
    assert named.isna().tolist() == lesions.isna().tolist()
