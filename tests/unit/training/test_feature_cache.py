"""Training on cached features must give the same result as running the frozen blocks for every view."""

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
    """A base for tests that change only which layers are trainable."""
    return backbone.get_base(small_classifier("MobileNetV2"))


@pytest.mark.parametrize(
    ("start", "expected"),
    [("block_3", "block_2_add"), ("block_13_depthwise", "block_13_pad"), ("block_16_project", "block_16_depthwise_relu")],
)
def test_cut_layer_is_last_single_tensor_before_unfrozen_layers(base, start, expected):
    unfrozen = backbone.unfreeze(base, start)
    cut = feature_cache.cut_layer_index(base)
    assert base.layers[cut].name == expected
    frozen = {layer.name for layer in base.layers[: cut + 1]}
    assert not frozen & set(unfrozen)
    for layer in base.layers[cut + 1 :]:
        assert not {source._keras_history.operation.name for source in feature_cache._inputs(layer)} & (frozen - {base.layers[cut].name})


def test_cut_layer_moves_before_residual_block(base):
    backbone.unfreeze(base, "block_5_project")
    assert base.layers[feature_cache.cut_layer_index(base)].name == "block_4_add"


def test_cut_layer_is_none_without_frozen_layers(base):
    backbone.unfreeze(base, 0)
    assert feature_cache.cut_layer_index(base) is None


def test_frozen_part_excludes_dropout():
    base = backbone.get_base(small_classifier("EfficientNetB0"))
    backbone.unfreeze(base, "block7a")
    frozen_layers = base.layers[: feature_cache.cut_layer_index(base) + 1]
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in frozen_layers)


@pytest.mark.parametrize("saved", [False, True])
def test_frozen_and_trainable_parts_compose_to_classifier(saved, tmp_path):
    classifier = small_classifier("MobileNetV2")
    if saved:
        serialization.save_classifier(classifier, tmp_path / "m.keras")
        classifier = serialization.load_classifier(tmp_path / "m.keras")
    backbone.unfreeze(backbone.get_base(classifier), "block_6")
    cut = feature_cache.cut_layer_index(backbone.get_base(classifier))
    pixels = np.stack([np.asarray(noise(number, 32)) for number in range(4)]).astype(np.float32)
    frozen, trainable = feature_cache.frozen_part(classifier, cut), feature_cache.trainable_part(classifier, cut)
    expected = logits_model(classifier)(pixels).numpy()
    assert np.allclose(trainable(frozen(pixels)).numpy(), expected, atol=1e-6)
    assert [id(v) for v in trainable.trainable_variables] == [id(v) for v in logits_model(classifier).trainable_variables]
    serialization.save_classifier(classifier, tmp_path / "again.keras")
    assert np.allclose(logits_model(serialization.load_classifier(tmp_path / "again.keras"))(pixels).numpy(), expected, atol=1e-6)


def test_training_on_cached_features_matches_full_training(shards, tmp_path):
    def train(cache_folder=None):
        classifier = small_classifier()
        backbone.unfreeze(backbone.get_base(classifier), "block_3")
        network, read_batches = logits_model(classifier), partial(input_pipeline.training_batches, root=shards)
        if cache_folder:
            cut = feature_cache.cut_layer_index(backbone.get_base(classifier))
            network, read_batches = (
                feature_cache.trainable_part(classifier, cut),
                feature_cache.build_feature_cache(feature_cache.frozen_part(classifier, cut), cache_folder, "one", shards).batches,
            )
        setup.compile_classifier(network, keras.optimizers.AdamW(0.001))
        data = loop.TrainingData(
            lambda epoch: read_batches("train", OPTIONS, shuffle_seed=epoch),
            read_batches("validation", OPTIONS),
        )
        history = loop.train_with_early_stopping(network, data, loop.EarlyStopping(2, 2), print)
        return history, classifier.get_weights()

    history, weights = train()
    cached_history, cached_weights = train(tmp_path / "maps")
    assert np.allclose(history, cached_history, rtol=1e-3, atol=1e-3)
    changes = [np.abs(first - second).max() for first, second in zip(weights, small_classifier().get_weights(), strict=True)]
    differences = [np.abs(first - second).max() for first, second in zip(weights, cached_weights, strict=True)]
    assert max(differences) < 0.1 * max(changes)


def test_cached_batches_match_training_batches(shards, tmp_path):
    classifier = small_classifier()
    backbone.unfreeze(backbone.get_base(classifier), "block_3")
    frozen = feature_cache.frozen_part(classifier, feature_cache.cut_layer_index(backbone.get_base(classifier)))
    cache = feature_cache.build_feature_cache(frozen, tmp_path / "maps", "one", shards)
    for seed in (None, 5):
        pairs = zip(
            cache.batches("train", OPTIONS, seed),
            input_pipeline.training_batches("train", OPTIONS, shards, seed),
            strict=True,
        )
        for (features, target, weight), (pixels, expected_target, expected_weight) in pairs:
            assert np.allclose(features, frozen(pixels), rtol=1e-2, atol=1e-3)
            assert np.array_equal(target, expected_target)
            assert np.array_equal(weight, expected_weight)
    assert cache.size > 33 * 2 * np.prod(frozen.output_shape[1:])


def test_feature_cache_is_reused_only_for_same_configuration(shards, tmp_path, capsys):
    classifier = small_classifier()
    backbone.unfreeze(backbone.get_base(classifier), "block_3")
    frozen = feature_cache.frozen_part(classifier, feature_cache.cut_layer_index(backbone.get_base(classifier)))
    modification_times = []
    for config_hash in ("one", "one", "other"):
        feature_cache.build_feature_cache(frozen, tmp_path / "maps", config_hash, shards)
        modification_times.append((tmp_path / "maps/train.npy").stat().st_mtime_ns)
    assert modification_times[0] == modification_times[1] < modification_times[2]
    assert capsys.readouterr().out.count("reusing cached feature maps") == 1


def test_feature_cache_is_not_started_when_disk_is_too_small(shards, tmp_path, monkeypatch):
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
def test_feature_cache_rejects_options_that_change_views(change, tmp_path):
    with pytest.raises(ValueError, match="unchanged views"):
        feature_cache.FeatureCache(tmp_path).batches("train", replace(OPTIONS, **change))
