from typing import get_args

import pytest

from components.core import architectures
from components.core.errors import LesionflowError
from components.modeling.backbone import PREPROCESSED, preprocess
from components.runtime.params import Backbone


def test_params_allow_exactly_the_known_architectures():
    allowed = get_args(Backbone.model_fields["architecture"].annotation)
    assert set(allowed) == set(architectures.LAYERS) == set(architectures.UNFREEZE_FROM) == set(PREPROCESSED)


@pytest.mark.parametrize(
    "call",
    [
        lambda: architectures.layers_of("VGG16"),
        lambda: architectures.unfreeze_from("VGG16", "auto"),
        lambda: preprocess(None, "VGG16", None, ()),
    ],
)
def test_unknown_architecture_error_lists_known_ones(call):
    with pytest.raises(LesionflowError, match=r"^architecture: 'VGG16' .*Use one of MobileNetV2, .*"):
        call()


def test_unfreeze_from_keeps_explicit_layer():
    assert architectures.unfreeze_from("VGG16", 3) == 3
