"""A small finished run, as the report meets it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from handlens.base.files import write_json
from handlens.data.samples import Samples
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.summary import summarise
from handlens.provenance import Provenance
from handlens.run import RunFolder

MakeRun = Callable[..., RunFolder]


def provenance_of(**changes: object) -> Provenance:
    data = {"root": "/pictures", "num_pictures": 90, "digest": "d", "split_digest": "s", "split_given": False}
    weights = {"backbone": "nano", "source": "bundled", "digest": "w", "pretrained": True}
    values = {
        "handlens": "0.1.0",
        "command": "handlens train 'my pictures' --seed 7",
        "started": "2026-11-21T10:42:13+00:00",
        "seconds": {"features": 1.5},
        "versions": {"python": "3.11"},
        "machine": {"cores": "2"},
        "precision": "float32",
        "commit": None,
        "choices": ["Validation chose the plain head."],
        "data": data | dict(changes.pop("data", {})),  # type: ignore[call-overload]
        "weights": weights | dict(changes.pop("weights", {})),  # type: ignore[call-overload]
    }
    return Provenance.parse(values | changes, "a provenance")


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(
        classes: tuple[str, ...] = ("coarse flake", "fine flake", "gangue"),
        *,
        num: int = 90,
        file_name: str = "photo {}.jpg",
        own_groups: bool = False,
        history: bool = True,
        provenance: Provenance | None = None,
    ) -> RunFolder:
        rng = np.random.default_rng(5)
        root = tmp_path / "pictures"
        root.mkdir()
        run = RunFolder(tmp_path / "run-1")
        truth = np.arange(num) % len(classes)
        ids = [file_name.format(i) for i in range(num)]
        for name, target in zip(ids, truth, strict=True):
            shade = int(40 + 170 * target / len(classes))
            Image.new("RGB", (60, 40), (shade, 90, 255 - shade)).save(root / name, "JPEG")
        groups = ids if own_groups else [f"specimen {i // 3}" for i in range(num)]
        split = [("train", "val", "test")[(i // 3) % 3] for i in range(num)]
        table = pl.DataFrame(
            {
                "id": ids,
                "path": [str(root / name) for name in ids],
                "label": [classes[target] for target in truth],
                "group": groups,
                "split": split,
            }
        )
        Samples(table, root).save(run.samples_path)
        sides = {}
        for side in ("val", "test"):
            rows = [i for i in range(num) if split[i] == side]
            logits = rng.normal(0, 1, (len(rows), len(classes)))
            logits[np.arange(len(rows)), truth[rows]] += 1.5
            odds = np.exp(logits)
            sides[side] = Predictions(
                ids=tuple(ids[i] for i in rows),
                groups=tuple(groups[i] for i in rows),
                targets=truth[rows].astype(np.int64),
                classes=classes,
                probabilities=(odds / odds.sum(axis=1, keepdims=True)).astype(np.float32),
            )
            sides[side].write(run.predictions_path(side))
        metrics = summarise(sides, sides["val"], "the validation pictures")
        write_json(run.metrics_path, metrics.model_dump(mode="json"))
        run.write_recipe({"name": "careful", "note": "1e-4 <b>"})
        run.write_provenance((provenance or provenance_of(data={"root": str(root)})).model_dump(mode="json"))
        if history:
            run.write_history(
                {
                    "epoch": e,
                    "train_loss": 1 / e,
                    "val_loss": 1.2 / e,
                    "train_accuracy": 1 - 0.5 / e,
                    "lr": 1e-3,
                }
                for e in range(1, 6)
            )
        strip = Image.new("RGB", (320, 160), "grey")
        (run.figures_path).mkdir()
        strip.save(run.figures_path / "views.jpg")
        return run

    return make
