"""Sweeps on a Ray cluster of two nodes on this machine: workers killed, a node removed, resumed; the folder is what one process makes of it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import unetdump
from conftest import DEMO
from test_sweep import PROMPT, same_folders

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

# Ten batches, long enough to be lost in the middle.
OPTIONS: dict[str, Any] = {"width": 64, "height": 64, "steps": 20, "cfg": 3.5, "seeds": [1, 2, 3, 4, 5], "replace": {"red": "green"}}
OPTIONS |= {"blocks": ["IN01-IN02", "OUT06-OUT08", "M00"], "batch_size": 2, "threads": 1}
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
COMMAND: list[str | Path] = [Path(sys.executable).parent / "unetdump", "sweep", "-m", DEMO, "-p", PROMPT, "--threads", "1", "--width", "64", "--height", "64"]
COMMAND += ["--steps", "20", "--cfg", "3.5", "--seeds", "1-5", "--replace", "red=green", "--blocks", "IN01-IN02;OUT06-OUT08;M00"]
COMMAND += ["--batch-size", "2"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process of the C command makes."""
    out = tmp_path_factory.mktemp("ray") / "whole"
    subprocess.run([*COMMAND, "-q", "-o", out], check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with one CPU, and another node with one."""
    both = cluster_utils.Cluster(initialize_head=True, head_node_args=NODE)
    both.add_node(**{name: value for name, value in NODE.items() if name != "include_dashboard"})
    ray.init(address=both.address, log_to_driver=False, logging_level="ERROR")
    yield both
    ray.shutdown()
    both.shutdown()


def workers() -> list[int]:
    """Process ids of our workers, by the names that Ray gives them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            named = path.read_bytes().startswith(b"ray::Worker")
        except OSError:
            continue
        found += [int(path.parent.name)] if named else []
    return found


def lose(cells: Iterator[unetdump.SweepCell], when: int, act: Any) -> list[unetdump.SweepCell]:
    """All cells; after `when` of them something is lost."""
    found = []
    for cell in cells:
        found.append(cell)
        if len(found) == when:
            act()
    return found


def check(found: list[unetdump.SweepCell], out: Path, whole: Path) -> None:
    """Nothing is lost or doubled."""
    assert len(found) == 20 and len({cell.key for cell in found}) == 20
    assert unetdump.collect_sweep(out).missing == 0
    same_folders(whole, out)


def test_a_killed_worker_s_batch_is_made_by_another(cluster: Any, whole: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill() -> None:
        killed.extend(workers()[:1])
        os.kill(killed[0], signal.SIGKILL)

    sweep = unetdump.Sweep(DEMO, PROMPT, output=tmp_path / "out", engine="ray", **OPTIONS)
    check(lose(iter(sweep), 8, kill), tmp_path / "out", whole)
    assert killed and killed[0] not in workers()


def test_what_is_there_is_not_made_again(cluster: Any, whole: Path, tmp_path: Path) -> None:
    sweep, out = unetdump.Sweep(DEMO, PROMPT, output=tmp_path / "out", engine="ray", **OPTIONS), tmp_path / "out"
    for number, _ in enumerate(sweep, 1):
        if number == 6:
            break
    there = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}
    assert 6 <= len(there) < 20 and not list(out.rglob("*.partial*"))
    lost = sorted(there)[0]
    lost.write_bytes(b"{")  # a record that is cut off
    told: list[unetdump.SweepProgress] = []
    result = unetdump.sweep(DEMO, PROMPT, output=out, engine="ray", progress=told.append, **OPTIONS)
    assert told[0].cells_done == len(there) - 1 and told[-1].cells_done == 20 and result.missing == 0
    assert all((path.stat().st_mtime_ns == stamp) == (path != lost) for path, stamp in there.items())
    same_folders(whole, out)


def test_errors_and_a_cancel_come_from_the_workers(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(unetdump.NotationError) as caught:
        unetdump.sweep(DEMO, PROMPT, output=tmp_path / "out", engine="ray", **{**OPTIONS, "blocks": "IN77"})
    assert caught.value.found or caught.value.what
    with pytest.raises(unetdump.FileError, match=r"/nowhere.*\(on "):
        unetdump.sweep("/nowhere", PROMPT, output=tmp_path / "out", engine="ray", **OPTIONS)
    assert not (tmp_path / "out").exists()
    cancel = unetdump.Cancel()
    sweep = unetdump.Sweep(DEMO, PROMPT, output=tmp_path / "cancelled", engine="ray", cancel=cancel, **{**OPTIONS, "steps": 1000})
    threading.Timer(3, cancel.set).start()
    with pytest.raises(unetdump.CancelledError):
        list(sweep)


def test_a_removed_node_s_batch_is_made_by_the_other(cluster: Any, whole: Path, tmp_path: Path) -> None:
    node = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
    sweep = unetdump.Sweep(DEMO, PROMPT, output=tmp_path / "out", engine="ray", **OPTIONS)
    check(lose(iter(sweep), 8, lambda: cluster.remove_node(node, allow_graceful=False)), tmp_path / "out", whole)
    assert sum(node["Alive"] for node in ray.nodes()) == 1


def test_the_command(cluster: Any, whole: Path, tmp_path: Path) -> None:
    """On the cluster that is there, with what the node that is left can do."""
    shown = subprocess.run(
        [*COMMAND, "-o", tmp_path / "out", "--engine", "ray", "--ray-address", cluster.address], check=False, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert "OUT06-OUT08" in shown.stdout and "20 pictures: " in shown.stdout
    same_folders(whole, tmp_path / "out")
