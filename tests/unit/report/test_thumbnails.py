import base64
import io
from pathlib import Path

from PIL import Image

from handlens.report.thumbnails import EDGE, thumbnails


def test_thumbnails_are_small_squares_and_missing_pictures_are_left_out(tmp_path: Path) -> None:
    good, broken, gone = tmp_path / "good.png", tmp_path / "broken.jpg", tmp_path / "gone.jpg"
    Image.new("RGB", (900, 300), "teal").save(good)
    broken.write_bytes(b"\xff\xd8\xff not a picture")
    made = thumbnails([good, broken, gone, good])
    assert list(made) == [good]
    head, _, body = made[good].partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as small:
        assert small.size == (EDGE, EDGE)
