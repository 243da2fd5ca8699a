"""Both searches for the nearest points find the same, and `validate` says which one it uses."""

import numpy as np
import pytest

from components import validate
from components.data_quality import near_duplicates, nearest_points
from components.data_quality.nearest_points import exact_index, graph_index, index_for
from components.imaging import images
from components.imaging.appearance import THUMBNAIL_SIZE, thumbnail
from tests.support.images import textured
from tests.support.project import ROOT
from tests.support.validation import audit_folder

NEAR = 0.2
MIN_SCORE = 0.75


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """2,000 points in 20 dimensions, 500 of them close to another one."""
    random = np.random.default_rng(0)
    far = random.random((1500, 20), dtype=np.float32)
    return np.concatenate([far, far[:500] + random.normal(0, 0.01, (500, 20)).astype(np.float32)])


def thumbnails_with_copies(pictures) -> np.ndarray:
    """Thumbnails of the pictures, then of these mirrored and brightened."""
    plain = np.frombuffer(b"".join(thumbnail(picture) for picture in pictures), np.uint8).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return np.concatenate([plain, np.minimum(plain[:, :, ::-1] * 1.1, 255).astype(np.uint8)])


def test_graph_finds_the_neighbors_of_the_exact_search(points):
    exact, found = exact_index(points)(points, 4, NEAR), graph_index(points)(points, 4, NEAR)

    assert (exact[1][:500] < len(points)).sum() >= 1000
    equal = exact[1] == found[1]
    assert equal.mean() >= 0.999  # uniform points are farther apart than those of images, so the graph may miss one
    near = (exact[1] < len(points)) & equal
    assert np.allclose(exact[0][near], found[0][near], atol=1e-3)
    assert np.isinf(found[0][found[1] == len(points)]).all()


def test_graph_of_equal_points_is_equal(points):
    queries = [graph_index(points) for _ in range(2)]
    beyond = np.random.default_rng(1).random((500, 20), dtype=np.float32)

    (distances, positions), again = (query(beyond, 10, 9.0) for query in queries)

    assert (positions == again[1]).all()
    assert (distances == again[0]).all()


def test_many_equal_points_hide_few_others(points):
    """Equal points link to each other and hardly to the rest."""
    crowded = np.concatenate([np.zeros((2000, 20), np.float32), points])

    positions = graph_index(crowded)(points, 2, NEAR)[1]

    near = exact_index(crowded)(points, 2, NEAR)[1] < len(crowded)
    assert ((positions < len(crowded)) == near).mean() >= 0.99


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_leave_the_rest_empty(count, points):
    distances, positions = graph_index(points[:count])(points[:1], 4, NEAR)

    assert positions.tolist() == [[0, count, count, count]]
    assert distances[0].tolist() == [0, np.inf, np.inf, np.inf]


def test_building_leaves_the_number_of_threads(points):
    import faiss

    before = faiss.omp_get_max_threads()
    graph_index(points)

    assert faiss.omp_get_max_threads() == before


def test_both_find_the_same_pairs():
    thumbnails = thumbnails_with_copies([textured(seed) for seed in range(40)])

    exact, found = (near_duplicates.find_near_pairs(thumbnails, MIN_SCORE, index) for index in (exact_index, graph_index))

    assert exact.indices.tolist() == [[number, number + 40] for number in range(40)]
    assert (exact.indices == found.indices).all()
    assert np.allclose(exact.scores, found.scores, atol=0.01)  # one may align the first to the second, the other the second to the first


@pytest.mark.slow
def test_both_find_the_same_candidates_in_the_sample():
    pictures = [images.decode(path.read_bytes()) for path in sorted((ROOT / "data").glob("*/*.jpg"))]
    thumbnails = thumbnails_with_copies(pictures)
    assert len(thumbnails) > 1000

    exact, found = (near_duplicates.candidate_pairs(thumbnails, index) for index in (exact_index, graph_index))

    assert {tuple(sorted(pair)) for pair in exact.tolist()} == {tuple(sorted(pair)) for pair in found.tolist()}


def test_validate_searches_many_images_with_the_graph(make_dataset, tmp_path, settings, monkeypatch, capsys):
    root = make_dataset(tmp_path / "data")
    limits = settings.validation.model_copy(update={"min_images_per_class": 2})
    expected = audit_folder(root, limits)[0]
    assert capsys.readouterr().out == ""
    built = []
    monkeypatch.setattr(nearest_points, "MANY", 10)
    monkeypatch.setattr(nearest_points, "graph_index", lambda points: built.append(len(points)) or graph_index(points))

    frame = audit_folder(root, limits)[0]

    assert built == [len(frame)]
    assert frame.equals(expected)
    assert capsys.readouterr().out == f"searching near-duplicates among {len(frame)} images with faiss-cpu, which may miss a few\n"


def test_search_without_faiss_is_exact_and_tells_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(nearest_points, "find_spec", lambda _: None)

    assert index_for(nearest_points.MANY) is exact_index
    assert capsys.readouterr().out == ""
    assert index_for(nearest_points.MANY + 1) is exact_index
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "100,001 images" in line
    assert "Run `pip install faiss-cpu`" in line
    assert validate.index_for is index_for
