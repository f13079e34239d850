"""How synthetic pictures are made, and how they are judged."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from handlens.base.spec import Spec
from handlens.data.operations import Affine, Brightness, Crop, Noise, Operation
from handlens.recipe import lay_over
from handlens.training.device import PrecisionChoice

WayName = Literal["diffusion", "blend", "augment"]

WAYS: dict[WayName, str] = {
    "diffusion": "a generative model",
    "blend": "cut-and-blend of defects",
    "augment": "strong augmentation",
}
"""The ways of making pictures, in words."""

DOWNS = 4
"""How often a picture is halved at most on its way through the network."""


def _listed(value: Any) -> Any:
    """Ways as they are written on the command line: "blend,augment", or "none"."""
    if not isinstance(value, str):
        return value
    names = [name.strip() for name in value.split(",") if name.strip()]
    return () if names == ["none"] else tuple(names)


class DiffusionSpec(Spec):
    """A small class-conditional network that learns to take noise away (Ho et al. 2020)."""

    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures that it learns and draws, in pixels; twice of it takes four times as long."""
    width: int = Field(32, ge=16, le=256, multiple_of=16)
    """Channels of its first layers; those below have up to four times as many."""
    steps: int = Field(3000, ge=1)
    """Steps of its training."""
    batch_size: int = Field(16, ge=1)
    """Pictures a step."""
    learning_rate: float = Field(2e-4, gt=0)
    """The largest step down the loss."""
    average: float = Field(0.999, gt=0, lt=1)
    """Pictures are drawn with an average of the weights over the steps, with this decay."""
    sampler_steps: int = Field(20, ge=2, le=1000)
    """Steps from noise to a picture; the sampler needs 10 to 30."""
    guidance: float = Field(1.5, ge=1, le=20)
    """How much more of the class is drawn than was learned; more is plainer and less various, 1 is none."""
    precision: PrecisionChoice = "auto"
    """Arithmetic of its training: `auto` takes bfloat16 where the processor has it."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each size of the map, from the whole picture down to about 8 pixels."""
        sides = [self.size]
        while len(sides) <= DOWNS and sides[-1] % 2 == 0 and sides[-1] > 8:
            sides.append(sides[-1] // 2)
        return tuple(self.width * times for times in (1, 2, 3, 4, 4)[: len(sides)])


class BlendSpec(Spec):
    """Cutting the defect out of one picture and blending it into another one of its class."""

    stands_out: float = Field(3.5, gt=0)
    """How far a defect must stand out, in robust standard deviations of what is usual in its picture."""
    scale: tuple[float, float] = (0.8, 1.25)
    """The least and the largest factor by which a defect is enlarged."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0.1 <= self.scale[0] <= self.scale[1] <= 10:
            raise ValueError("scale must lie between 0.1 and 10, the smaller number first")
        return self


class AugmentSpec(Spec):
    """Strong augmentation: all operations one after the other on each new picture."""

    operations: tuple[Operation, ...] = Field(
        (
            Affine(degrees=(0, 20), shear=(0, 12), scale=(0.8, 1.25), shift=(0, 0.12)),
            Crop(area=(0.6, 1)),
            Brightness(change=(0, 0.35)),
            Noise(deviation=(0.005, 0.04)),
        ),
        min_length=1,
    )
    """What is done, in this order; the flips of the synthesis come before."""


class SynthesisSpec(Spec):
    """How synthetic pictures are made, and how they are judged."""

    way: WayName = "diffusion"
    """The way whose pictures the folder is read by: `diffusion`, `blend` or `augment`."""
    beside: Annotated[tuple[WayName, ...], BeforeValidator(_listed)] = ("blend", "augment")
    """Other ways that as many pictures are made by, to be compared with."""
    flip_horizontal: bool = True
    """Left and right may be exchanged."""
    flip_vertical: bool = False
    """Top and bottom may be exchanged."""
    turn: bool = False
    """Quarter turns; for things without an up and down."""
    repeats: int = Field(3, ge=0, le=20)
    """Trainings with and without the pictures, each from another seed; 0: their worth is not measured."""
    seed: int = Field(0, ge=0)
    """Another seed draws other pictures."""
    diffusion: DiffusionSpec = DiffusionSpec()
    """The generative model."""
    blend: BlendSpec = BlendSpec()
    """Cut-and-blend."""
    augment: AugmentSpec = AugmentSpec()
    """Strong augmentation."""

    @classmethod
    def of(cls, settings: Iterable[str] = (), **values: Any) -> Self:
        """From values, those that are not None, with `a.b=c` settings laid over them."""
        nested = {name: value for name, value in values.items() if value is not None}
        for setting in settings:
            lay_over(nested, setting)
        return cls.parse(nested, "The synthesis")

    @classmethod
    def parted(cls, settings: Iterable[str]) -> tuple[list[str], list[str]]:
        """The `a.b=c` settings that are its own, and the others, which are the recipe's."""
        own: list[str] = []
        others: list[str] = []
        for setting in settings:
            first = setting.partition("=")[0].partition(".")[0].strip()
            (own if first in cls.model_fields else others).append(setting)
        return own, others

    @property
    def ways(self) -> tuple[WayName, ...]:
        """All ways, the chosen one first."""
        return (self.way, *(way for way in dict.fromkeys(self.beside) if way != self.way))
