"""Layer names of each architecture's base, available without TensorFlow; tests compare them with Keras."""

from components.core.errors import LesionflowError

AUTO = "auto"


def _mobilenet() -> list[str]:
    def convolved(name: str) -> list[str]:
        return [f"{name}{part}" for part in ("", "_BN", "_relu")]

    layers = ["Conv1", "bn_Conv1", "Conv1_relu", *convolved("expanded_conv_depthwise"), *convolved("expanded_conv_project")[:2]]
    for number in range(1, 17):
        block = f"block_{number}"
        layers += convolved(f"{block}_expand")
        layers += [f"{block}_pad"] if number in (1, 3, 6, 13) else []  # halves the feature maps
        layers += [*convolved(f"{block}_depthwise"), *convolved(f"{block}_project")[:2]]
        layers += [] if number in (1, 3, 6, 10, 13, 16) else [f"{block}_add"]
    return [*layers, "Conv_1", "Conv_1_bn", "out_relu"]


def _efficientnet() -> list[str]:
    excitation = [f"se_{part}" for part in ("squeeze", "reshape", "reduce", "expand", "excite")]
    layers = ["stem_conv_pad", "stem_conv", "stem_bn", "stem_activation"]
    for stage, repeats in enumerate((1, 2, 2, 3, 3, 4, 1), start=1):
        for letter in "abcd"[:repeats]:
            expand = [] if stage == 1 else ["expand_conv", "expand_bn", "expand_activation"]
            pad = ["dwconv_pad"] if letter == "a" and stage in (2, 3, 4, 6) else []  # halves the feature maps
            skip = [] if letter == "a" else ["drop", "add"]
            parts = [*expand, *pad, "dwconv", "bn", "activation", *excitation, "project_conv", "project_bn", *skip]
            layers += [f"block{stage}{letter}_{part}" for part in parts]
    return [*layers, "top_conv", "top_bn", "top_activation"]


def _resnet() -> list[str]:
    layers = ["conv1_pad", "conv1_conv", "conv1_bn", "conv1_relu", "pool1_pad", "pool1_pool"]
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for block in range(1, blocks + 1):
            parts = [f"{number}_{part}" for number in (1, 2) for part in ("conv", "bn", "relu")]
            parts += ["0_conv", "3_conv", "0_bn", "3_bn"] if block == 1 else ["3_conv", "3_bn"]
            layers += [f"conv{stage}_block{block}_{part}" for part in (*parts, "add", "out")]
    return layers


LAYERS = {
    name: ("pixels", *layers)
    for name, layers in (("MobileNetV2", _mobilenet()), ("EfficientNetB0", _efficientnet()), ("ResNet50", _resnet()))
}
"""From the input, number 0, to the last feature maps."""
UNFREEZE_FROM = {"MobileNetV2": "block_3", "EfficientNetB0": "block3a", "ResNet50": "conv3_block1"}
"""Default first block to fine-tune: the first block whose feature maps have an eighth of the image's size."""
IMAGENET_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""Values of MobileNetV2's alpha for which Keras has ImageNet weights."""


def layers_of(architecture: str) -> tuple[str, ...]:
    """Names of the base's layers, in order.

    Raises:
        LesionflowError: the architecture is not one of LAYERS.
    """
    if architecture not in LAYERS:
        raise LesionflowError(f"architecture: {architecture!r} is not supported. Use one of {', '.join(LAYERS)}.")
    return LAYERS[architecture]


def unfreeze_from(architecture: str, start: str | int) -> str | int:
    """Resolve "auto" to the architecture's default block; any other name or layer number is returned unchanged.

    Raises:
        LesionflowError: "auto", and the architecture has no default block.
    """
    if start != AUTO:
        return start
    if architecture not in UNFREEZE_FROM:
        raise LesionflowError(f"architecture: {architecture!r} has no default block to unfreeze. Use one of {', '.join(UNFREEZE_FROM)}.")
    return UNFREEZE_FROM[architecture]


def layer_number(names: list[str], start: str | int) -> int:
    """Number of the layer `start`, or of the first layer of the block `start`.

    Args:
        names: names of the base's layers, in order.
        start: name of a layer or of a block (such as "block_13"), or a layer number.

    Raises:
        LesionflowError: the layer or block does not exist.
    """
    if isinstance(start, int):
        if start >= len(names):
            raise LesionflowError(
                f"finetune.unfreeze_from: {start} is greater than the number of the base's last layer, {len(names) - 1} ({names[-1]})"
            )
        return start
    for number, name in enumerate(names):
        if name == start or name.startswith(f"{start}_"):
            return number
    blocks = dict.fromkeys("_".join(name.split("_")[: 2 if name.startswith(("block_", "conv", "Conv_")) else 1]) for name in names[1:])
    raise LesionflowError(f"finetune.unfreeze_from: the base has no layer or block {start!r}. Its blocks are {', '.join(blocks)}")
