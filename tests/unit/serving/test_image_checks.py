import numpy as np
import pytest
from PIL import Image

from components.serving.image_checks import why_not_dermoscopic
from tests.support.images import textured
from tests.support.training_index import LIMITS

KEYBOARD = np.full((240, 320, 3), (43, 43, 43), dtype=np.uint8)
for top in range(10, 240, 30):
    for left in range(10, 320, 31):
        KEYBOARD[top : top + 22, left : left + 22] = (208, 208, 200)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.new("RGB", (320, 240), "white"), "a contrast of 0.0 gray levels"),
        (Image.new("RGB", (320, 240)), "a contrast of 0.0 gray levels"),
        (Image.new("RGB", (1, 1), "tan"), "1 x 1 px is smaller than 32 px a side"),
        (Image.fromarray(KEYBOARD), "of its pixels have one color"),
        (textured(1).convert("L").convert("RGB"), "black and white"),
    ],
    ids=["white", "black", "one pixel", "keyboard", "gray"],
)
def test_picture_that_is_not_dermoscopic(image, reason):
    assert reason in str(why_not_dermoscopic(image, LIMITS))


def test_colored_picture_with_structure_may_be_dermoscopic():
    assert why_not_dermoscopic(textured(1), LIMITS) is None
