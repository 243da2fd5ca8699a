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
from benchmarks.training import Pictures, predict, train
from benchmarks.variants import PREPARATIONS, VARIANTS, Variant
from components import split
from components.core import catalog
from components.core.classes import CLASSES
from components.core.paths import DATA
from components.evaluation import bootstrap, metrics, shifts
from components.imaging import images
from components.runtime import renamed_params
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.tensorflow import load_tensorflow

NAME = "ablation"
DEFAULT, LAST = "default", "last weights"
SIDES = ("validation", "test")
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
    frames = {seed: dealt(settings, seed) for seed in {*given.seeds, *(row["seed"] for row in rows)}}
    for seed in given.seeds:
        for name, variant in chosen.items():
            if not any(is_of(row, name, variant, seed) for row in rows):
                row = measure(name, variant, seed, settings, frames[seed])
                rows.append({"variant": name, "seed": seed, "knobs": variant.plain(), **row})
                machine.write(NAME, {"machine": machine.described(), "table": lines(rows, frames), "rows": rows})
    document = machine.read(NAME)
    print(report(document) if document else "nothing was measured")


def replaced(variant: Variant, epochs: int) -> Variant:
    """The variant with this number of epochs."""
    return Variant(**{**variant.__dict__, "epochs": epochs})


def is_of(row: dict[str, Any], name: str, variant: Variant, seed: int) -> bool:
    """Whether the row was measured with exactly these params."""
    knobs = {**row["knobs"], "augment": with_new_names(row["knobs"]["augment"])}
    return bool(row["variant"] == name and row["seed"] == seed and knobs == variant.plain())


def with_new_names(augment: dict[str, Any] | None) -> dict[str, Any] | None:
    """Stored params of augmentation under the names that they have in params.yaml now."""
    if augment is None:
        return None
    return {(renamed_params.new_name(f"augment.{name}") or name).removeprefix("augment."): value for name, value in augment.items()}


def dealt(settings: Settings, seed: int) -> dict[str, pd.DataFrame]:
    """Images of each split for this seed, with columns "target" and "group"."""
    frame = catalog.usable()
    frame["side"] = split.deal(list(frame["diagnosis"]), frame["group"].to_numpy(), settings.split.test, settings.split.validation, seed)
    frame["target"] = frame["diagnosis"].map(CLASSES.index)
    return {side: frame[frame["side"] == side].reset_index(drop=True) for side in catalog.SIDES}


