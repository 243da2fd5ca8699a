"""Features of the frozen base."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from components import embed
from components.core.paths import FEATURES, SHARDS
from components.modeling import backbone, classifier
from tests.support.images import noise
from tests.support.models import classifier as small_classifier
from tests.support.models import write_label_set, write_shards

pytest.importorskip("keras")


@pytest.fixture
def run_embed(settings, tmp_path, monkeypatch):
    """A function that embeds three views of 24 images and returns the features of the training views and the image of each row."""
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path / SHARDS, views=3)
    write_label_set(tmp_path)
    monkeypatch.setattr(backbone, "build_extractor", lambda _: classifier.get_extractor(small_classifier()))
    monkeypatch.setattr(backbone, "weights_sha256", lambda _: "")

    def run(**params):
        embed.embed(settings.model_copy(update={"embed": settings.embed.model_copy(update=params)}))
        return np.load(FEATURES / "train.npy"), pd.read_parquet(FEATURES / "train.parquet")

    return run


@pytest.mark.parametrize(("views", "count"), [(1, 24), (2, 48), (9, 72)])
def test_first_views_of_each_image_are_embedded(run_embed, views, count):
    features, owners = run_embed(max_views_per_image=views)
    assert len(owners) == len(features) == count
    assert (owners.groupby("path")["view"].apply(sorted) == [list(range(min(views, 3)))] * 24).all()


def test_rows_of_features_match_their_images_without_progress_bar(run_embed, monkeypatch):
    monkeypatch.setattr(embed, "tqdm", partial(embed.tqdm, disable=True))
    features, owners = run_embed(max_views_per_image=1, batch_size=5)
    pixels = {f"{number}.jpg": np.asarray(noise(number, 32)) for number in range(24)}
    expected = classifier.inference_function(classifier.get_extractor(small_classifier()))(
        np.stack([pixels[path] for path in owners["path"]])
    )
    assert np.allclose(features, expected, atol=1e-5)
