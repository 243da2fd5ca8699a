import io
import subprocess
import sys
from concurrent.futures import Future

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from components import augment
from components.augmentation import preview, views
from components.augmentation.views import PlannedImage, ViewRenderer, plan_views, views_per_image
from components.core.errors import UnreadableImageError
from components.imaging import images
from components.imaging.model_input import ModelInput
from components.runtime import parallel
from tests.support.labels import CLASSES
from tests.support.project import ROOT


@pytest.fixture
def root(tmp_path, make_dataset):
    return make_dataset(tmp_path / "data", images=2)


@pytest.fixture
def rows(root):
    paths = [path.relative_to(root) for path in sorted(root.rglob("*.png"))]
    return pd.DataFrame([(path.as_posix(), path.parent.name) for path in paths], columns=["path", "diagnosis"])


def renderer(root, params, seed=0, size=32, resolution=None):
    return ViewRenderer(root, ModelInput(size, resolution), params, seed)


def pixels(view):
    with Image.open(io.BytesIO(view.png)) as image:
        return np.asarray(image)


def test_rarer_classes_get_more_views_up_to_limit():
    assert views_per_image({"nevus": 300, "melanoma": 100, "dermatofibroma": 10}, 2, 8) == {
        "nevus": 2,
        "melanoma": 6,
        "dermatofibroma": 8,
    }


def test_plan_views_covers_all_images_with_views_of_class():
    rows = pd.DataFrame({"path": ["a", "b", "c"], "diagnosis": ["nevus", "nevus", "melanoma"]})
    planned = plan_views(rows, {"nevus": 1, "melanoma": 3}, seed=0)
    assert sorted(planned) == [("a", "nevus", 1), ("b", "nevus", 1), ("c", "melanoma", 3)]


def test_views_depend_on_seed_and_not_on_number_of_processes(settings, root, rows):
    planned = plan_views(rows, dict.fromkeys(CLASSES, 3), seed=0)
    first, other = (
        [view for image in planned for view in renderer(root, settings.augment, seed).augmented_views(image)] for seed in (0, 1)
    )
    for count in (1, 3):
        with parallel.workers(views.__name__, count) as pool:
            assert list(parallel.stream_map(pool, renderer(root, settings.augment).augmented_views, planned)) == first
    assert not {view.png for view in first} & {view.png for view in other}
    assert len({view.png for view in first}) == len(first) == 54
    assert [(view.path, view.number) for view in first] == [(path, number) for path, _, views in planned for number in range(views)]


def test_more_views_do_not_change_first_ones(settings, root):
    few, more = (renderer(root, settings.augment).augmented_views(PlannedImage("nevus/nevus_0.png", "nevus", views)) for views in (2, 5))
    assert more[:2] == few


def test_stream_map_limits_pending_images():
    class Pool:
        waiting = 0

        def submit(self, function, image):
            self.waiting += 1
            assert self.waiting <= parallel.AHEAD
            future = Future()
            future.set_result(function(image))
            return future

    def as_list(image):
        return [image]

    pool, yielded = Pool(), []
    for image in parallel.stream_map(pool, as_list, range(3 * parallel.AHEAD)):
        pool.waiting -= 1
        yielded.append(image)
    assert yielded == list(range(3 * parallel.AHEAD))


def test_unreadable_image_in_worker_raises(settings, root):
    (root / "nevus/nevus_0.png").write_bytes(b"")
    with parallel.workers(views.__name__, 1) as pool, pytest.raises(UnreadableImageError, match="empty file"):
        list(parallel.stream_map(pool, renderer(root, settings.augment).clean_views, [PlannedImage("nevus/nevus_0.png", "nevus", 1)]))


def test_workers_end_when_stage_is_killed():
    code = "\n".join(
        [
            "import os, time",
            "from components.runtime.parallel import workers",
            "if __name__ == '__main__':",
            "    pool = workers('components.augmentation.views', 2)",
            "    print(*{pool.submit(os.getpid).result() for _ in range(4)}, flush=True)",
            "    time.sleep(60)",
        ]
    )
    stage = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    children = [psutil.Process(int(pid)) for pid in stage.stdout.readline().split()]
    assert children
    stage.kill()
    stage.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]


def test_clean_views_equal_model_input_of_serving(settings, root):
    (view,) = renderer(root, settings.augment, size=48).clean_views(PlannedImage("nevus/nevus_0.png", "nevus", 1))
    assert np.array_equal(pixels(view), images.load_pixels((root / "nevus/nevus_0.png").read_bytes(), 48))


def test_training_and_serving_use_same_resolution(settings, root):
    path = root / "nevus/nevus_0.png"
    (view,) = renderer(root, settings.augment, size=48, resolution=20).clean_views(PlannedImage("nevus/nevus_0.png", "nevus", 1))
    assert np.array_equal(pixels(view), images.load_pixels(path.read_bytes(), 48, 20))
    assert not np.array_equal(pixels(view), images.load_pixels(path.read_bytes(), 48))
    ranges = ("rotation", "shift", "shear", "brightness", "contrast", "saturation", "white_balance")
    probabilities = ("blur_probability", "sharpen_probability", "jpeg_probability", "vignette_probability")
    no_augmentation = settings.augment.model_copy(
        update={"flips": False, "zoom": (1, 1), "max_aspect_stretch": 1, **dict.fromkeys((*ranges, *probabilities), 0)}
    )
    (augmented,) = renderer(root, no_augmentation, size=48, resolution=20).augmented_views(PlannedImage("nevus/nevus_0.png", "nevus", 1))
    assert np.abs(pixels(augmented).astype(int) - pixels(view)).max() <= 1


def test_auto_resolution_is_short_side_of_nearly_all_images(tmp_path):
    for number, (width, height) in enumerate([(40, 30)] + [(150, 200)] * 30 + [(300, 256)] * 9):
        Image.new("RGB", (width, height)).save(tmp_path / f"{number}.jpg")
    rows = pd.DataFrame({"path": [f"{number}.jpg" for number in range(40)]})
    assert augment.one_resolution("auto", tmp_path, rows) == 150
    assert augment.one_resolution(128, tmp_path, rows) == 128
    assert augment.one_resolution(None, tmp_path, rows) is None


def test_preview_shows_training_views(settings, root, rows):
    grid = preview.write_preview(rows, renderer(root, settings.augment))
    assert list(grid) == [name.replace("_", " ") for name in CLASSES]
    original, *views = grid["nevus"]
    assert np.array_equal(original, images.load_pixels((root / "nevus/nevus_0.png").read_bytes(), 32))
    trained = renderer(root, settings.augment).augmented_views(PlannedImage("nevus/nevus_0.png", "nevus", 3))
    assert all(np.array_equal(shown, pixels(view)) for shown, view in zip(views, trained, strict=False))
    assert len(views) == preview.PREVIEW_VIEWS
