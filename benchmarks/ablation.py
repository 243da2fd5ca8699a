"""Compare training variants: one training per variant and seed of the split, evaluated on validation and test.

Run `dvc repro validate` first, in a project with real images, then this command from its root. Each row is written as soon as it is
measured, and rows that exist are not measured again, so the benchmark can be interrupted and resumed. Choose by the validation
columns; test is only for reporting.
"""

import argparse
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.harness import machine, tables
from benchmarks.harness.labels import CLASSES
from benchmarks.training import Pictures, predict, train
from benchmarks.variants import PREPARATIONS, VARIANTS, Variant
from components.core import catalog
from components.core.paths import DATA
from components.evaluation import bootstrap, metrics, shifts
from components.imaging import images
from components.runtime import renamed_params
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.tensorflow import load_tensorflow
from components.splitting.folds import assign_splits

NAME = "ablation"
DEFAULT, LAST = "default", "last weights"
COMPARED_SPLITS = ("validation", "test")
FLIPS: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (1, 2))
CROPS = (1.0, 1.15, 1.3)
RESAMPLES = 1000
Predicted = dict[str, str]
"""Predicted classes of the validation and test images, one digit per image, in the order of their paths."""


def main() -> None:
    """Measure missing rows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME", help="(default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="seeds of the split (default: 0)")
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of every variant, for a quick run")
    given = parser.parse_args()
    settings = load()
    chosen = {name: VARIANTS[name] for name in given.variants}
    if given.epochs:
        chosen = {name: replaced(variant, given.epochs) for name, variant in chosen.items()}
    rows: list[dict[str, Any]] = (machine.read(NAME) or {"rows": []})["rows"]
    frames = {seed: split_frames(settings, seed) for seed in {*given.seeds, *(row["seed"] for row in rows)}}
    for seed in given.seeds:
        for name, variant in chosen.items():
            if not any(matches(row, name, variant, seed) for row in rows):
                row = measure(name, variant, seed, settings, frames[seed])
                rows.append({"variant": name, "seed": seed, "knobs": variant.plain(), **row})
                machine.write(NAME, {"machine": machine.describe(), "table": table_rows(rows, frames), "rows": rows})
    document = machine.read(NAME)
    print(report(document) if document else "nothing was measured")


def replaced(variant: Variant, epochs: int) -> Variant:
    """The variant with this number of epochs."""
    return Variant(**{**variant.__dict__, "epochs": epochs})


def matches(row: dict[str, Any], name: str, variant: Variant, seed: int) -> bool:
    """Whether the row was measured with exactly these params."""
    measured = {**row["knobs"], "augment": with_new_names(row["knobs"]["augment"])}
    return bool(row["variant"] == name and row["seed"] == seed and measured == variant.plain())


def with_new_names(augment: dict[str, Any] | None) -> dict[str, Any] | None:
    """Stored params of augmentation under the names that they have in params.yaml now."""
    if augment is None:
        return None
    return {(renamed_params.new_name(f"augment.{name}") or name).removeprefix("augment."): value for name, value in augment.items()}


def split_frames(settings: Settings, seed: int) -> dict[str, pd.DataFrame]:
    """Images of each split for this seed, with columns "target" and "group"."""
    frame = catalog.load_usable_images()
    frame["side"] = assign_splits(list(frame["diagnosis"]), frame["group"].to_numpy(), settings.split.test, settings.split.validation, seed)
    frame["target"] = frame["diagnosis"].map(CLASSES.index)
    return {split_name: frame[frame["side"] == split_name].reset_index(drop=True) for split_name in catalog.SPLIT_NAMES}


def measure(name: str, variant: Variant, seed: int, settings: Settings, by_split: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Train once, and predict all validation and test images; seconds are for training only."""
    load_tensorflow()
    paths = pd.concat(by_split.values())["path"]
    pictures = Pictures(
        {path: images.decode((DATA / path).read_bytes()) for path in tqdm(paths, desc="decoding", unit="image", mininterval=1)}, by_split
    )
    trained = train(name, variant, seed, settings, pictures)
    prepare = PREPARATIONS[variant.preparation]
    seen = {split_name: pictures.fitted(split_name, variant.side, prepare) for split_name in COMPARED_SPLITS}
    readings = {LAST: predict_classes(trained.network, seen)}
    truth = pictures.targets("test")
    unshifted = balanced(truth, decode_classes(readings[LAST]["test"]))
    lost = {
        shift: unshifted
        - balanced(
            truth, decode_classes(encode_classes(predict(trained.network, pictures.fitted("test", variant.side, compose(change, prepare)))))
        )
        for shift, change in tqdm(shifts.SHIFTS.items(), desc="shifts", mininterval=5)
    }
    if name == DEFAULT:
        readings |= test_time(trained.network, pictures, variant.side, seen)
    readings |= {average: predict_classes(trained.with_average(average), seen) for average in trained.averages}
    return {"seconds": round(trained.seconds), "lost_under_shift": lost, "readings": readings}


