import numpy as np
import pytest

from components.imaging.symmetries import VIEW_COUNTS, symmetric_views

PIXELS = np.arange(5 * 5 * 3).reshape(5, 5, 3)


@pytest.mark.parametrize("count", VIEW_COUNTS)
def test_views_are_distinct_and_start_with_image_itself(count):
    views = symmetric_views(PIXELS, count)
    assert len({view.tobytes() for view in map(np.ascontiguousarray, views)}) == count
    assert np.array_equal(views[0], PIXELS)


@pytest.mark.parametrize("count", VIEW_COUNTS)
def test_view_of_image_has_same_views_as_image(count):
    same = {np.ascontiguousarray(view).tobytes() for view in symmetric_views(PIXELS, count)}
    for view in symmetric_views(PIXELS, count):
        assert {np.ascontiguousarray(found).tobytes() for found in symmetric_views(view, count)} == same


def test_several_images_are_viewed_at_once():
    several = np.stack([PIXELS, PIXELS + 1])
    for number, view in enumerate(symmetric_views(several, 8)):
        assert np.array_equal(view[1], symmetric_views(PIXELS + 1, 8)[number])


def test_two_views_are_mirrored_left_to_right():
    assert np.array_equal(symmetric_views(PIXELS, 2)[1], PIXELS[:, ::-1])


def test_other_count_is_refused():
    with pytest.raises(ValueError, match="3 views: allowed are 1, 2, 4, 8"):
        symmetric_views(PIXELS, 3)
