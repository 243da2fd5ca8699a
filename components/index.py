"""Index the features of the training images, so that a version names similar cases and tells what is unlike anything in training.

Reads build/catalog.parquet, build/splits.parquet, build/candidate/, build/export/server.tflite and data/. Writes build/index/ and
reports/index.json: how many made pictures without a lesion are detected, and how many test images are taken for such.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from components.core import catalog, decision
from components.core.files import atomic_write, require_file
from components.core.paths import CANDIDATE, CATALOG, DATA, INDEX, INDEX_REPORT, MODEL_FILENAME, SERVER_NETWORK
from components.core.reports.candidate import Candidate
from components.core.reports.index import IndexReport
from components.core.reports.index_contents import Cases, ImageLimits, IndexContents, Novelty
from components.data_quality.dataset import has_clinical_photographs
from components.evaluation import halves, non_lesions, novelty
from components.evaluation.bootstrap import Resampling
from components.evaluation.novelty import Seen
from components.imaging import images
from components.imaging.model_input import ModelInput
from components.modeling import serialization
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.serving import activation, neighbours, training_cases
from components.serving.activation import Head
from components.serving.neighbours import Index, Neighbours
from components.serving.network import Network
from components.serving.sight import Eye, Sight

SIMILAR_CASES = 16
"""Cases that are named as similar: as many as readers saw in Tschandl et al. 2019, doi:10.1111/bjd.17189."""
SAME_PICTURE_DISTANCE = 0.02
"""Cosine distance up to which an image counts as a training image, at most. On isic9 (seed 3), rounding to float16 costs 1e-7 and saving as
JPEG again 0.014 at most; other pictures of a lesion of training are at 0.032 or more, test images at 0.059 or more."""
SAME_PICTURE_SHARE = 0.25
"""The same as a share of the smallest distance of a calibration image, none of which was in training."""
THUMBNAIL_SIZE, THUMBNAIL_QUALITY = 224, 85
"""Side in pixels, and Pillow's JPEG quality."""
PICTURES_PER_KIND = 40
"""Pictures made of each kind that shows no lesion."""


@dataclass(frozen=True)
class Found:
    """What the network and the index say about several images."""

    sights: list[Sight]
    neighbours: list[Neighbours]

    def seen(self, abstention_threshold: float) -> Seen:
        """The reasons to abstain from each image."""
        probabilities = np.stack([sight.probabilities for sight in self.sights])
        return Seen(
            not_dermoscopic=np.array([sight.fault is not None for sight in self.sights]),
            unlike_training=np.array([found.unlike_training for found in self.neighbours]),
            too_uncertain=decision.too_uncertain(probabilities, abstention_threshold),
        )


def training_images(seed: int) -> pd.DataFrame:
    """The training images with license and attribution, in a random order."""
    rows = catalog.load_split("train")
    known = pd.read_parquet(require_file(CATALOG)).set_index("path")[["license", "attribution"]]
    rows = rows.join(known, on="path")
    return training_cases.shuffled(rows, training_cases.random_of_pixels(rows, seed))


def look_at_files(eye: Eye, paths: Iterable[str], title: str) -> list[Sight]:
    """Look at images of data/, by their paths."""
    return [eye.at_file((DATA / path).read_bytes()) for path in tqdm(list(paths), desc=title, unit="image", mininterval=1)]


def image_limits(settings: Settings) -> ImageLimits | None:
    """The limits of `validate`; None if the dataset is one of clinical photographs."""
    if has_clinical_photographs(DATA):
        return None
    limits = settings.validation
    return ImageLimits(
        max_dominant_color_fraction=limits.max_dominant_color_fraction, min_contrast=limits.min_contrast, min_side=limits.min_side
    )


def make_index(features: NDArray[np.floating], cases: Cases, eye: Eye, settings: Settings) -> Index:
    """The index of the training images' features; its thresholds are from the calibration half of validation.

    None of these images was in training, so an image counts as a training image up to a share of their smallest distance, at most.

    Args:
        features: float16 (n, width), of unit length.
        cases: of each row.
        eye: looks at the validation images.
        settings: params.yaml.
    """
    validation = catalog.load_split("validation")
    calibration = validation[~halves.fitting_half(validation, settings.seed)]
    unknown = Novelty(calibration_images=len(calibration), lesion=novelty.LESION, max_share=settings.serve.max_novelty, threshold=None)
    contents = IndexContents(
        image_limits=eye.limits, novelty=unknown, same_picture_distance=SAME_PICTURE_DISTANCE, similar_cases=SIMILAR_CASES
    )
    searched = Index(contents, features, cases)
    found = [searched.search(sight.features) for sight in look_at_files(eye, calibration["path"], "validation")]
    threshold = novelty.novelty_threshold(np.array([near.distance for near in found]), settings.serve.max_novelty)
    same = min([SAME_PICTURE_DISTANCE, *(SAME_PICTURE_SHARE * near.similar[0].distance for near in found)])
    known = {"novelty": unknown.model_copy(update={"threshold": threshold}), "same_picture_distance": same}
    return Index(contents.model_copy(update=known), features, cases)


