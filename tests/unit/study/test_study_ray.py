"""A study on a Ray cluster of two nodes, one of which is lost half-way."""

import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from studied import parsed

from handlens.study.study import run_study

ray = pytest.importorskip("ray", reason="Ray is an extra that is not installed here")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks the system who runs what")

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two nodes of one core each, as processes of this machine."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # A lost node is noticed sooner than a cluster of real machines would want it.
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "4")
    found = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        second = found.add_node(**NODE)
        ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
        yield found, second
    finally:
        ray.shutdown()
        found.shutdown()


def test_a_lost_node_loses_no_cell_and_runs_none_twice_into_one_folder(cluster, photos, tmp_path):
    nodes, second = cluster
    raylet = second.all_processes["raylet"][0].process.pid
    out = tmp_path / "study"
    # Long enough to be in the middle of it.
    study = parsed(
        axes={"head": {"linear": {}, "cosine": {"model.head.kind": "cosine"}}},
        settings={"train.epochs": 200},
        seeds=4,
    )
    of_second: set[object] = set()
    lost = threading.Event()

    def look() -> list[dict[str, object]]:
        """The log so far; which processes are those of the second node can be asked while they live."""
        log = read_log(out)
        of_second.update(line["process"] for line in log if parent(line["process"]) == raylet)
        return log

    def lose_it() -> None:
        """Once both nodes have finished a cell, or one has two, and the second one is at its next."""
        while not lost.is_set():
            time.sleep(0.05)
            log = look()
            ended = {line["cell"] for line in log if line["event"] == "done"}
            at_it = [line for line in log if line["cell"] not in ended and line["process"] in of_second]
            if len(ended) >= 2 and at_it:
                # Into the middle of it.
                time.sleep(0.3)
                look()
                nodes.remove_node(second, allow_graceful=False)
                lost.set()

    watcher = threading.Thread(target=lose_it, daemon=True)
    watcher.start()
    done = run_study(study, lambda _: photos, out, on="ray")
    # What the second node was at may have ended while the node was taken away.
    assert lost.wait(30), "all was done before a node could be lost"
    watcher.join()
    assert done.num("done") == len(done.cells) == 8, dict(done.outcomes)
    log = read_log(out)
    assert Counter(line["cell"] for line in log if line["event"] == "done") == {
        cell.name: 1 for cell in done.cells
    }
    begun = [line for line in log if line["event"] == "begun"]
    again = {cell for cell, times in Counter(line["cell"] for line in begun).items() if times > 1}
    # Begun again is only what the lost node was at, and only once the process that was at it had ended.
    assert len(again) <= 1
    for cell in again:
        first, then = (line for line in begun if line["cell"] == cell)
        assert first["process"] in of_second and then["process"] not in of_second
        assert not Path(f"/proc/{first['process']}").exists()
    # What came out is what one process alone comes to.
    alone = run_study(study, lambda _: photos, tmp_path / "alone")
    for cell in done.cells:
        mine, theirs = (each.run(cell).predictions_path("test").read_bytes() for each in (done, alone))
        assert mine == theirs


def read_log(out: Path) -> list[dict[str, object]]:
    from handlens.study.folder import StudyFolder

    return list(StudyFolder(out).read_log())


def parent(process: object) -> int | None:
    """The process that started a process; none where it has ended."""
    try:
        told = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    return int(told.rpartition(")")[2].split()[1]) if os.name == "posix" else None
