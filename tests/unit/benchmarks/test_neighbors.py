"""The comparison of the two searches for candidates of near-duplicates."""

import numpy as np
import pytest

from benchmarks import neighbors
from components.imaging.appearance import THUMBNAIL_SIZE, thumbnail
from tests.support.images import textured


@pytest.fixture(scope="module")
def case() -> neighbors.Case:
    pictures = b"".join(thumbnail(textured(seed)) for seed in range(60))
    return neighbors.made_case(np.frombuffer(pictures, np.uint8).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE), 100)


def test_case_has_copies_in_its_sample(case):
    assert case.size == 100
    assert len(case.crops) == 7
    assert case.copies.tolist() == [[number, number + 5] for number in range(5)]
    assert np.isin(case.copies, case.asked).all()


def test_both_searches_find_the_copies_among_few_images(case):
    row = neighbors.compared(case)

    assert row["graph"]["recall"] == 1
    assert row["exact"]["pairs"] >= 5
    assert row["exact"]["copies_found"] == row["graph"]["copies_found"] == 1
    assert "| 100 " in neighbors.report({"sizes": [row], "settings": [], "machine": "this one"})


def test_recall_counts_missing_pairs(case, monkeypatch):
    monkeypatch.setattr(neighbors.nearest_points, "graph_index", lambda points: lambda *_: (None, np.full((len(points), 4), len(points))))

    row = neighbors.compared(case)

    assert (row["graph"]["recall"], row["graph"]["copies_found"]) == (0, 0)