def measure(name: str, variant: Variant, seed: int, settings: Settings, sides: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Train once, and predict all validation and test images; seconds are for training only."""
    load_tensorflow()
    paths = pd.concat(sides.values())["path"]
    pictures = Pictures(
        {path: images.decode((DATA / path).read_bytes()) for path in tqdm(paths, desc="decoding", unit="image", mininterval=1)}, sides
    )
    trained = train(name, variant, seed, settings, pictures)
    prepare = PREPARATIONS[variant.preparation]
    seen = {side: pictures.fitted(side, variant.side, prepare) for side in SIDES}
    readings = {LAST: asked(trained.network, seen)}
    truth = pictures.targets("test")
    unshifted = balanced(truth, numbers(readings[LAST]["test"]))
    lost = {
        shift: unshifted
        - balanced(truth, numbers(guess(predict(trained.network, pictures.fitted("test", variant.side, chain(change, prepare))))))
        for shift, change in tqdm(shifts.SHIFTS.items(), desc="shifts", mininterval=5)
    }
    if name == DEFAULT:
        readings |= test_time(trained.network, pictures, variant.side, seen)
    readings |= {average: asked(trained.with_average(average), seen) for average in trained.averages}
    return {"seconds": round(trained.seconds), "lost_under_shift": lost, "readings": readings}


def chain(first: Any, then: Any) -> Any:
    """Compose two functions: apply `first`, then `then`."""
    return lambda image: then(first(image))


def asked(network: Any, seen: dict[str, NDArray[np.uint8]]) -> Predicted:
    """Predict the class of every image."""
    return {side: guess(predict(network, pixels)) for side, pixels in seen.items()}


def guess(logits: NDArray[np.floating]) -> str:
    if not np.isfinite(logits).all():
        raise SystemExit("error: training diverged, the network's outputs are not finite; no row was written")
    return "".join(map(str, logits.argmax(axis=1)))


def numbers(predicted: str) -> NDArray[np.int64]:
    return np.array(list(predicted), dtype=np.int64)


def test_time(network: Any, pictures: Pictures, size: int, seen: dict[str, NDArray[np.uint8]]) -> dict[str, Predicted]:
    """Predict classes by the mean logits of several views: four flips, eight symmetries, three center crops."""
    flips, symmetries, crops = {}, {}, {}
    for side, pixels in seen.items():
        upright = [predict(network, np.flip(pixels, axes)) for axes in FLIPS]
        turned = [predict(network, np.flip(pixels.swapaxes(1, 2), axes)) for axes in FLIPS]
        nearer = [predict(network, pictures.fitted(side, size, partial(shifts.zoom, factor=zoom))) for zoom in CROPS[1:]]
        flips[side], symmetries[side], crops[side] = (
            guess(np.mean(parts, axis=0)) for parts in (upright, upright + turned, [upright[0], *nearer])
        )
    return {"four flips": flips, "eight symmetries": symmetries, "three crops": crops}


def balanced(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Balanced accuracy of predicted classes."""
    return metrics.balanced_accuracy(truth, np.eye(len(CLASSES))[predicted])


def report(document: dict[str, Any]) -> str:
    """The results as a table."""
    head = list(document["table"][0])
    said = "Balanced accuracy; gains are on the default, in pairs, with 95 % intervals that resample lesions. Choose by validation."
    return f"{said}\n\n{tables.table(head, [[str(line[column]) for column in head] for line in document['table']])}"


def lines(rows: list[dict[str, Any]], frames: dict[int, dict[str, pd.DataFrame]]) -> list[dict[str, str | int]]:
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
            for side in SIDES:
                line |= {side: accuracy(by_seed, frames, side), f"{side} gain": gain(by_seed, base, frames, side)}
            line["worst shift"] = f"{losses[worst]:.3f} {worst}" if own else ""
            line["minutes"] = f"{np.mean([row['seconds'] for row in mine]) / 60:.1f}" if own else ""
            found.append(line)
    return found


def mean_loss(rows: list[dict[str, Any]], shift: str) -> float:
    return float(np.mean([row["lost_under_shift"][shift] for row in rows]))


def accuracy(by_seed: dict[int, Predicted], frames: dict[int, dict[str, pd.DataFrame]], side: str) -> str:
    """Mean balanced accuracy over the seeds."""
    return f"{np.mean([balanced(frames[seed][side]['target'].to_numpy(), numbers(found[side])) for seed, found in by_seed.items()]):.3f}"


def gain(by_seed: dict[int, Predicted], base: dict[int, Predicted], frames: dict[int, dict[str, pd.DataFrame]], side: str) -> str:
    """Mean gain in balanced accuracy over the default on their common seeds, with its paired bootstrap interval over lesions."""
    shared = [seed for seed in by_seed if seed in base]
    if not shared or by_seed is base or all(by_seed[seed] is base[seed] for seed in shared):
        return ""
    found, resampled = [], []
    for seed in shared:
        truth, groups = (frames[seed][side][column].to_numpy() for column in ("target", "group"))
        ours, theirs = (numbers(predicted[seed][side]) for predicted in (by_seed, base))
        found.append(balanced(truth, ours) - balanced(truth, theirs))
        samples = bootstrap.resamples(groups, RESAMPLES, seed)
        resampled.append([balanced(truth[at], ours[at]) - balanced(truth[at], theirs[at]) for at in samples])
    estimate = bootstrap.interval(float(np.mean(found)), np.mean(resampled, axis=0).tolist())
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


if __name__ == "__main__":
    main()
