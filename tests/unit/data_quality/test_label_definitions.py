from collections import Counter

import pytest

from components.core.errors import LesionflowError
from components.data_quality.label_choice import choose_definition
from components.data_quality.label_definitions import finest, fitting, fold, read_definition, read_definitions
from tests.support.labels import ISIC9
from tests.support.project import ROOT

SHIPPED = read_definitions(ROOT / "labels")
HAM10000 = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
ISIC2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
PAD = ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")
CLASSES = """
description: rashes
classes:
  eczema: {title: eczema, plain: itchy skin, synonyms: [dermatitis]}
  psoriasis: {title: psoriasis, plain: scaly skin}
"""


def images(*diagnoses: str) -> Counter[tuple[str, ...]]:
    return Counter({(name,): 3 for name in diagnoses})


@pytest.mark.parametrize(
    ("diagnosis", "folded"),
    [
        ("  VASCULAR  lesion ", "vascular_lesion"),
        ("Basal Cell Carcinoma (BCC)", "basal_cell_carcinoma"),
        ("Nevus, Atypical, Dysplastic, or Clark", "nevus_atypical_dysplastic_or_clark"),
        ("Bowen's disease", "bowens_disease"),
        ("(?)", ""),
        ("", ""),
    ],
)
def test_fold_drops_case_punctuation_and_code(diagnosis, folded):
    assert fold(diagnosis) == folded


@pytest.mark.parametrize(
    ("diagnosis", "name"),
    [
        ("actinic keratosis", "actinic_keratosis"),
        ("Acitinic-Keratosis", "actinic_keratosis"),
        ("melanocytic_Nevi", "nevus"),
        ("Basal Cell Carcinoma (BCC)", "basal_cell_carcinoma"),
        ("Train", None),
        ("bkl", None),
        ("Nevus anemicus", None),
    ],
)
def test_isic9_knows_codes_plurals_and_misspellings(diagnosis, name):
    assert SHIPPED["isic9"].class_of(diagnosis) == name


def test_shipped_label_sets_guard_the_critical_class():
    assert set(SHIPPED) == {"binary", "ham7", "isic8", "isic9", "pad6"}
    assert {len(entry.classes) for entry in SHIPPED.values()} == {2, 6, 7, 8, 9}
    assert SHIPPED["isic9"].label_set(SHIPPED["isic9"].classes) == ISIC9


@pytest.mark.parametrize(("name", "coarser"), [("isic9", ["isic8", "ham7", "binary"]), ("isic8", ["ham7", "binary"]), ("ham7", ["binary"])])
def test_finer_dataset_has_a_place_in_coarser_label_set_and_not_the_reverse(name, coarser):
    fit = fitting(images(*SHIPPED[name].classes), SHIPPED)
    assert fit == [name, *coarser]


@pytest.mark.parametrize(
    ("diagnoses", "name"),
    [
        (HAM10000, "ham7"),
        (ISIC2019, "isic8"),
        (("benign", "malignant"), "binary"),
        (ISIC9.outputs, "isic9"),
        (("actinic_keratosis", "nevus", "pigmented_benign_keratosis"), "isic9"),
        (("nevus", "melanoma", "psoriasis"), "isic9"),
        (("psoriasis", "eczema"), None),
    ],
)
def test_finest_label_set_of_a_dataset(diagnoses, name):
    assert finest(images(*diagnoses), SHIPPED) == name


def test_six_diagnoses_of_phone_photographs_fit_their_label_set():
    assert "pad6" in fitting(images(*PAD), SHIPPED)


def test_most_specific_level_decides_and_exclusion_holds_back_the_branch():
    isic9 = SHIPPED["isic9"]
    assert isic9.class_of_levels(("Halo nevus", "Nevus", "Benign")) == "nevus"
    assert isic9.class_of_levels(("Glomus tumor", "Benign soft tissue proliferations - Vascular")) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CLASSES + "  eczema: {title: eczema, plain: again}\n", r"line \d+: 'eczema' is defined twice"),
        (CLASSES + "  acne: {title: acne, plain: spots, synonyms: [Dermatitis]}\n", "'Dermatitis' belongs to both eczema and acne"),
        (CLASSES + "critical: eczema\n", "'eczema' is not malignant"),
        (CLASSES + "critical: acne\n", "'acne' is not one of the classes"),
        (CLASSES + "order: [eczema]\n", "order: unknown key"),
        (CLASSES + "excluded: {dermatitis: unclear}\n", "'dermatitis' also belongs to eczema"),
        ("description: one\nclasses:\n  eczema: {title: e, plain: e}\n", "two or more classes"),
        (
            "description: s\nclasses: {Eczema: {title: e, plain: e}, acne: {title: a, plain: a}}\n",
            "'Eczema' must be in small letters",
        ),
        ("classes: [eczema, acne]\n", "classes"),
        ("- eczema\n", "must be a mapping"),
        ("{", "is not a label set in YAML"),
    ],
)
def test_bad_label_set_is_refused_with_file_and_reason(tmp_path, text, message):
    path = tmp_path / "rash.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LesionflowError, match=message) as refused:
        read_definition(path)
    assert str(refused.value).startswith(str(path))


def test_own_label_set_without_malignant_class(tmp_path):
    (tmp_path / "rash.yaml").write_text(CLASSES, encoding="utf-8")
    found = choose_definition("auto", tmp_path, ["eczema/1.jpg", "psoriasis/2.jpg", "Dermatitis/3.jpg"], None, tmp_path)
    assert found.name == "rash"
    assert found.label_set(["psoriasis", "eczema"]).outputs == ("eczema", "psoriasis")
    assert found.label_set(["psoriasis", "eczema"]).critical is None
    with pytest.raises(LesionflowError, match="two or more classes; of label set rash"):
        found.label_set(["eczema"])


def test_label_set_without_a_class_for_most_images_stops_and_names_those_that_fit(tmp_path):
    paths = [f"{name}/{number}.jpg" for name in HAM10000 for number in range(3)]
    with pytest.raises(LesionflowError, match=r"label set pad6 has no class for 12 of 21 images: 3 of akiec.* fit all: ham7, binary"):
        choose_definition("pad6", tmp_path, paths, None, ROOT / "labels")
    with pytest.raises(LesionflowError, match="there is no label set 'ham8'"):
        choose_definition("ham8", tmp_path, paths, None, ROOT / "labels")
    with pytest.raises(LesionflowError, match=r"no label set in .* fits the dataset: 1 of eczema"):
        choose_definition("auto", tmp_path, ["eczema/1.jpg"], None, ROOT / "labels")


def test_dataset_file_names_the_label_set_of_auto(tmp_path):
    (tmp_path / "dataset.yaml").write_text("label_set: binary\n", encoding="utf-8")
    assert choose_definition("auto", tmp_path, ["nevus/1.jpg", "melanoma/2.jpg"], None, ROOT / "labels").name == "binary"
    (tmp_path / "dataset.yaml").write_text("- binary\n", encoding="utf-8")
    with pytest.raises(LesionflowError, match=r"dataset\.yaml must be a mapping"):
        choose_definition("auto", tmp_path, ["nevus/1.jpg"], None, ROOT / "labels")
