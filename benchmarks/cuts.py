"""Measure the speedup of fine-tuning with cached feature maps over running the frozen blocks for every view, for each cut.

Run `dvc repro` first, then this command from the project's root: it uses the images and the model in build/.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import machine, tables
from benchmarks.harness.labels import CLASSES
from benchmarks.harness.timing import interleaved_rounds, medians, timed
from components.core import architectures
from components.core.paths import FEATURE_CACHE, FROZEN, MODEL_FILENAME
from components.imaging import tfrecords
from components.imaging.tfrecords import ShardWriter, View, as_png
from components.modeling import backbone, serialization
from components.modeling.classifier import inference_function, logits_model
from components.modeling.determinism import seed_everything
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.tensorflow import load_tensorflow
from components.training import feature_cache, input_pipeline, setup

ROUNDS = 3
CUTS = ("block_3", "block_6", "block_10", "block_13", "block_16")
WEIGHTS = dict.fromkeys(range(len(CLASSES)), 1.0)


@dataclass(frozen=True)
class CutMeasurement:
    """Fine-tuning from one cut up, without and with the cache: the networks, and the feature cache."""

    below: Any
    on_maps: Any
    on_pictures: Any
    kept: feature_cache.FeatureCache
    bytes_per_view: float
    seconds_per_view: float


def main() -> None:
    """Measure, print a table, and write it under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=384, help="views per round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds whose median is taken (default: %(default)s)")
    given = parser.parse_args()
    described, settings = machine.describe(), load()
    load_tensorflow()
    seed_everything(settings.seed)  # deterministic kernels, as in the stage
    available = tfrecords.view_count("train")
    if available < given.images:
        parser.error(f"build/shards holds {available} training views: name fewer --images")
    names = dict.fromkeys([architectures.unfreeze_from(settings.base.architecture, settings.finetune.unfreeze_from), *CUTS])
    FEATURE_CACHE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cuts-", dir=FEATURE_CACHE.parent) as scratch:
        shards = write_shards(Path(scratch) / "shards", given.images, settings.base.image_size)
        cuts = {str(name): prepared(name, shards, Path(scratch) / f"maps-{name}") for name in names}
        rows = measured(settings, cuts, shards, given.images, given.rounds)
    document = {
        "machine": described,
        "backbone": settings.base.model_dump(exclude={"weights"}),
        "batch_size": settings.finetune.batch_size,
        "images": given.images,
        "rounds": given.rounds,
        "cuts": rows,
    }
    print(f"{report(document)}\n\nwritten to {machine.write('cuts', document)}")


def report(document: dict[str, Any]) -> str:
    """The results as a table."""
    base = document["backbone"]
    title = f"{base['architecture']} {base['alpha']} at {base['image_size']} px, batches of {document['batch_size']}; medians of"
    rows = [
        [
            name,
            f"{row['kept_maps_views_per_second']:.1f}",
            f"{row['pictures_views_per_second']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['share_below']:.2f}",
            f"{row['bytes_per_view'] / 1024:.0f}",
            f"{1000 * row['seconds_per_view']:.1f}",
        ]
        for name, row in document["cuts"].items()
    ]
    head = ["cut", "views/s on kept maps", "on pictures", "ratio", "forward cost below", "KiB a view", "ms a view to keep"]
    return f"{title} {document['rounds']} rounds of {document['images']} views on {document['machine']}\n\n{tables.table(head, rows)}"


def write_shards(folder: Path, images: int, image_size: int) -> Path:
    """Write shards with this number of training views, and one batch of validation views."""
    for split, count in (("train", images), ("validation", feature_cache.BATCH)):
        views = list(islice(tfrecords.read_views(split).as_numpy_iterator(), count))
        with ShardWriter(folder / split, CLASSES, len(views), image_size, seed=0) as writer:
            for view in views:
                writer.write(View(as_png(view["pixels"]), CLASSES[view["class"]], view["path"].decode("utf-8"), int(view["view"])))
    return folder


def prepared(name: str | int, shards: Path, folder: Path) -> CutMeasurement:
    """Build the feature cache of a cut and measure the time, and compile both networks."""
    import keras

    classifier = serialization.load_classifier(FROZEN / MODEL_FILENAME)
    backbone.unfreeze(backbone.get_base(classifier), name)
    at = feature_cache.cut_layer_index(backbone.get_base(classifier))
    if at is None:
        raise SystemExit(f"error: no frozen layers below {name}")
    below = feature_cache.frozen_part(classifier, at)
    start = time.perf_counter()
    kept = feature_cache.build_feature_cache(below, folder, str(name), shards)
    taken = time.perf_counter() - start
    networks = (feature_cache.trainable_part(classifier, at), logits_model(classifier))
    for network in networks:
        setup.compile_classifier(network, keras.optimizers.AdamW(1e-6))
    views = sum(tfrecords.view_count(split, shards) for split in feature_cache.CACHED_SPLITS)
    return CutMeasurement(below, *networks, kept, kept.size / views, taken / views)


def measured(settings: Settings, cuts: dict[str, CutMeasurement], shards: Path, images: int, rounds: int) -> dict[str, dict[str, float]]:
    """One row per cut; rounds are interleaved, so that drift affects all equally."""
    size = settings.finetune.batch_size
    options = input_pipeline.BatchOptions(size, WEIGHTS)
    pixels = np.concatenate([batch["pixels"] for batch in tfrecords.iter_batches("train", shards)]).astype(np.float32)

    def fitted(network: Any, batches: Any) -> Callable[[], int]:
        def run() -> int:
            network.fit(batches, verbose=0, shuffle=False)
            return images

        return run

    def forward(network: Any) -> Callable[[], int]:
        compute = inference_function(network)

        def run() -> int:
            for first in range(0, images, size):
                compute(pixels[first : first + size])
            return images

        return run

    runs = {("whole", "forward"): forward(next(iter(cuts.values())).on_pictures)}
    for name, cut in cuts.items():
        runs[name, "maps"] = fitted(cut.on_maps, cut.kept.batches("train", options, 0))
        runs[name, "pictures"] = fitted(cut.on_pictures, input_pipeline.training_batches("train", options, shards, 0))
        runs[name, "below"] = forward(cut.below)
    rates = medians(interleaved_rounds({key: timed(run) for key, run in runs.items()}, rounds))
    return {
        name: {
            "kept_maps_views_per_second": rates[name, "maps"],
            "pictures_views_per_second": rates[name, "pictures"],
            "ratio": rates[name, "maps"] / rates[name, "pictures"],
            "share_below": rates["whole", "forward"] / rates[name, "below"],
            "bytes_per_view": cut.bytes_per_view,
            "seconds_per_view": cut.seconds_per_view,
        }
        for name, cut in cuts.items()
    }


if __name__ == "__main__":
    main()
