import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import ablation, training, variants

COUNTS = np.array([130, 500, 115, 500, 500, 500, 296, 197, 142])


def row(variant: str, wrong: int, seed: int = 0) -> dict:
    found = [number % 9 for number in range(90)]
    found[:wrong] = [(number + 1) % 9 for number in found[:wrong]]
    knobs = variants.VARIANTS[variant].plain()
    readings = {ablation.LAST: dict.fromkeys(ablation.COMPARED_SPLITS, "".join(map(str, found)))}
    return {
        "variant": variant,
        "seed": seed,
        "knobs": knobs,
        "seconds": 90,
        "lost_under_shift": {"blur": 0.01, "wide": 0.04},
        "readings": readings,
    }


@pytest.fixture
def frames():
    frame = pd.DataFrame({"target": [number % 9 for number in range(90)], "group": range(90)})
    return {0: dict.fromkeys(ablation.COMPARED_SPLITS, frame)}


def test_a_variants_gain_is_against_the_default_on_the_same_images(frames):
    default, mixup = ablation.table_rows([row("default", 18), row("mixup 0.3", 9)], frames)
    assert (default["validation"], default["validation gain"]) == ("0.800", "")
    assert (mixup["validation"], mixup["worst shift"], mixup["minutes"]) == ("0.900", "0.040 wide", "1.5")
    assert str(mixup["test gain"]).startswith("+0.100 [+0.0")


def test_a_row_counts_only_for_the_knobs_it_was_measured_with():
    variant = variants.VARIANTS["mixup 0.3"]
    assert ablation.matches(row("mixup 0.3", 0), "mixup 0.3", variant, 0)
    assert not ablation.matches(row("mixup 0.3", 0), "mixup 0.3", variant, 1)
    assert not ablation.matches(row("mixup 0.3", 0), "mixup 0.3", ablation.replaced(variant, 2), 0)


def test_a_training_that_diverged_is_no_row():
    with pytest.raises(SystemExit, match="diverged"):
        ablation.encode_classes(np.array([[0.1, np.nan]]))


@pytest.mark.parametrize("balance", ["weights", "root", "effective", "none"])
def test_class_weights_are_one_on_average_over_the_images(balance):
    weights = variants.class_weights(balance, COUNTS)
    assert (weights * COUNTS).sum() / COUNTS.sum() == pytest.approx(1)
    assert (weights[2] > weights[3]) == (balance != "none")


def test_a_row_with_the_old_names_of_params_is_of_its_variant():
    held, variant = row("mild augmentation", 0), variants.VARIANTS["mild augmentation"]
    held["knobs"]["augment"] |= {"aspect": held["knobs"]["augment"].pop("max_aspect_stretch")}
    held["knobs"]["augment"] |= {name: held["knobs"]["augment"].pop(f"{name}_probability") for name in ("blur", "jpeg", "vignette")}
    assert ablation.matches(held, "mild augmentation", variant, 0)
    assert not ablation.matches(held, "mild augmentation", variants.VARIANTS["stronger augmentation"], 0)


def test_colour_constancy_takes_the_lamps_colour_away():
    lit = np.random.default_rng(0).integers(60, 120, (40, 50, 3)) * np.array([1.2, 1.0, 0.8])
    channels = np.asarray(variants.shades_of_grey(Image.fromarray(lit.astype(np.uint8)))).mean(axis=(0, 1))
    assert channels.max() / channels.min() < 1.03


def test_hairs_are_filled_in_and_skin_is_left_alone():
    skin = np.full((60, 60, 3), 180, dtype=np.uint8)
    hairy = skin.copy()
    hairy[:, 30:32] = 40
    assert np.abs(np.asarray(variants.hair_removal(Image.fromarray(hairy))).astype(int) - 180).max() < 5
    assert np.array_equal(variants.hair_removal(Image.fromarray(skin)), skin)


def test_kept_views_come_again_in_other_symmetries_and_fresh_ones_never():
    rows = pd.DataFrame({"path": list("abcde"), "target": [0, 1, 2, 3, 4]})
    kept, fresh = (training.plan(rows, variants.Variant(epochs=12, kept_views=views), 0) for views in (3, 0))
    seen = [drawn for _, _, seeds, _ in kept for drawn in seeds]
    assert len({number for number, _ in seen}) == 3 * len(rows)
    assert len({turn for _, turn in seen}) == 8
    assert len({number for _, _, seeds, _ in fresh for number, _ in seeds}) == 12 * len(rows)