def write_index(folder: Path, index: Index, features: NDArray[np.float16], paths: Sequence[str]) -> None:
    """Write build/index/ to the folder. `features` and `paths` are of the training images, by row."""
    neighbours.write(folder, index.contents, features, index.cases)
    (folder / activation.FILE).write_bytes(read_head().to_bytes())
    (folder / neighbours.THUMBNAILS).mkdir()
    for row, path in enumerate(paths):
        if index.cases.thumbnail[row]:
            square = images.center_square_resize(images.decode((DATA / path).read_bytes(), THUMBNAIL_SIZE), THUMBNAIL_SIZE)
            Image.fromarray(square).save(folder / neighbours.thumbnail_name(row), "JPEG", quality=THUMBNAIL_QUALITY)


def read_head() -> Head:
    """The weights of the candidate's head."""
    classifier = serialization.load_classifier(CANDIDATE / MODEL_FILENAME)
    weights = [layer.get_weights() for layer in classifier.get_layer("head").layers if layer.get_weights()]
    return Head(tuple(kernel for kernel, _ in weights), tuple(bias for _, bias in weights))


def make_non_lesions(eye: Eye, test: pd.DataFrame, seed: int) -> dict[str, list[Sight]]:
    """Look at made pictures without a lesion, by kind; those that are made from images of lesions are made from test images."""
    random = np.random.default_rng(seed)
    examples = [eye.decode((DATA / path).read_bytes()) for path in test["path"].iloc[random.permutation(len(test))[:PICTURES_PER_KIND]]]
    found: dict[str, list[Sight]] = {}
    for kind, make in tqdm(non_lesions.KINDS.items(), desc="non-lesions", unit="kind", mininterval=1):
        found[kind] = [eye.at_image(make(random, examples[number % len(examples)])) for number in range(PICTURES_PER_KIND)]
    return found


def measure(index: Index, eye: Eye, candidate: Candidate, settings: Settings) -> IndexReport:
    """Measure the index on the test images and on made pictures."""

    def found(sights: list[Sight]) -> Found:
        return Found(sights, [index.search(sight.features) for sight in sights])

    images_, threshold, resamples = catalog.load_split("test"), candidate.abstention_threshold, settings.evaluate.bootstrap_resamples
    resampling = Resampling.of_groups(images_["group"].to_numpy(), resamples, settings.seed)
    test = found(look_at_files(eye, images_["path"], "test"))
    made = {kind: found(sights).seen(threshold) for kind, sights in make_non_lesions(eye, images_, settings.seed).items()}
    diagnoses = images_["diagnosis"].to_numpy(dtype=str)
    right = np.array([next(iter(near.counts)) for near in test.neighbours]) == diagnoses
    return IndexReport(
        detected=novelty.share_detected(Seen.joined(list(made.values())), resamples, settings.seed),
        false_alarms=novelty.measure_false_alarms(test.seen(threshold), diagnoses, resampling),
        groups=images_["group"].nunique(),
        images=len(images_),
        neighbour_accuracy=resampling.share(np.ones(len(right), dtype=bool), right),
        non_lesions=novelty.measure_non_lesions(made, resamples, settings.seed),
        novelty=index.contents.novelty,
        taken_for_training=sum(near.in_training for near in test.neighbours),
        training_images=len(index.cases.key),
        training_lesions=len(set(index.cases.key)),
    )


def index_training(settings: Settings) -> None:
    """Run the stage."""
    candidate = Candidate.read(CANDIDATE / "candidate.json")
    network = Network(require_file(SERVER_NETWORK).read_bytes(), os.cpu_count() or 1)
    eye = Eye(network, ModelInput(candidate.image_size, candidate.resolution), image_limits(settings))
    train = training_images(settings.seed)
    random = training_cases.random_of_pixels(train, settings.seed + 1)
    cases = training_cases.make_cases(train, candidate.outputs, settings.serve.similar_pictures, random)
    features = neighbours.unit_length(np.stack([sight.features for sight in look_at_files(eye, train["path"], "train")])).astype(np.float16)
    index = make_index(features, cases, eye, settings)
    report = measure(index, eye, candidate, settings)
    with atomic_write(INDEX) as draft:
        draft.mkdir()
        write_index(draft, index, features, train["path"].tolist())
    report.write(INDEX_REPORT)
    print_summary(report)


def print_summary(report: IndexReport) -> None:
    """Print what is detected, and what is falsely."""
    print(
        f"{report.training_images} training images of {report.training_lesions} lesions indexed;"
        f" made pictures without a lesion detected: {report.detected:.3f}; test images taken for such: {report.false_alarms.either:.3f}"
    )
    if report.novelty.threshold is None:
        print(
            f"warning: {report.novelty.calibration_images} calibration images are too few for serve.max_novelty"
            f" {report.novelty.max_share:g}: no image counts as unlike anything in training"
        )


if __name__ == "__main__":
    run(lambda: index_training(load()), __doc__, tensorflow=True)
