"""The strip that shows what the network sees: pictures as they are, as judged, and as trained on."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from handlens.base.errors import HandlensError
from handlens.data.image import judge, open_picture
from handlens.data.sides import Shot, Sides
from handlens.data.views import ViewsSpec, training_view
from handlens.run import RunFolder

TILE = 160
GAP = 6
CAPTION = 18
MOST_ROWS = 4
MOST_VIEWS = 5


def write_views(run: RunFolder, sides: Sides, views: ViewsSpec, kind: str) -> None:
    """Draw the strip for a few training pictures of different classes, once a run."""
    if (run.figures_path / "views.jpg").is_file():
        return
    train = sides.places("train")
    # The first picture of each class in turn: the same ones whenever the strip is drawn.
    _, firsts = np.unique(sides.targets[train], return_index=True)
    shots = [sides.shots[train[first]] for first in firsts[:MOST_ROWS]]
    strip = io.BytesIO()
    draw_strip(shots, views, kind).save(strip, "JPEG", quality=85)
    run.write_figure("views.jpg", strip.getvalue())


def draw_strip(shots: Sequence[Shot], views: ViewsSpec, kind: str) -> Image.Image:
    """A row a picture: the file upright, the judging view, the training views."""
    view = views.kinds[kind]
    num_views = min(views.count - 1, MOST_VIEWS) if view else 0
    captions = ["the picture", "judged", *(f"{kind} view {number}" for number in range(1, num_views + 1))]
    width = len(captions) * (TILE + GAP) - GAP
    sheet = Image.new("RGB", (width, CAPTION + len(shots) * (TILE + GAP) - GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for column, caption in enumerate(captions):
        pen.text((column * (TILE + GAP), 2), caption, fill="black")
    for row, shot in enumerate(shots):
        try:
            tiles = [open_picture(shot.path, TILE), Image.fromarray(judge(shot.path, views.judge))]
            for number in range(1, num_views + 1):
                if view is not None:
                    drawn = training_view(shot.path, shot.digest, number, view, views.judge)
                    tiles.append(Image.fromarray(drawn))
        except HandlensError:
            continue  # The picture has gone since it was read; the strip is only an illustration.
        for column, tile in enumerate(tiles):
            small = ImageOps.pad(tile, (TILE, TILE), color="white")
            sheet.paste(small, (column * (TILE + GAP), CAPTION + row * (TILE + GAP)))
    return sheet
