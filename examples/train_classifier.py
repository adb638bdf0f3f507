"""Train a network to say what images show; its weights can then be the eyes of an agent.

    python examples/train_classifier.py                                        # handwritten digits, a minute
    python examples/train_classifier.py --backbone resnet18 --stem imagenet --batch-size 128 --epochs 12
    python examples/train_classifier.py --data imagefolder:FOLDER --canvas 64 --mixup 0.2
    python examples/train_classifier.py --augment affine --canvas 42 --stn     # turned, scaled, shifted digits
    python examples/train_classifier.py --resume                               # go on after Ctrl-C or a kill

Everything ends up in ``runs/<data>-<backbone>-s<seed>/``. To use what was learnt:

    make_backbone("impala", in_channels=1, image_size=28, weights="runs/digits-impala-s0/weights.pt", frozen=True)
"""

from __future__ import annotations

import sys

import torch
import tyro

from visionrl.supervised.classifier import ClassifierConfig, load_classifier, load_images, train_classifier


def main(config: ClassifierConfig) -> None:
    """Train a classifier, then show what it makes of a few validation images.

    Args:
        config: the run.
    """
    # Best weights by the validation split, one look at the test split, checkpoints, curves: all in there.
    run = train_classifier(config)

    # What a program does with the result: images in (uint8, channel-first), one score a class out.
    reader, names = load_classifier(run)
    images = load_images(config.data, "val", config.canvas)
    with torch.no_grad():
        shares = reader(images.pixels[:5]).softmax(1)
    for share, label in zip(shares, images.labels[:5], strict=True):
        best = int(share.argmax())
        print(f"is {names[label]:>12}, taken for {names[best]:>12} with probability {share[best]:.2f}")


if __name__ == "__main__":
    try:
        tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
    except ValueError as error:
        sys.exit(f"error: {error}")
