"""How much memory this process has held."""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_mib() -> float | None:
    """The most memory that this process held at once since it began; none where the system does not tell."""
    # Linux counts into `ru_maxrss` what the process that started this one held, but not into this.
    for line in STATUS.read_text(encoding="ascii").splitlines() if STATUS.exists() else ():
        name, _, rest = line.partition(":")
        if name == "VmHWM":
            return int(rest.split()[0]) / 1024
    if sys.platform == "win32":
        return None
    from resource import RUSAGE_SELF, getrusage

    most = getrusage(RUSAGE_SELF).ru_maxrss
    # KiB but for macOS, which counts bytes.
    return most / (2**20 if sys.platform == "darwin" else 2**10)
