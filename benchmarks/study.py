"""All that studies, comparisons and explanations are to reach; each part has a file and a --help of its own.

python benchmarks/study.py rows --data DIR/trashnet6 --out rows.json    what the graphite paper's rows take
python benchmarks/study.py gap --out gap.json                the leakage gap, on made sets where it is known
python benchmarks/study.py intervals --out intervals.json    whether intervals hold, and marks are right
python benchmarks/study.py maps --data PICTURES --out maps.json    Grad-CAM beside captum's and NumPy's
"""

import runpy
import sys
from pathlib import Path

PARTS = {
    "rows": "study_rows.py",
    "gap": "study_gap.py",
    "intervals": "study_intervals.py",
    "maps": "explain.py",
}


def main() -> None:
    """Hand over to the file that measures it."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part not in PARTS:
        sys.exit(f"{__doc__}\nGive one of {', '.join(PARTS)}.")
    path = Path(__file__).parent / PARTS[part]
    sys.argv = [str(path), *sys.argv[2:]]
    runpy.run_path(str(path), run_name="__main__")


if __name__ == "__main__":
    main()
