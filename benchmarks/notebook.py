"""Compare the original notebook, trained on the split in build/, with the candidate on the same test images.

Its choices are kept, faults included: pixels in 0 to 1 where the base expects -1 to 1, ten outputs for nine classes, augmented
validation images, a learning rate that only grows, no fine-tuning. What it could not keep is its split, which put one lesion on
both sides. Run `dvc repro` first, on images of the nine diagnoses, then this from the project's root.
"""

import argparse
import time
from dataclasses import asdict
from typing import Any

import pandas as pd

from benchmarks.harness import machine
from benchmarks.harness.labels import CLASSES, ISIC9
from components.core import catalog
from components.core.files import require_file
from components.core.label_set import LabelSet
from components.core.paths import CANDIDATE, DATA, PREDICTIONS_FILENAME
from components.evaluation import bootstrap
from components.evaluation.predictions import Predictions, paired_difference
from components.modeling.determinism import seed_generators
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.tensorflow import load_tensorflow
from components.training import setup

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "critical_sensitivity")
WARP = {
    "rotation_range": 40,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 0.2,
    "zoom_range": 0.2,
    "horizontal_flip": True,
    "fill_mode": "nearest",
}
SIZE, BATCH, PATIENCE = 224, 32, 5


def main() -> None:
    """Train, compare, print a table, and write it under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=24, help="maximum number of epochs, as in the notebook (default: %(default)s)")
    given = parser.parse_args()
    described, settings = machine.describe(), load()
    labels = LabelSet.load()
    if labels.identity != ISIC9.identity or settings.base.architecture != "MobileNetV2" or settings.base.image_size != SIZE:
        parser.error(
            "the notebook supports only the nine classes of isic9 and MobileNetV2 at 224 pixels. Set labels and backbone in params.yaml."
        )
    ours = Predictions.of_table(pd.read_parquet(require_file(CANDIDATE / PREDICTIONS_FILENAME)), labels)
    load_tensorflow()
    theirs, seconds, epochs = trained(settings, ours.images, given.epochs)
    samples = bootstrap.cluster_bootstrap_indices(ours.images["group"].to_numpy(), settings.evaluate.bootstrap_resamples, settings.seed)
    bins = settings.evaluate.calibration_bins
    candidate, notebook = (scored.estimates(FIGURES, samples, bins) for scored in (ours, theirs))
    table = {
        name: {
            "candidate": asdict(candidate[name]),
            "notebook": asdict(notebook[name]),
            "gain": asdict(paired_difference(ours, theirs, name, samples, bins)),
        }
        for name in FIGURES
    }
    print(f"{len(ours.images)} test images, seed {settings.seed}; the notebook trained {epochs} epochs in {seconds:.0f} s on {described}\n")
    print(f"{'':<24}{'candidate':<25}{'notebook':<25}candidate less notebook")
    for name, row in table.items():
        cells = [f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" for cell in row.values()]
        print(f"{name.replace('_', ' '):<24}{cells[0]:<25}{cells[1]:<25}{cells[2]}")
    result = {"machine": described, "seed": settings.seed, "training_seconds": round(seconds), "epochs": epochs, "figures": table}
    print(f"written to {machine.write('notebook', result)}")


def trained(settings: Settings, test: pd.DataFrame, epochs: int) -> tuple[Predictions, float, int]:
    """The notebook's probabilities for these images, its training time in seconds, and its number of epochs."""
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    seed_generators(settings.seed)
    network = build_network(settings)
    warped, plain = ImageDataGenerator(rescale=1 / 255, **WARP), ImageDataGenerator(rescale=1 / 255)
    train, validation = (image_batches(catalog.load_split(split), warped, settings.seed, shuffle=True) for split in ("train", "validation"))
    counts = catalog.load_split("train")["diagnosis"].value_counts().to_dict()
    start = time.perf_counter()
    history = network.fit(
        train,
        epochs=epochs,
        validation_data=validation,
        steps_per_epoch=train.samples // BATCH,
        validation_steps=validation.samples // BATCH,
        class_weight=setup.class_weights(counts, CLASSES),
        callbacks=[
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=PATIENCE, restore_best_weights=True),
            keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4 * 10 ** (epoch / 24)),
        ],
        verbose=2,
    ).history
    seconds = time.perf_counter() - start
    probabilities = network.predict(image_batches(test, plain, settings.seed, shuffle=False), verbose=0)
    return Predictions(test, probabilities[:, : len(CLASSES)], ISIC9), seconds, len(history["loss"])


def build_network(settings: Settings) -> Any:
    """The notebook's compiled network, on a frozen base."""
    import keras

    base = keras.applications.MobileNetV2(weights=settings.base.weights, include_top=False, input_shape=(SIZE, SIZE, 3))
    base.trainable = False
    network = keras.Sequential(
        [
            base,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1024, activation="relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def image_batches(rows: pd.DataFrame, generator: Any, seed: int, shuffle: bool) -> Any:
    """Batches of the images of these rows and their classes, as Keras' generator reads them."""
    return generator.flow_from_dataframe(
        rows,
        directory=str(DATA),
        x_col="path",
        y_col="diagnosis",
        classes=list(CLASSES),
        class_mode="sparse",
        target_size=(SIZE, SIZE),
        batch_size=BATCH,
        shuffle=shuffle,
        seed=seed,
    )


if __name__ == "__main__":
    main()
