"""The `train` part of a recipe: what trains a head on kept features, and what trains a network."""

from typing import Literal, Self

from pydantic import Field, model_validator

from handlens.base.spec import Spec
from handlens.training.device import PrecisionChoice
from handlens.training.losses import LossSpec
from handlens.training.optim import OptimiserSpec, ScheduleSpec
from handlens.training.track import TrackerName


class FitSpec(Spec):
    """How weights are found."""

    epochs: int = Field(30, ge=1)
    """Passes over all views of all training pictures."""
    batch_size: int | None = Field(None, ge=2)
    """Pictures a step; without it 256 for a head on kept features (fewer where pictures are few, so that
    an epoch has ten steps) and 32 for a network."""
    patience: int | None = Field(10, ge=1)
    """Where there is a validation side: stop after so many epochs without a better loss on it."""
    mixup: float = Field(0.0, ge=0)
    """How strongly pairs of pictures are blended in training; 0 for not at all, 0.4 for a fair amount."""
    cutmix: float = Field(0.0, ge=0)
    """How strongly parts of pictures are pasted into others, where a network trains; 1 is usual."""
    balanced: bool = False
    """Show every class equally often, however many pictures it has."""
    loss: LossSpec = LossSpec()
    """What training makes small."""
    optimiser: OptimiserSpec = OptimiserSpec()
    """How the weights follow the loss."""
    schedule: ScheduleSpec = ScheduleSpec()
    """How the learning rate changes."""
    average: float | None = Field(None, gt=0, lt=1)
    """Judge by an average of the weights over the steps, with this decay; 0.99 is about 100 steps."""
    clip: float | None = Field(None, gt=0)
    """The largest norm of the gradient; longer ones are shortened to it."""
    gather: int = Field(1, ge=1)
    """Batches whose gradients are gathered for one step, where a larger batch does not fit the memory."""


class TrainSpec(FitSpec):
    """How what trains is trained: the head on kept features, or the network where not all is frozen."""

    seed: int = Field(0, ge=0)
    """Start of the head's first weights, of the order of the pictures and of all that is random."""
    folds: int = Field(5, ge=0)
    """Without a validation side: parts for cross-validation on the training side; 0 for none."""
    head_first: FitSpec | None = None
    """Train the head on kept features before, with these settings; then all that is not frozen from there."""
    beside_head: Literal["never", "always", "auto"] = "never"
    """After head_first: whether pictures are judged by the mean of the network as it was, with the head
    trained first, and of the network; `auto` lets validation decide."""
    task_weights: dict[str, float] = Field(default_factory=dict)
    """What the loss of a further task (data.tasks) counts, by its name; 1 where nothing is said."""
    precision: PrecisionChoice = "auto"
    """Arithmetic of the network: `auto` takes bfloat16 where the processor has it."""
    compile: bool = False
    """Let PyTorch compile the network that trains: a minute at first, then faster on GPUs."""
    keep_gib: float = Field(8.0, ge=0)
    """Largest room on disk for the decoded pictures, or the activations, of a network that trains."""
    track: tuple[TrackerName, ...] = ()
    """Also follow the run with these, `tensorboard` and `mlflow`, in stores beside the run folder."""

    @model_validator(mode="after")
    def _head_first(self) -> Self:
        if self.beside_head != "never" and self.head_first is None:
            raise ValueError(
                "beside_head needs a head that is trained first: give head_first, or leave it out"
            )
        if self.head_first is not None and self.head_first.cutmix:
            raise ValueError("head_first.cutmix cuts boxes out of maps, and a head sees rows: use mixup")
        return self

    @property
    def judges_beside(self) -> tuple[bool, ...]:
        """The ways of judging, by the network alone or beside itself as it was, to choose from."""
        return {"never": (False,), "always": (True,), "auto": (False, True)}[self.beside_head]
