import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from components.data_quality import near_duplicates
from components.imaging.appearance import THUMBNAIL_SIZE, thumbnail
from tests.support.images import textured

MIN_SCORE = 0.75
IMAGES = 12


def jpeg(image, quality=85):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def thumbnails_of(images):
    return np.frombuffer(b"".join(thumbnail(image) for image in images), dtype=np.uint8).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE)


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
    ids=[
        "half size",
        "quality 40",
        "horizontal flip",
        "vertical flip",
        "90",
        "180",
        "270",
        "transverse",
        "crop",
        "corner crop",
        "brighter",
    ],
)
def test_find_near_pairs_matches_only_altered_copies(originals, alter):
    pairs = near_duplicates.find_near_pairs(thumbnails_of([*originals, *(jpeg(alter(image)) for image in originals)]), MIN_SCORE)
    assert pairs.indices.tolist() == [[number, number + IMAGES] for number in range(IMAGES)]
    assert (pairs.scores >= MIN_SCORE).all()


def test_descriptors_are_invariant_to_symmetries(originals):
    pixels = thumbnails_of(originals[:1]).astype(np.float32)
    variants = [near_duplicates._apply_symmetry(pixels, np.array([number]))[0] for number in range(8)]
    assert len({image.tobytes() for image in variants}) == 8
    descriptors = near_duplicates.descriptors(np.stack(variants).astype(np.uint8))
    assert np.allclose(descriptors, descriptors[0], atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_find_near_pairs_is_empty_for_few_distinct_images(originals, count):
    pairs = near_duplicates.find_near_pairs(thumbnails_of(originals)[:count], MIN_SCORE)
    assert pairs.indices.shape == (0, 2)
    assert pairs.scores.shape == (0,)


def test_find_near_pairs_connects_more_copies_than_neighbors(originals):
    copies = [jpeg(originals[0], quality) for quality in range(50, 90, 2)]
    pairs = near_duplicates.find_near_pairs(thumbnails_of([*copies, *originals[1:]]), MIN_SCORE)
    connected = {0}
    for _ in copies:
        connected |= {other for pair in pairs.indices.tolist() if set(pair) & connected for other in pair}
    assert connected == set(range(len(copies)))


def test_find_near_pairs_handles_flat_images():
    flat = np.full((3, THUMBNAIL_SIZE, THUMBNAIL_SIZE), 90, dtype=np.uint8)
    with np.errstate(all="raise"):
        assert len(near_duplicates.find_near_pairs(flat, MIN_SCORE).scores) == 0


def test_find_near_pairs_is_deterministic(originals):
    thumbnails = thumbnails_of([*originals, *(jpeg(image) for image in originals)])
    first, repeated = (near_duplicates.find_near_pairs(thumbnails, MIN_SCORE) for _ in range(2))
    assert (first.indices == repeated.indices).all()
    assert (first.scores == repeated.scores).all()
