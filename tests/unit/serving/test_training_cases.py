import numpy as np
import pandas as pd
import pytest

from components.serving import training_cases
from tests.support.labels import CLASSES
from tests.support.splits import rows

ORIGINS = {"collection": "HAM10000", "license": "CC BY-NC 4.0", "attribution": None}


@pytest.fixture
def images():
    """Three images of each of five lesions a class."""
    return rows(5, 3).assign(**ORIGINS)


def made(images, seed=0, pictured=()):
    return training_cases.make_cases(images, CLASSES, pictured, training_cases.random_of_pixels(images, seed))


def test_equal_images_give_an_equal_index(images):
    first = training_cases.shuffled(images, training_cases.random_of_pixels(images, 3))
    second = training_cases.shuffled(images, training_cases.random_of_pixels(images.sample(frac=1, random_state=1), 3))
    pd.testing.assert_frame_equal(first, second)
    assert made(images) == made(images)
    assert made(images) != made(images, seed=1)


def test_order_of_rows_and_keys_depend_on_the_pixels(images):
    others = images.assign(pixels_sha256=[f"{digest}x" for digest in images["pixels_sha256"]])
    assert made(images).key != made(others).key
    orders = [training_cases.shuffled(one, training_cases.random_of_pixels(one, 0))["path"].tolist() for one in (images, others)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_images_of_one_lesion_have_one_key(images):
    keys = pd.Series(made(images).key)
    assert (keys.groupby(images["lesion_id"].to_numpy()).nunique() == 1).all()
    assert keys.nunique() == images["lesion_id"].nunique()


def test_lesions_of_two_patients_with_one_name_have_two_keys(images):
    named = images.assign(lesion_id="1", patient_id=np.where(np.arange(len(images)) % 2, "a", "b"))
    assert len(set(made(named).key)) == 2


def test_cases_tell_diagnosis_and_origin(images):
    images.loc[3:, "collection"] = "synthetic"
    cases = made(images, pictured=["synthetic"])
    assert [cases.diagnoses[number] for number in cases.diagnosis] == images["diagnosis"].tolist()
    assert [cases.origins[number].collection for number in cases.origin] == images["collection"].tolist()
    assert list(cases.thumbnail) == [False] * 3 + [True] * (len(images) - 3)
    assert cases.origins[0].attribution is None
