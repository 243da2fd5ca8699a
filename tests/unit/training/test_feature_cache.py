"""Training on what frozen blocks gave once must end as training that runs them for every view."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from components.core.errors import LesionflowError
from components.modeling import backbone, serialization
from components.modeling.classifier import logits_model
from components.training import feature_cache, input_pipeline, loop, setup
from tests.support.images import noise
from tests.support.models import classifier as small_classifier
from tests.support.models import write_shards

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")

OPTIONS = input_pipeline.BatchOptions(8, dict.fromkeys(range(9), 1.0))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def base():
    """A base for tests that change nothing but what of it is trained."""
    return backbone.get_base(small_classifier("MobileNetV2"))


@pytest.mark.parametrize(
    ("start", "last"),
    [("block_3", "block_2_add"), ("block_13_depthwise", "block_13_pad"), ("block_16_project", "block_16_depthwise_relu")],
)
def test_the_cut_is_the_last_place_that_one_tensor_crosses(base, start, last):
    unfrozen = backbone.unfreeze(base, start)
    at = feature_cache.cut_layer_index(base)
    assert base.layers[at].name == last
    below = {layer.name for layer in base.layers[: at + 1]}
    assert not below & set(unfrozen)
    for layer in base.layers[at + 1 :]:
        assert not {source._keras_history.operation.name for source in feature_cache._inputs(layer)} & (below - {base.layers[at].name})


def test_within_a_residual_block_the_cut_moves_down_to_before_it(base):
    backbone.unfreeze(base, "block_5_project")
    assert base.layers[feature_cache.cut_layer_index(base)].name == "block_4_add"


def test_nothing_is_kept_where_nothing_is_frozen(base):
    backbone.unfreeze(base, 0)
    assert feature_cache.cut_layer_index(base) is None


def test_what_drops_units_at_random_is_never_kept():
    base = backbone.get_base(small_classifier("EfficientNetB0"))
    backbone.unfreeze(base, "block7a")
    below = base.layers[: feature_cache.cut_layer_index(base) + 1]
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in below)


@pytest.mark.parametrize("saved", [False, True])
def test_below_and_above_make_up_the_classifier_and_share_its_weights(saved, tmp_path):
    classifier = small_classifier("MobileNetV2")
    if saved:
        serialization.save_classifier(classifier, tmp_path / "m.keras")
        classifier = serialization.load_classifier(tmp_path / "m.keras")
    backbone.unfreeze(backbone.get_base(classifier), "block_6")
    at = feature_cache.cut_layer_index(backbone.get_base(classifier))
    pixels = np.stack([np.asarray(noise(number, 32)) for number in range(4)]).astype(np.float32)
    below, above = feature_cache.frozen_part(classifier, at), feature_cache.trainable_part(classifier, at)
    expected = logits_model(classifier)(pixels).numpy()
    assert np.allclose(above(below(pixels)).numpy(), expected, atol=1e-6)
    assert [id(v) for v in above.trainable_variables] == [id(v) for v in logits_model(classifier).trainable_variables]
    serialization.save_classifier(classifier, tmp_path / "again.keras")
    assert np.allclose(logits_model(serialization.load_classifier(tmp_path / "again.keras"))(pixels).numpy(), expected, atol=1e-6)


def test_training_on_kept_maps_ends_in_the_same_classifier(shards, tmp_path):
    def fitted(kept_in=None):
        classifier = small_classifier()
        backbone.unfreeze(backbone.get_base(classifier), "block_3")
        network, read = logits_model(classifier), partial(input_pipeline.training_batches, root=shards)
        if kept_in:
            at = feature_cache.cut_layer_index(backbone.get_base(classifier))
            network, read = (
                feature_cache.trainable_part(classifier, at),
                feature_cache.build_feature_cache(feature_cache.frozen_part(classifier, at), kept_in, "one", shards).batches,
            )
        setup.compile_classifier("multiclass", network, keras.optimizers.AdamW(0.001))
        data = loop.TrainingData(
            lambda epoch: read("train", "multiclass", OPTIONS, shuffle_seed=epoch), read("validation", "multiclass", OPTIONS)
        )
        history = loop.train_with_early_stopping(network, data, loop.EarlyStopping(2, 2), print)
        return history, classifier.get_weights()

    history, weights = fitted()
    kept_history, kept_weights = fitted(tmp_path / "maps")
    assert np.allclose(history, kept_history, rtol=1e-3, atol=1e-3)
    moved = [np.abs(one - other).max() for one, other in zip(weights, small_classifier().get_weights(), strict=True)]
    apart = [np.abs(one - other).max() for one, other in zip(weights, kept_weights, strict=True)]
    assert max(apart) < 0.1 * max(moved)


def test_views_come_in_the_order_of_the_shards_with_what_is_theirs(shards, tmp_path):
    classifier = small_classifier()
    backbone.unfreeze(backbone.get_base(classifier), "block_3")
    below = feature_cache.frozen_part(classifier, feature_cache.cut_layer_index(backbone.get_base(classifier)))
    kept = feature_cache.build_feature_cache(below, tmp_path / "maps", "one", shards)
    for seed in (None, 5):
        pairs = zip(
            kept.batches("train", "multiclass", OPTIONS, seed),
            input_pipeline.training_batches("train", "multiclass", OPTIONS, shards, seed),
            strict=True,
        )
        for (found, target, weight), (pixels, expected, even) in pairs:
            assert np.allclose(found, below(pixels), rtol=1e-2, atol=1e-3)
            assert np.array_equal(target, expected)
            assert np.array_equal(weight, even)
    assert kept.size > 33 * 2 * np.prod(below.output_shape[1:])


def test_kept_maps_are_taken_up_by_their_own_training_alone(shards, tmp_path, capsys):
    classifier = small_classifier()
    backbone.unfreeze(backbone.get_base(classifier), "block_3")
    below = feature_cache.frozen_part(classifier, feature_cache.cut_layer_index(backbone.get_base(classifier)))
    times = []
    for identity in ("one", "one", "other"):
        feature_cache.build_feature_cache(below, tmp_path / "maps", identity, shards)
        times.append((tmp_path / "maps/train.npy").stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]
    assert capsys.readouterr().out.count("reusing cached feature maps") == 1


def test_maps_that_do_not_fit_on_the_disk_are_not_begun(shards, tmp_path, monkeypatch):
    classifier = small_classifier()
    backbone.unfreeze(backbone.get_base(classifier), "block_3")
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(LesionflowError, match=r"finetune\.random_dihedral: true"):
        feature_cache.build_feature_cache(
            feature_cache.frozen_part(classifier, feature_cache.cut_layer_index(backbone.get_base(classifier))),
            tmp_path / "maps",
            "one",
            shards,
        )
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("change", [{"symmetry_seed": 1}, {"resize_to": 32}])
def test_options_that_change_the_views_are_refused(change, tmp_path):
    with pytest.raises(ValueError, match="unchanged views"):
        feature_cache.FeatureCache(tmp_path).batches("train", "multiclass", replace(OPTIONS, **change))
