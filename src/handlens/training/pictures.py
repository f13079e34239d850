"""Pictures for a network that trains: decoded once where there is room, each time where there is none.

Which of the two never changes a pixel: what is kept is what would be computed.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from handlens.base.errors import HandlensError
from handlens.base.files import cache_folder, digest
from handlens.base.parallel import in_order
from handlens.data.image import PIXEL_LIMIT, JudgingView, UnreadablePicture, judge, normalise
from handlens.data.sides import Rows, Shot
from handlens.data.views import (
    Pixels,
    TrainingView,
    chance,
    draw_view,
    side_for,
    size_of_sized,
    sized_picture,
    training_view,
)
from handlens.training.device import on_one_core
from handlens.training.kept_pictures import PictureStore
from handlens.training.room import Need, need_of, room_for
from handlens.training.store import RowStore, Store, fill

# Raise it when the same pictures and settings would give other pixels than before.
PIXELS_VERSION = 1

# Few, so that what the threads hold is little even where pictures are large.
DECODED_AT_ONCE = 4

Made = TypeVar("Made")


class FixedPictures:
    """A source of batches: the same numbered views in every epoch, view 0 being the judging view."""

    def __init__(
        self, shots: Sequence[Shot], views: Sequence["KeptOrMade"], judging_view: JudgingView
    ) -> None:
        self.shots = shots
        self.views = views
        self.num_views = len(views)
        self.normalisation = judging_view.normalise
        self.shape: tuple[int, ...] = (3, judging_view.size, judging_view.size)

    def learned(self, place: int, view: int, words: str) -> Tensor:
        """One picture under one view, normalised; nothing is drawn."""
        return torch.from_numpy(normalise(self.views[view].of(self.shots[place]), self.normalisation))

    def judged(self, place: int) -> Tensor:
        """One picture under the judging view, normalised."""
        return self.learned(place, 0, "")


class FreshPictures:
    """A source of batches: a new view of each picture at every drawing."""

    num_views = 1

    def __init__(
        self,
        shots: Sequence[Shot],
        sized: "KeptOrMade",
        judging: "KeptOrMade",
        view: TrainingView,
        judging_view: JudgingView,
    ) -> None:
        self.shots = shots
        self.sized = sized
        self.judging = judging
        self.view = view
        self.judging_view = judging_view
        self.shape: tuple[int, ...] = (3, judging_view.size, judging_view.size)

    def learned(self, place: int, view: int, words: str) -> Tensor:
        """One picture as it is drawn by the chance that the words and its content give, normalised."""
        shot = self.shots[place]
        drawn = draw_view(self.sized.of(shot), chance(shot.digest, words), self.view, self.judging_view.size)
        return torch.from_numpy(normalise(drawn, self.judging_view.normalise))

    def judged(self, place: int) -> Tensor:
        """One picture under the judging view, normalised."""
        return torch.from_numpy(normalise(self.judging.of(self.shots[place]), self.judging_view.normalise))


def fixed_pictures(
    shots: Sequence[Shot],
    learned: Rows,
    kind: TrainingView | None,
    count: int,
    judging_view: JudgingView,
    limit_bytes: int,
    pixel_limit: int = PIXEL_LIMIT,
) -> tuple[FixedPictures, str]:
    """The judging view of all pictures and, of the places `learned`, training views up to `count` in all.

    Their pixels are kept where they take no more than the limit. The sentence tells the size.
    """
    views = [_judged_pixels(judging_view, pixel_limit)]
    if kind:
        views += [_viewed_pixels(kind, number, judging_view, pixel_limit) for number in range(1, count)]
    of_learned = [shots[place] for place in learned]
    wanted = [shots, *[of_learned] * (len(views) - 1)]
    what = f"Pixels of {len(shots)} pictures" + (f" under {len(views)} views" if len(views) > 1 else "")
    need = need_of(
        (view.store, [shot.digest for shot in some], 3 * judging_view.size**2)
        for view, some in zip(views, wanted, strict=True)
    )
    sentence = _keep(what, list(zip(views, wanted, strict=True)), need, limit_bytes)
    return FixedPictures(shots, views, judging_view), sentence


def fresh_pictures(
    shots: Sequence[Shot],
    learned: Rows,
    judged: Rows | None,
    kind: TrainingView,
    judging_view: JudgingView,
    limit_bytes: int,
    pixel_limit: int = PIXEL_LIMIT,
) -> tuple[FreshPictures, str]:
    """Pictures to draw new views of, at the places `learned`, and to judge, at the places `judged`.

    Those to draw from are kept as large as the views need, where they take no more than the limit. The
    sentence tells the size.
    """
    side = side_for(kind, judging_view)

    def sized(shot: Shot) -> Pixels:
        return np.array(sized_picture(shot.path, side, judging_view, pixel_limit))

    store = PictureStore(_folder("pictures", str(side), str(judging_view.size)))
    drawn_from = KeptOrMade(store, sized)
    judging = _judged_pixels(judging_view, pixel_limit)
    of_learned = [shots[place] for place in learned]
    of_judged = [shots[place] for place in (judged if judged is not None else ())]
    need = _need_of_sized(store, of_learned, side, judging_view, pixel_limit)
    need += need_of([(judging.store, [shot.digest for shot in of_judged], 3 * judging_view.size**2)])
    what = f"Decoded pixels of {len(of_learned) + len(of_judged)} pictures"
    sentence = _keep(what, [(drawn_from, of_learned), (judging, of_judged)], need, limit_bytes)
    return FreshPictures(shots, drawn_from, judging, kind, judging_view), sentence


class KeptOrMade:
    """One kind of pixels of pictures, from their store where they are kept, else made now."""

    def __init__(self, store: Store, make: Callable[[Shot], Pixels]) -> None:
        self.store = store
        self.make = make
        self.kept = False

    def of(self, shot: Shot) -> Pixels:
        """The pixels of one picture."""
        return self.store.row(shot.digest) if self.kept else _still_readable(self.make, shot)

    def keep(self, shots: Sequence[Shot]) -> None:
        """Make what is missing, and from now on take what is kept."""

        def computed(todo: Sequence[Shot]) -> Iterator[tuple[Sequence[Shot], Any]]:
            few = (todo[at : at + DECODED_AT_ONCE] for at in range(0, len(todo), DECODED_AT_ONCE))
            return in_order(made, few, on_one_core)

        def made(batch: Sequence[Shot]) -> tuple[Sequence[Shot], Any]:
            pixels = [_still_readable(self.make, shot) for shot in batch]
            return batch, np.stack(pixels) if isinstance(self.store, RowStore) else pixels

        fill(self.store, shots, computed, "Decoding pictures")
        self.kept = True


def _keep(what: str, parts: Sequence[tuple[KeptOrMade, Sequence[Shot]]], need: Need, limit_bytes: int) -> str:
    """Keep all of it, or none; the sentence says which, and its size."""
    room = room_for(what, need, limit_bytes)
    if room.fits:
        for pixels, shots in parts:
            pixels.keep(shots)
    return room.sentence


def _judged_pixels(view: JudgingView, pixel_limit: int) -> KeptOrMade:
    words = view.model_dump_json(exclude={"normalise"})
    return KeptOrMade(
        RowStore(_folder("judging view", words), "uint8"), lambda shot: judge(shot.path, view, pixel_limit)
    )


def _viewed_pixels(kind: TrainingView, number: int, view: JudgingView, pixel_limit: int) -> KeptOrMade:
    words = kind.model_dump_json(exclude={"name"})
    return KeptOrMade(
        RowStore(_folder("training view", words, str(number), str(view.size)), "uint8"),
        lambda shot: training_view(shot.path, shot.digest, number, kind, view, pixel_limit),
    )


def _folder(*words: str) -> Path:
    return cache_folder() / "pixels" / digest(str(PIXELS_VERSION), *words)


def _need_of_sized(
    store: PictureStore, shots: Sequence[Shot], side: int, view: JudgingView, pixel_limit: int
) -> Need:
    """The room that pictures of their own sizes take; of those not kept yet, the headers tell."""

    def size_bytes(shot: Shot) -> int:
        def size(shot: Shot) -> tuple[int, int]:
            return size_of_sized(shot.path, side, view, pixel_limit)

        height, width = _still_readable(size, shot)
        return height * width * 3

    missing = [shots[place] for place in store.missing(shot.digest for shot in shots)]
    missing_bytes = sum(in_order(size_bytes, missing))
    unwanted = {shot.digest for shot in missing}
    kept = {shot.digest for shot in shots} - unwanted
    return Need(missing_bytes + sum(store.num_bytes(name) for name in kept), missing_bytes)


def _still_readable(make: Callable[[Shot], Made], shot: Shot) -> Made:
    """What is made of a picture that was readable when the pictures were checked."""
    try:
        return make(shot)
    except UnreadablePicture as error:
        raise HandlensError(
            f"{shot.path} could be read when the pictures were checked, and cannot any more: {error.reason}. "
            "Bring it back and give the same command again: it goes on where it stopped."
        ) from error
