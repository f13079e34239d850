"""Freezing: which of the pretrained weights do not train, and what else has to stand still with them."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from torch import nn

from handlens.base.errors import HandlensError
from handlens.base.spec import Spec
from handlens.models.edits import new_parameters
from handlens.models.roles import Stages, matches, no_such_path, stages, units

Norms = Literal["fixed", "frozen_only"]


class FreezeSpec(Spec):
    """What does not train: `all`, `none`, or one of the keys below; without any of them, all."""

    stages: int | None = Field(None, ge=0)
    """So many stages from the pictures on; a stage is the part of a network at one resolution."""
    share: float | None = Field(None, ge=0, le=1)
    """This share of the layers, from the pictures on, rounded down."""
    names: tuple[str, ...] = ()
    """Modules or weights by name; `*` is any piece of a name between dots, `**` crosses dots."""
    thaw_every: int | None = Field(None, ge=1)
    """After so many epochs each time, one more stage begins to train, the one nearest the head first."""
    norms: Norms = "frozen_only"
    """Batch norms that keep the statistics they came with: `frozen_only`, or all of them (`fixed`)."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [key for key in ("stages", "share", "names") if getattr(self, key) not in (None, ())]
        if len(given) > 1:
            raise ValueError(f"give only one of stages, share and names, not {' and '.join(given)}")
        return self

    @property
    def everything(self) -> bool:
        """Whether all that is pretrained begins frozen."""
        return self.stages is None and self.share is None and not self.names

    @property
    def always_everything(self) -> bool:
        """Whether nothing that is pretrained ever trains."""
        return self.everything and self.thaw_every is None


def _from_word(value: Any) -> Any:
    """`all` and `none` as what they stand for."""
    if isinstance(value, (str, int, float)):
        if value not in WORDS:
            raise ValueError("write all, none, {stages: 3}, {share: 0.6} or {names: [...]}")
        return WORDS[value]
    return value


WORDS: dict[Any, dict[str, Any]] = {"all": {}, "none": {"stages": 0}}


Freeze = Annotated[
    FreezeSpec, BeforeValidator(_from_word, json_schema_input_type=FreezeSpec | Literal["all", "none"])
]
"""The type of a recipe's key: a mapping, or one of the words `all` and `none`."""


def frozen_parameters(trunk: nn.Module, spec: FreezeSpec, epoch: int = 0) -> set[str]:
    """The names of the weights that do not train in an epoch; never of what edits brought in."""
    new = new_parameters(trunk)
    names = [name for name, _ in trunk.named_parameters() if name not in new]
    needs_stages = spec.stages is not None or spec.thaw_every is not None
    known = stages(trunk) if needs_stages else None
    frozen = _frozen_at_first(trunk, spec, names, known)
    if spec.thaw_every is None or known is None:
        return frozen
    waiting = sorted({known.of(name) for name in frozen})
    still = waiting[: max(0, len(waiting) - epoch // spec.thaw_every)]
    return {name for name in frozen if known.of(name) in still}


def _frozen_at_first(
    trunk: nn.Module, spec: FreezeSpec, names: Iterable[str], known: Stages | None
) -> set[str]:
    if spec.stages is not None and known is not None:
        if spec.stages > known.num:
            raise HandlensError(
                f"model.freeze.stages: {spec.stages} stages are to be frozen, but this network has "
                f"{known.num} (parts at one resolution). Give {known.num} or less, or a share of its layers, "
                "for example {share: 0.5}."
            )
        return {name for name in names if known.of(name) < spec.stages}
    if spec.share is not None:
        # A layer is a module with weights of its own.
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
        # The small number keeps 0.7 of 10 layers at 7.
        lower = set(layers[: int(spec.share * len(layers) + 1e-9)])
        return {name for name in names if name.rpartition(".")[0] in lower}
    if spec.names:
        return {name for pattern in spec.names for name in _named(trunk, pattern, names)}
    return set(names)


def _named(trunk: nn.Module, pattern: str, names: Iterable[str]) -> list[str]:
    """The weights that a pattern means, by their own name or by that of a module around them."""
    found = [name for name in names if any(matches(pattern, path) for path in _with_parents(name))]
    if not found:
        raise no_such_path(pattern, trunk)
    return found


def _with_parents(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def apply_freeze(trunk: nn.Module, spec: FreezeSpec, epoch: int = 0) -> set[str]:
    """Let train in this epoch what is to train, and nothing else; gives the names of what does not."""
    frozen = frozen_parameters(trunk, spec, epoch)
    for name, weight in trunk.named_parameters():
        weight.requires_grad_(name not in frozen)
    return frozen


def keep_frozen_still(trunk: nn.Module, norms: Norms = "frozen_only") -> None:
    """Leave in judging what is frozen: its batch norms keep their statistics and nothing in it is random.

    To be called after `trunk.train()`. With `fixed`, no pretrained batch norm moves its statistics, though
    its weights may train; those that edits brought in always do.
    """
    new = new_parameters(trunk)
    for path, module in trunk.named_modules():
        weights = dict(module.named_parameters(prefix=path))
        all_frozen = bool(weights) and not any(weight.requires_grad for weight in weights.values())
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if all_frozen or (is_norm and norms == "fixed" and not new & weights.keys()):
            module.eval()


def num_frozen_units(trunk: nn.Module, spec: FreezeSpec, epochs: int | None = None) -> int:
    """How many units at the beginning of the chain hold nothing that trains in any of the epochs.

    Without a number of epochs, all that thaws at some time counts as training.
    """
    last_epoch = 10**9 if epochs is None else max(epochs - 1, 0)
    frozen = frozen_parameters(trunk, spec, last_epoch)
    count = 0
    for path, unit in units(trunk):
        if not frozen.issuperset(_weights_of(path, unit)):
            break
        count += 1
    return count


def _weights_of(path: str, unit: nn.Module) -> Mapping[str, nn.Parameter]:
    return dict(unit.named_parameters(prefix=path))
