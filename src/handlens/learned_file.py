"""What a run learned, back from its file: the head, and the rest of the network where it trained too."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from handlens.base.errors import HandlensError
from handlens.evaluate.predict import AnyHead
from handlens.models import backbones
from handlens.models.build import ModelSpec
from handlens.models.edits import Replace, apply_edits
from handlens.models.heads import Head
from handlens.models.pool import NUM_STATISTICS
from handlens.models.twin import TwinHead, twin_trunk
from handlens.training.checkpoint import load_head

Part = TypeVar("Part", bound=nn.Module)


class LearnedFile:
    """One file of learned weights, and the network that its recipe says they belong to."""

    def __init__(self, path: Path, model: ModelSpec) -> None:
        self.path = path
        self.model = model
        self.state, self.facts = load_head(path)

    def head(self) -> AnyHead:
        """The head, ready to judge."""
        if self.facts.twin_begins is None:
            return self._filled(self._new_head(self.facts.num_features), "head.")
        each = self.facts.num_features // 2
        twin = TwinHead(self._new_head(each), self._new_head(each), NUM_STATISTICS[self.model.pool])
        return self._filled(twin, "head.")

    def trunk(self) -> nn.Module:
        """The rest of the network, which trained too, ready to judge."""
        model = self.model
        trunk = backbones.create(model.backbone, None, model.seed, model.own_rows).trunk
        # What is fitted to replaced weights comes out of the file, and fitting it takes seconds.
        edits = [
            edit.model_copy(update={"start": "paper"}) if isinstance(edit, Replace) else edit
            for edit in model.edits
        ]
        apply_edits(trunk, edits, model.seed)
        if self.facts.twin_begins is not None:
            trunk = twin_trunk(trunk, trunk, self.facts.twin_begins)
        return self._filled(trunk, "trunk.")

    def _new_head(self, num_features: int) -> Head:
        return Head(self.model.head, num_features, self.facts.widths)

    def _filled(self, part: Part, prefix: str) -> Part:
        state: Mapping[str, Tensor] = self.state
        if self.facts.whole:
            state = {
                name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
            }
        try:
            part.load_state_dict(state)
        except RuntimeError as error:
            raise HandlensError(
                f"{self.path} does not fit the recipe beside it ({error}). Train again."
            ) from None
        return part.eval()