def compose(first: Any, then: Any) -> Any:
    """Compose two functions: apply `first`, then `then`."""
    return lambda image: then(first(image))


def predict_classes(network: Any, seen: dict[str, NDArray[np.uint8]]) -> Predicted:
    """Predict the class of every image."""
    return {split_name: encode_classes(predict(network, pixels)) for split_name, pixels in seen.items()}


def encode_classes(logits: NDArray[np.floating]) -> str:
    if not np.isfinite(logits).all():
        raise SystemExit("error: training diverged, the network's outputs are not finite; no row was written")
    return "".join(map(str, logits.argmax(axis=1)))


def decode_classes(predicted: str) -> NDArray[np.int64]:
    return np.array(list(predicted), dtype=np.int64)


def test_time(network: Any, pictures: Pictures, size: int, seen: dict[str, NDArray[np.uint8]]) -> dict[str, Predicted]:
    """Predict classes by the mean logits of several views: four flips, eight symmetries, three center crops."""
    flips, symmetries, crops = {}, {}, {}
    for split_name, pixels in seen.items():
        upright = [predict(network, np.flip(pixels, axes)) for axes in FLIPS]
        turned = [predict(network, np.flip(pixels.swapaxes(1, 2), axes)) for axes in FLIPS]
        nearer = [predict(network, pictures.fitted(split_name, size, partial(shifts.zoom, factor=zoom))) for zoom in CROPS[1:]]
        flips[split_name], symmetries[split_name], crops[split_name] = (
            encode_classes(np.mean(parts, axis=0)) for parts in (upright, upright + turned, [upright[0], *nearer])
        )
    return {"four flips": flips, "eight symmetries": symmetries, "three crops": crops}


def balanced(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Balanced accuracy of predicted classes."""
    return metrics.balanced_accuracy(truth, predicted)


def report(document: dict[str, Any]) -> str:
    """The results as a table."""
    head = list(document["table"][0])
    said = "Balanced accuracy; gains are on the default, in pairs, with 95 % intervals that resample lesions. Choose by validation."
    return f"{said}\n\n{tables.table(head, [[str(line[column]) for column in head] for line in document['table']])}"


def table_rows(rows: list[dict[str, Any]], frames: dict[int, dict[str, pd.DataFrame]]) -> list[dict[str, str | int]]:
    """One line per variant and prediction method, with the gain over the default on the same seeds and images."""
    base = {row["seed"]: row["readings"][LAST] for row in rows if row["variant"] == DEFAULT}
    found = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == name]
        losses = {shift: mean_loss(mine, shift) for shift in mine[0]["lost_under_shift"]}
        worst = max(losses, key=losses.__getitem__)
        for reading in mine[0]["readings"]:
            by_seed = {row["seed"]: row["readings"][reading] for row in mine}
            own = reading == LAST
            line: dict[str, str | int] = {"variant": name if own else f"{name}, {reading}", "seeds": len(mine)}
            for split_name in COMPARED_SPLITS:
                line |= {split_name: accuracy(by_seed, frames, split_name), f"{split_name} gain": gain(by_seed, base, frames, split_name)}
            line["worst shift"] = f"{losses[worst]:.3f} {worst}" if own else ""
            line["minutes"] = f"{np.mean([row['seconds'] for row in mine]) / 60:.1f}" if own else ""
            found.append(line)
    return found


def mean_loss(rows: list[dict[str, Any]], shift: str) -> float:
    return float(np.mean([row["lost_under_shift"][shift] for row in rows]))


def accuracy(by_seed: dict[int, Predicted], frames: dict[int, dict[str, pd.DataFrame]], split_name: str) -> str:
    """Mean balanced accuracy over the seeds."""
    per_seed = [
        balanced(frames[seed][split_name]["target"].to_numpy(), decode_classes(found[split_name])) for seed, found in by_seed.items()
    ]
    return f"{np.mean(per_seed):.3f}"


def gain(by_seed: dict[int, Predicted], base: dict[int, Predicted], frames: dict[int, dict[str, pd.DataFrame]], split_name: str) -> str:
    """Mean gain in balanced accuracy over the default on their common seeds, with its paired bootstrap interval over lesions."""
    shared = [seed for seed in by_seed if seed in base]
    if not shared or by_seed is base or all(by_seed[seed] is base[seed] for seed in shared):
        return ""
    found, resampled = [], []
    for seed in shared:
        truth, groups = (frames[seed][split_name][column].to_numpy() for column in ("target", "group"))
        ours, theirs = (decode_classes(predicted[seed][split_name]) for predicted in (by_seed, base))
        found.append(balanced(truth, ours) - balanced(truth, theirs))
        samples = bootstrap.cluster_bootstrap_indices(groups, RESAMPLES, seed)
        resampled.append([balanced(truth[at], ours[at]) - balanced(truth[at], theirs[at]) for at in samples])
    estimate = bootstrap.percentile_interval(float(np.mean(found)), np.mean(resampled, axis=0).tolist())
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


if __name__ == "__main__":
    main()
