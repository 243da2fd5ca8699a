"""What the frozen base is run over."""

import numpy as np
import pandas as pd
import pytest

from components import embed, model
from components.paths import FEATURES, SHARDS
from tests.small import classifier as small_classifier
from tests.small import write_shards

pytest.importorskip("keras")


@pytest.mark.parametrize(("views", "embedded"), [(1, 24), (2, 48), (9, 72)])
def test_each_image_is_embedded_in_its_first_views_alone(settings, tmp_path, monkeypatch, views, embedded):
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path / SHARDS, views=3)
    monkeypatch.setattr(model, "build_extractor", lambda _: model.extractor_of(small_classifier()))
    monkeypatch.setattr(model, "weights_identity", lambda _: "")
    embed.embed(settings.model_copy(update={"embed": settings.embed.model_copy(update={"views": views})}))
    owners = pd.read_parquet(FEATURES / "train.parquet")
    assert len(owners) == len(np.load(FEATURES / "train.npy")) == embedded
    assert (owners.groupby("path")["view"].apply(sorted) == [list(range(min(views, 3)))] * 24).all()
