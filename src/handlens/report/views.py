"""The strip that shows what the network sees: pictures as they are, as judged, and as trained on."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from handlens.base.errors import HandlensError
from handlens.base.files import digest, whole_file
from handlens.data.image import judge, open_picture
from handlens.data.samples import Samples
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
    train = train[sides.targets[train] >= 0]
    _, firsts = np.unique(sides.targets[train], return_index=True)
    shots = [sides.shots[train[first]] for first in firsts[:MOST_ROWS]]
    strip = io.BytesIO()
    draw_strip(shots, views, kind).save(strip, "JPEG", quality=85)
    run.write_figure("views.jpg", strip.getvalue())


def write_preview(samples: Samples, views: ViewsSpec, path: Path) -> None:
    """Draw the strip for pictures that nothing has been trained on, with every kind of training view."""
    firsts = samples.table.unique("label", keep="first", maintain_order=True)["path"].to_list()[:MOST_ROWS]
    shots = [Shot(Path(first), digest(Path(first).read_bytes())) for first in firsts]
    strips = [draw_strip(shots, views, kind) for kind in views.kinds]
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height + GAP for strip in strips) - GAP), "white")
    for number, strip in enumerate(strips):
        sheet.paste(strip, (0, number * (strip.height + GAP)))
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise HandlensError(f"{path}: the views are written as .jpg or .png.")
    with whole_file(path) as partial:
        sheet.save(partial, "PNG" if path.suffix.lower() == ".png" else "JPEG")


def draw_strip(shots: Sequence[Shot], views: ViewsSpec, kind: str) -> Image.Image:
    """A row a picture: the file upright, the judging view, the training views."""
    view = views.kinds[kind]
    # Of views that are drawn anew in every epoch, some as they may come.
    num_views = min(MOST_VIEWS if views.fresh else views.count - 1, MOST_VIEWS) if view else 0
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
