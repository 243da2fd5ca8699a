import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import ablation, training, variants

COUNTS = np.array([130, 500, 115, 500, 500, 500, 296, 197, 142])


def row(variant: str, wrong: int, seed: int = 0) -> dict:
    predicted = [number % 9 for number in range(90)]
    predicted[:wrong] = [(number + 1) % 9 for number in predicted[:wrong]]
    knobs = variants.VARIANTS[variant].plain()
    readings = {ablation.LAST: dict.fromkeys(ablation.COMPARED_SPLITS, "".join(map(str, predicted)))}
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


def test_table_rows_report_gain_over_default_on_same_images(frames):
    default, mixup = ablation.table_rows([row("default", 18), row("mixup 0.3", 9)], frames)
    assert (default["validation"], default["validation gain"]) == ("0.800", "")
    assert (mixup["validation"], mixup["worst shift"], mixup["minutes"]) == ("0.900", "0.040 wide", "1.5")
    assert str(mixup["test gain"]).startswith("+0.100 [+0.0")


def test_matches_requires_same_variant_seed_and_params():
    variant = variants.VARIANTS["mixup 0.3"]
    assert ablation.matches(row("mixup 0.3", 0), "mixup 0.3", variant, 0)
    assert not ablation.matches(row("mixup 0.3", 0), "mixup 0.3", variant, 1)
    assert not ablation.matches(row("mixup 0.3", 0), "mixup 0.3", ablation.replaced(variant, 2), 0)


def test_encode_classes_refuses_diverged_training():
    with pytest.raises(SystemExit, match="diverged"):
        ablation.encode_classes(np.array([[0.1, np.nan]]))


@pytest.mark.parametrize("balance", ["weights", "root", "effective", "none"])
def test_class_weights_average_one_over_images(balance):
    weights = variants.class_weights(balance, COUNTS)
    assert (weights * COUNTS).sum() / COUNTS.sum() == pytest.approx(1)
    assert (weights[2] > weights[3]) == (balance != "none")


def test_matches_accepts_former_param_names():
    result, variant = row("mild augmentation", 0), variants.VARIANTS["mild augmentation"]
    result["knobs"]["augment"] |= {"aspect": result["knobs"]["augment"].pop("max_aspect_stretch")}
    result["knobs"]["augment"] |= {name: result["knobs"]["augment"].pop(f"{name}_probability") for name in ("blur", "jpeg", "vignette")}
    assert ablation.matches(result, "mild augmentation", variant, 0)
    assert not ablation.matches(result, "mild augmentation", variants.VARIANTS["stronger augmentation"], 0)


def test_shades_of_grey_removes_color_cast():
    image_under_warm_light = np.random.default_rng(0).integers(60, 120, (40, 50, 3)) * np.array([1.2, 1.0, 0.8])
    channels = np.asarray(variants.shades_of_grey(Image.fromarray(image_under_warm_light.astype(np.uint8)))).mean(axis=(0, 1))
    assert channels.max() / channels.min() < 1.03


def test_hair_removal_fills_hairs_and_keeps_skin():
    skin = np.full((60, 60, 3), 180, dtype=np.uint8)
    hairy = skin.copy()
    hairy[:, 30:32] = 40
    assert np.abs(np.asarray(variants.hair_removal(Image.fromarray(hairy))).astype(int) - 180).max() < 5
    assert np.array_equal(variants.hair_removal(Image.fromarray(skin)), skin)


def test_plan_reuses_views_in_other_symmetries_and_never_fresh_ones():
    rows = pd.DataFrame({"path": list("abcde"), "target": [0, 1, 2, 3, 4]})
    reused, fresh = (training.plan(rows, variants.Variant(epochs=12, kept_views=views), 0) for views in (3, 0))
    draws = [draw for _, _, seeds, _ in reused for draw in seeds]
    assert len({number for number, _ in draws}) == 3 * len(rows)
    assert len({symmetry for _, symmetry in draws}) == 8
    assert len({number for _, _, seeds, _ in fresh for number, _ in seeds}) == 12 * len(rows)
