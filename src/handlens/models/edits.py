"""Edits: surgery on a pretrained network, said as data.

    - {insert: eca, after: blocks}
    - {replace: conv3x3, with: gsconv, in: blocks}

All edits of a list name the modules of the network as it comes, whatever the edits before them did. What
they bring in is recognised by its class, so that it is known again after a copy or a load.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Discriminator, Field, Tag
from torch import nn

from handlens.base.errors import HandlensError
from handlens.base.spec import Spec
from handlens.models.attention import ATTENTIONS, AttentionSpec, Start, make_attention
from handlens.models.gsconv import GSConv
from handlens.models.probe import Output, probe
from handlens.models.roles import Part, find, nothing_found, short


class Insert(Spec):
    """Surgery on the network: put an attention behind parts of it."""

    insert: Literal["eca", "se", "cbam", "multi_se"]
    """An attention to put behind parts of the network."""
    after: str
    """Behind what: the role `blocks`, `residual` or `stages`, or a glob of names: `"layer1.*"`."""
    heads: int = Field(8, ge=1)
    """Heads of the self-attention (`multi_se` only)."""
    reduction: int = Field(16, ge=1)
    """How many times narrower the middle of the two layers is (all but `eca`)."""
    start: Start = "identity"
    """`identity`: changes nothing before it has learned; `paper`: random weights, as published."""

    def __str__(self) -> str:
        return f"{{insert: {self.insert}, after: {self.after}}}"


class Replace(Spec):
    """Put other layers in the place of convolutions."""

    replace: Literal["conv3x3"]
    """What is replaced: the 3 x 3 convolutions that are not depthwise or in groups."""
    with_: Literal["gsconv"] = Field(alias="with")
    """What takes their place."""
    in_: str = Field(alias="in")
    """Where: the role `blocks` or `stages`, or a glob of names; in these and all that is inside them."""
    start: Literal["fit", "paper"] = "fit"
    """`fit`: as near to the replaced weights as it can be; `paper`: random weights, as published."""

    def __str__(self) -> str:
        return f"{{replace: {self.replace}, with: {self.with_}, in: {self.in_}}}"


def _kind(edit: Any) -> str | None:
    """Which of the two an edit is; the brackets keep the name out of the place that an error tells."""
    if isinstance(edit, Spec):
        return f"[{type(edit).__name__}]"
    if isinstance(edit, Mapping):
        return "[Insert]" if "insert" in edit else "[Replace]" if "replace" in edit else None
    return None


Edit = Annotated[
    Annotated[Insert, Tag("[Insert]")] | Annotated[Replace, Tag("[Replace]")],
    Discriminator(
        _kind,
        custom_error_type="edit",
        custom_error_message="an edit is {insert: ..., after: ...} or {replace: ..., with: ..., in: ...}",
    ),
]


@dataclass(frozen=True)
class Touched:
    """An edit, and the modules that it touches."""

    edit: Insert | Replace
    paths: tuple[str, ...]
    """Names of modules of the network as it comes; with an insertion, what stands there is now called
    `<name>.0`, and what is inserted `<name>.1`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The paths as people write them."""
        return tuple(map(short, self.paths))


def plan_edits(trunk: nn.Module, edits: Sequence[Insert | Replace]) -> list[Touched]:
    """What each edit would touch; nothing is done. An edit that would touch nothing is an error."""
    return _planned(trunk, edits, probe(trunk)) if edits else []


def apply_edits(trunk: nn.Module, edits: Sequence[Insert | Replace], seed: int = 0) -> list[Touched]:
    """Do the edits, in place; random weights of what they bring in follow from the seed alone."""
    if not edits:
        return []
    outputs = probe(trunk)
    planned = _planned(trunk, edits, outputs)
    like = next(trunk.parameters())
    # All places are looked up before anything moves.
    places = {path: _Place.of(trunk, path) for touched in planned for path in touched.paths}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for touched in planned:
            for path in touched.paths:
                try:
                    new = _made(touched.edit, places[path], outputs.get(path))
                except HandlensError as error:
                    raise HandlensError(f"The edit {touched.edit}, at {short(path)}: {error}") from None
                new.to(like.device, like.dtype).train(trunk.training)
    return planned


def new_parameters(trunk: nn.Module) -> set[str]:
    """The names of the weights that edits brought in."""
    kinds = {GSConv, *ATTENTIONS.values()}
    return {
        name
        for path, module in trunk.named_modules()
        if type(module) in kinds
        for name, _ in module.named_parameters(prefix=path)
    }


# Planning


def _planned(
    trunk: nn.Module, edits: Sequence[Insert | Replace], outputs: Mapping[str, Output]
) -> list[Touched]:
    planned = []
    replaced: set[str] = set()
    for edit in edits:
        place = edit.after if isinstance(edit, Insert) else edit.in_
        parts = find(trunk, place, outputs)
        if not parts:
            raise HandlensError(f"The edit {edit} touches nothing. {nothing_found(trunk, place, outputs)}")
        if isinstance(edit, Insert):
            paths = [part.end for part in parts]
            for path in paths:
                _refuse_unfit(edit, path, outputs.get(path))
        else:
            paths = _convolutions(trunk, edit, parts)
            if again := next((path for path in paths if path in replaced), None):
                raise HandlensError(f"The edit {edit} comes to {short(again)}, which is replaced already.")
            replaced.update(paths)
        planned.append(Touched(edit, tuple(paths)))
    return planned


def _refuse_unfit(edit: Insert, path: str, output: Output | None) -> None:
    """Tell why nothing can be inserted behind a module."""
    if output is None:
        why = "gives no tensor when the network is run"
    elif output.layout == "other":
        why = f"gives {' x '.join(map(str, output.shape))}, which is no map of a picture"
    elif output.calls > 1:
        why = f"is used in {output.calls} places of the network"
    elif not output.alone:
        why = "takes more than a map"
    else:
        return
    raise HandlensError(
        f"The edit {edit} comes to {short(path)}, which {why}. Name other modules; "
        "'handlens modules BACKBONE' lists them with what they give."
    )


def _convolutions(trunk: nn.Module, edit: Replace, parts: Sequence[Part]) -> list[str]:
    """The convolutions that a replacement touches; where there are none, an error that says what is there."""
    inside = [
        (f"{member}.{path}".rstrip("."), module)
        for part in parts
        for member in part.members
        for path, module in trunk.get_submodule(member).named_modules()
    ]
    convolutions = {path: module for path, module in inside if isinstance(module, nn.Conv2d)}
    found = [path for path, conv in convolutions.items() if _is_plain(conv) and conv.kernel_size == (3, 3)]
    if not found:
        there = Counter(map(_words, convolutions.values()))
        listed = ", ".join(f"{words} ({count})" for words, count in there.most_common(6))
        raise HandlensError(
            f"The edit {edit} touches nothing: there are no 3 x 3 convolutions in {edit.in_}. "
            + (f"The convolutions there are {listed}." if there else "There are no convolutions at all.")
        )
    return found


def _is_plain(conv: nn.Conv2d) -> bool:
    # What is derived from a convolution (standardised weights, other paddings) computes something else.
    return type(conv) is nn.Conv2d and conv.groups == 1


def _words(conv: nn.Conv2d) -> str:
    """A convolution in few words."""
    size = " x ".join(map(str, conv.kernel_size))
    if conv.groups > 1:
        return f"{size} {'depthwise' if conv.groups == conv.in_channels else 'in groups'}"
    return size if _is_plain(conv) else f"{size} {type(conv).__name__}"


# Doing


class _Place:
    """Where a module stood in the network as it came."""

    def __init__(self, parent: nn.Module, name: str) -> None:
        self.parent = parent
        self.name = name
        self.wrapped = False

    @classmethod
    def of(cls, trunk: nn.Module, path: str) -> "_Place":
        around, _, name = path.rpartition(".")
        return cls(trunk.get_submodule(around), name)

    @property
    def module(self) -> nn.Module:
        """The module that stands there now, without what is inserted behind it."""
        return self.parent.get_submodule(f"{self.name}.0" if self.wrapped else self.name)

    def replace(self, new: nn.Module) -> None:
        """Put another in its place."""
        if self.wrapped:
            setattr(self.parent.get_submodule(self.name), "0", new)
        else:
            setattr(self.parent, self.name, new)

    def insert_after(self, new: nn.Module) -> None:
        """Put another behind it and behind what was put there before."""
        around = self.parent.get_submodule(self.name)
        if not self.wrapped:
            around = nn.Sequential(around).train(around.training)
            setattr(self.parent, self.name, around)
            self.wrapped = True
        around.add_module(str(len(list(around.children()))), new)


def _made(edit: Insert | Replace, place: _Place, output: Output | None) -> nn.Module:
    """What an edit brings to a place, put there."""
    new: nn.Module
    if isinstance(edit, Insert):
        # Planning refused the places where this does not hold.
        assert output is not None and output.layout != "other"
        settings = AttentionSpec(heads=edit.heads, reduction=edit.reduction, start=edit.start)
        new = make_attention(edit.insert, output.channels, settings, output.layout)
        place.insert_after(new)
    else:
        conv = place.module
        assert isinstance(conv, nn.Conv2d)
        new = GSConv.like(conv, edit.start)
        place.replace(new)
    return new
