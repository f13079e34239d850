"""How a network is taught: what decides the outcome, and nothing else."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Plan:
    """Two teachings of one plan see the same pictures in the same order."""

    network: str = "filters"
    teaching: str = "settings+pairs+patches"
    steps: int = 3600
    materials: int = 64
    """Materials a step."""
    views: int = 2
    """Pictures of each material; pairs want two."""
    size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: int = 200
    """Steps in which the learning rate rises."""
    cool_down: float = 0.3
    """The last share of the steps, in which it falls to zero."""
    average: float = 0.998
    """How much of the averaged weights stays at each step."""
    seed: int = 20261121

    def rate(self, step: int) -> float:
        """The learning rate of a step: up, level, down to zero (Hägele et al. 2024)."""
        left = (self.steps - step) / max(1.0, self.cool_down * self.steps)
        return self.learning_rate * min((step + 1) / max(1, self.warm_up), 1.0, left)

    def as_dict(self) -> dict[str, object]:
        """For the checkpoint, which serves only the plan that it was made by."""
        return asdict(self)
