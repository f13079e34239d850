"""What a benchmark found, as JSON with the date and the machine."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def write_stamped(path: Path | None, **found: Any) -> None:
    """Write what was found, if a path was given."""
    if path is None:
        return
    machine = {
        "processor": platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    stamp = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine}
    path.write_text(json.dumps({**stamp, **found}, indent=2) + "\n")
