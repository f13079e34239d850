"""All that is measured of what is done before training; each part has a file and a --help of its own.

PYTHONPATH=tools python benchmarks/data.py copies --out copies.json     copies among look-alikes
python benchmarks/data.py shared FOLDER_OF_SETS --out shared.json       copies in real sets, by name
PYTHONPATH=tools python benchmarks/data.py scale --out scale.json       time and memory among 100,000
python benchmarks/data.py labels --data FOLDER_OF_SETS                  swapped labels, beside cleanlab
python benchmarks/data.py expand --out expand.json                      beside a plain loop with Pillow
python benchmarks/data.py frames --out frames.json                      beside a plain loop with PyAV
"""

import runpy
import sys
from pathlib import Path

COPIES, LABELS, SPEED = "data_copies.py", "data_labels.py", "data_speed.py"


def main() -> None:
    """Hand over to the file that measures it."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part not in PARTS:
        sys.exit(f"{__doc__}\nGive one of {', '.join(PARTS)}.")
    path = Path(__file__).parent / PARTS[part]
    # The words are those of the part itself; labels are all that their file measures.
    sys.argv = [str(path), *(sys.argv[2:] if part == "labels" else sys.argv[1:])]
    runpy.run_path(str(path), run_name="__main__")


PARTS = {
    "copies": COPIES,
    "shared": COPIES,
    "scale": COPIES,
    "labels": LABELS,
    "expand": SPEED,
    "frames": SPEED,
}

if __name__ == "__main__":
    main()
