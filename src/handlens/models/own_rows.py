"""A torchvision classifier's own way from its feature map to one row: all but its last layer."""

from torch import Tensor, nn

CLASSIFIERS = ("classifier", "fc", "head", "heads")
"""What torchvision's networks call the part that ends in the scores."""


def classifier_of(network: nn.Module) -> tuple[str, nn.Module]:
    """The part that ends in the scores, with its name."""
    return next((name, part) for name, part in network.named_children() if name in CLASSIFIERS)


def last_layer(network: nn.Module) -> str:
    """The name of the layer that gives the scores, which a new head takes the place of."""
    classifier, part = classifier_of(network)
    # SqueezeNet pools after its last layer.
    children = [name for name, child in part.named_children() if next(child.parameters(), None) is not None]
    children = children if isinstance(part, nn.Sequential) else []
    return f"{classifier}.{children[-1]}" if children else classifier


def map_to_row(network: nn.Module) -> nn.Module:
    """From the feature map (n, channels, height, width) to the row that the last layer would take.

    This is where VGG and AlexNet have most of their pretrained weights. SqueezeNet's last layer works on
    the map itself, so that nothing pretrained is left behind it.
    """
    if type(network).__name__ == "VisionTransformer":
        return ClassToken()
    _, part = classifier_of(network)
    layers = list(part.children())[:-1] if isinstance(part, nn.Sequential) else []
    if type(network).__name__ == "SqueezeNet":
        layers = []
    if not any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in layers):
        pool = getattr(network, "avgpool", None) or nn.AdaptiveAvgPool2d(1)
        # ConvNeXt normalises the map before it flattens it; everywhere else the row comes first.
        flat = [] if any(isinstance(layer, nn.Flatten) for layer in layers) else [nn.Flatten(1)]
        layers = [pool, *flat, *layers]
    dropout = getattr(network, "dropout", None)
    return nn.Sequential(*layers, *([dropout] if isinstance(dropout, nn.Dropout) else []))


class ClassToken(nn.Module):
    """The class token alone, out of a map in which it is laid beside every patch."""

    def forward(self, x: Tensor) -> Tensor:
        """The first half of the channels is the token, the same at every place."""
        return x[:, : x.shape[1] // 2, 0, 0]
