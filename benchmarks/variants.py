"""Ablation variants: each is the default with one change."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

MILD = {
    "shift": 0.08,
    "shear": 8,
    "zoom": (0.85, 1.18),
    "max_aspect_stretch": 1.0,
    "brightness": 0.12,
    "contrast": 0.15,
    "saturation": 0,
    "white_balance": 0,
    "blur_probability": 0,
    "jpeg_probability": 0,
    "vignette_probability": 0,
}
STRONG = {
    "shift": 0.15,
    "shear": 15,
    "zoom": (0.5, 2.2),
    "max_aspect_stretch": 1.5,
    "brightness": 0.35,
    "contrast": 0.35,
    "saturation": 0.4,
    "white_balance": 0.2,
    "blur_probability": 0.35,
    "jpeg_probability": 0.35,
    "vignette_probability": 0.3,
}


@dataclass(frozen=True)
class Variant:
    """Params of one training. `augment` overrides those of params.yaml; all other values are the defaults of the table."""

    augment: dict[str, Any] | None = None
    side: int = 128
    """Pixels. The default is smaller than the backbone's own size, so that the whole table takes hours on two cores."""
    first_side: int | None = None
    """Pixels in the first half of the epochs (progressive resizing)."""
    unfreeze_from: str | int = "block_3"
    learning_rate: float = 3e-4
    depth_decay: float = 1.0
    """Factor of the learning rate from each block to the one below (Howard and Ruder 2018)."""
    schedule: str = "cosine"
    """cosine: one epoch of warmup, then cosine decay to zero; or constant."""
    epochs: int = 16
    balance: str = "weights"
    """weights: class weights; root: their square roots; sampling: each class drawn alike; effective: weights by effective number (Cui
    et al. 2019, beta 0.999); logits: the loss sees logits plus log prior (Menon et al. 2021); none."""
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    focal: float = 0.0
    dropout: float = 0.3
    batch_size: int = 32
    pooling: str = "average"
    """average, or generalised: the cube root of the mean cube (Radenovic et al. 2018)."""
    randaugment: float = 0.0
    """Factor of Keras' RandAugment, two operations per view, in addition to the augmentation."""
    preparation: str = "none"
    """none; shades_of_grey: colour constancy; hair_removal."""
    kept_views: int = 0
    """Views rendered per image and reused with a random flip or 90-degree rotation; 0: every view is new."""
    hidden: tuple[int, ...] = ()
    """Widths of dense layers between features and logits."""
    teacher: float = 0.0
    """Share of the loss that is the cross-entropy with the probabilities of a previously trained model (Furlanello et al. 2018)."""

    def plain(self) -> Any:
        """The params as JSON types."""
        return json.loads(json.dumps(asdict(self)))


BASE = Variant()
VARIANTS = {
    "default": BASE,
    "mild augmentation": replace(BASE, augment=MILD),
    "stronger augmentation": replace(BASE, augment=STRONG),
    "six views an image, kept": replace(BASE, kept_views=6),
    "mixup 0.3": replace(BASE, mixup=0.3),
    "cutmix": replace(BASE, cutmix=1.0),
    "label smoothing 0.1": replace(BASE, label_smoothing=0.1),
    "32 epochs": replace(BASE, epochs=32),
    "whole network": replace(BASE, unfreeze_from=0),
    "from block_6": replace(BASE, unfreeze_from="block_6"),
    "from block_10": replace(BASE, unfreeze_from="block_10"),
    "rate 1e-3": replace(BASE, learning_rate=1e-3),
    "rate 1e-4": replace(BASE, learning_rate=1e-4),
    "rate 1e-3, 0.85 a block down": replace(BASE, learning_rate=1e-3, depth_decay=0.85),
    "160 px": replace(BASE, side=160),
    "224 px": replace(BASE, side=224),
    "96 px first": replace(BASE, first_side=96),
    "256 px": replace(BASE, side=256),
    "288 px": replace(BASE, side=288),
    "balanced sampling": replace(BASE, balance="sampling"),
    "logit adjustment": replace(BASE, balance="logits"),
    "class-balanced (effective number)": replace(BASE, balance="effective"),
    "class weights to the power of 0.5": replace(BASE, balance="root"),
    "no balancing": replace(BASE, balance="none"),
    "focal 2": replace(BASE, focal=2.0),
    "generalised mean pooling": replace(BASE, pooling="generalised"),
    "self-distillation": replace(BASE, teacher=0.5),
    "RandAugment": replace(BASE, randaugment=0.3),
    "shades of grey": replace(BASE, preparation="shades_of_grey"),
    "hair removal": replace(BASE, preparation="hair_removal"),
    "constant rate": replace(BASE, schedule="constant"),
    "hidden layer of 256": replace(BASE, hidden=(256,)),
    "dropout 0.5": replace(BASE, dropout=0.5),
    "batches of 64": replace(BASE, batch_size=64),
}


def shades_of_grey(image: Image.Image) -> Image.Image:
    """Correct the image for the light's color, estimated as the Minkowski mean of order 6 (Finlayson and Trezzi 2004)."""
    pixels = np.asarray(image, dtype=np.float64)
    lamp = ((pixels / 255) ** 6).mean(axis=(0, 1)) ** (1 / 6)
    white = lamp.mean() / np.maximum(lamp, 1e-3)
    return Image.fromarray(np.clip(np.rint(pixels * white), 0, 255).astype(np.uint8))


def hair_removal(image: Image.Image) -> Image.Image:
    """Fill thin dark lines with surrounding pixels, after DullRazor (Lee et al. 1997)."""
    pixels = np.asarray(image)
    lines = [np.eye(9, dtype=bool), np.eye(9, dtype=bool)[::-1], np.ones((1, 9), dtype=bool), np.ones((9, 1), dtype=bool)]
    grey = pixels.astype(np.float32).mean(axis=2)
    depth = np.max([ndimage.grey_closing(grey, footprint=line) for line in lines], axis=0) - grey
    hair = ndimage.binary_dilation(depth > 20)
    around = np.asarray(image.filter(ImageFilter.MedianFilter(9)))
    return Image.fromarray(np.where(hair[..., None], around, pixels).astype(np.uint8))


PREPARATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "shades_of_grey": shades_of_grey,
    "hair_removal": hair_removal,
}


POWERS = {"weights": 1.0, "root": 0.5}
"""Power of a class's inverse frequency, as in `train.class_weight_power`; 0 for other balancing methods and for none."""


def class_weights(balance: str, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight of each class's loss, with mean 1 over the images."""
    weights = (1 - 0.999) / (1 - 0.999**counts) if balance == "effective" else counts ** -POWERS.get(balance, 0.0)
    return weights * counts.sum() / (weights * counts).sum()
