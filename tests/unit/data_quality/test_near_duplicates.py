import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from components.data_quality import near_duplicates
from components.data_quality.scan import thumbnail
from tests.support.images import textured

MIN_SCORE = 0.75
IMAGES = 12


def jpeg(image, quality=85):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def stacked(images):
    return np.frombuffer(b"".join(thumbnail(image) for image in images), dtype=np.uint8).reshape(
        -1, near_duplicates.THUMBNAIL_SIZE, near_duplicates.THUMBNAIL_SIZE
    )


@pytest.fixture(scope="module")
def originals():
    return [textured(seed) for seed in range(IMAGES)]


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image.resize((image.width // 2, image.height // 2)),
        lambda image: jpeg(image, 40),
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        lambda image: image.transpose(Image.Transpose.ROTATE_90),
        lambda image: image.transpose(Image.Transpose.ROTATE_180),
        lambda image: image.transpose(Image.Transpose.ROTATE_270),
        lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        lambda image: image.crop((5, 4, image.width - 5, image.height - 4)),
        lambda image: image.crop((10, 0, image.width, image.height - 8)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    ],
    ids=["half size", "quality 40", "mirrored", "upside down", "90", "180", "270", "transverse", "crop", "corner crop", "brighter"],
)
def test_altered_copies_are_found_and_different_pictures_are_not(originals, alter):
    found = near_duplicates.find_near_pairs(stacked([*originals, *(jpeg(alter(image)) for image in originals)]), MIN_SCORE)
    assert found.indices.tolist() == [[number, number + IMAGES] for number in range(IMAGES)]
    assert (found.scores >= MIN_SCORE).all()


def test_an_image_equals_itself_in_every_orientation(originals):
    pixels = stacked(originals[:1]).astype(np.float32)
    turned = [near_duplicates._apply_symmetry(pixels, np.array([number]))[0] for number in range(8)]
    assert len({image.tobytes() for image in turned}) == 8
    described = near_duplicates.descriptors(np.stack(turned).astype(np.uint8))
    assert np.allclose(described, described[0], atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_have_no_pairs(originals, count):
    found = near_duplicates.find_near_pairs(stacked(originals)[:count], MIN_SCORE)
    assert found.indices.shape == (0, 2)
    assert found.scores.shape == (0,)


def test_more_copies_than_neighbours_are_asked_for_still_hang_together(originals):
    copies = [jpeg(originals[0], quality) for quality in range(50, 90, 2)]
    found = near_duplicates.find_near_pairs(stacked([*copies, *originals[1:]]), MIN_SCORE)
    reached = {0}
    for _ in copies:
        reached |= {other for pair in found.indices.tolist() if set(pair) & reached for other in pair}
    assert reached == set(range(len(copies)))


def test_flat_pictures_do_not_divide_by_zero():
    flat = np.full((3, near_duplicates.THUMBNAIL_SIZE, near_duplicates.THUMBNAIL_SIZE), 90, dtype=np.uint8)
    with np.errstate(all="raise"):
        assert len(near_duplicates.find_near_pairs(flat, MIN_SCORE).scores) == 0


def test_the_same_images_give_the_same_pairs(originals):
    some = stacked([*originals, *(jpeg(image) for image in originals)])
    first, again = (near_duplicates.find_near_pairs(some, MIN_SCORE) for _ in range(2))
    assert (first.indices == again.indices).all()
    assert (first.scores == again.scores).all()
