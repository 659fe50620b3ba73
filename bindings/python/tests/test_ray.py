"""Sweeps on a Ray cluster of two nodes on this machine: workers killed, a node removed, resumed; the folder is what one process makes of it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import unetdump
from conftest import DEMO
from test_sweep import PROMPT, same_folders
from unetdump import sweep_ray

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

# Ten batches, long enough to be lost in the middle.
OPTIONS: dict[str, Any] = {"width": 64, "height": 64, "steps": 20, "cfg": 3.5, "seeds": [1, 2, 3, 4, 5], "replace": {"red": "green"}}
OPTIONS |= {"blocks": ["IN01-IN02", "OUT06-OUT08", "M00"], "batch_size": 2, "threads": 1}
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
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
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the workers have their folders: those that are killed leave one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("workers")))
        patch.setenv("RAY_raylet_start_wait_time_s", "120")
        yield Path(os.environ["TMPDIR"])


@pytest.fixture(scope="module")
def cluster(temporary: Path) -> Iterator[Any]:
    """A head with one CPU, and another node with one."""
    # A node is gone in 6 s: soon, but not because the machine is busy.
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 6}
    both = cluster_utils.Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": soon})
    both.add_node(**NODE)
    ray.init(address=both.address, log_to_driver=False, logging_level="ERROR")
    session = Path(ray.nodes()[0]["ObjectStoreSocketName"]).parents[1]
    yield both
    ray.shutdown()
    both.shutdown()
    shutil.rmtree(session, ignore_errors=True)


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches whose workers were lost."""
    found: list[int] = []
    replace = sweep_ray._Crew._replace

    def note(crew: Any, worker: Any, batch: int, error: Exception) -> None:
        found.append(batch)
        replace(crew, worker, batch, error)

    monkeypatch.setattr(sweep_ray._Crew, "_replace", note)
    return found


def workers(node: Any) -> list[int]:
    """Process ids of a node's workers: children of its raylet, with the names that Ray gives them."""
    raylet, found = node.all_processes["raylet"][0].process.pid, []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found += [int(folder.name)] if parent == raylet and (folder / "cmdline").read_bytes().startswith(b"ray::Worker") else []
    return found


def sweep_and_lose(out: Path, whole: Path, lose: Callable[[], object]) -> None:
    """Something is lost after the eighth of 20 cells; nothing is missing or doubled."""
    found = []
    for cell in unetdump.Sweep(DEMO, PROMPT, output=out, engine="ray", **OPTIONS):
        found.append(cell.key)
        if len(found) == 8:
            lose()
    assert len(found) == 20 and len(set(found)) == 20
    assert unetdump.collect_sweep(out).missing == 0
    same_folders(whole, out)


def test_a_killed_worker_s_batch_is_made_again(cluster: Any, lost: list[int], whole: Path, tmp_path: Path) -> None:
    sweep_and_lose(tmp_path / "out", whole, lambda: os.kill(workers(cluster.head_node)[0], signal.SIGKILL))
    assert len(lost) == 1 and lost[0] >= 0


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


def test_a_removed_node_s_batch_is_made_by_the_other(cluster: Any, lost: list[int], whole: Path, tmp_path: Path) -> None:
    node = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)

    def remove() -> None:
        assert workers(node)
        cluster.remove_node(node, allow_graceful=False)  # SIGKILL

    sweep_and_lose(tmp_path / "out", whole, remove)
    assert len(lost) == 1 and lost[0] >= 0


def test_the_command(cluster: Any, whole: Path, tmp_path: Path) -> None:
    """On the cluster that is there, with what the node that is left can do."""
    shown = subprocess.run(
        [*COMMAND, "-o", tmp_path / "out", "--engine", "ray", "--ray-address", cluster.address], check=False, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert "OUT06-OUT08" in shown.stdout and "20 pictures: " in shown.stdout
    same_folders(whole, tmp_path / "out")


def test_errors_and_a_cancel_come_from_the_workers(cluster: Any, temporary: Path, tmp_path: Path) -> None:
    with pytest.raises(unetdump.NotationError) as caught:
        unetdump.sweep(DEMO, PROMPT, output=tmp_path / "out", engine="ray", **{**OPTIONS, "blocks": "IN77"})
    assert caught.value.found or caught.value.what
    with pytest.raises(unetdump.FileError, match=r"/nowhere.*\(on "):
        unetdump.sweep("/nowhere", PROMPT, output=tmp_path / "out", engine="ray", **OPTIONS)
    assert not (tmp_path / "out").exists()
    cancel = unetdump.Cancel()
    killed, running = set(temporary.iterdir()), set()

    def stop() -> None:
        running.update(set(temporary.iterdir()) - killed)
        cancel.set()

    options: dict[str, Any] = {**OPTIONS, "steps": 1000, "cancel": cancel}
    with pytest.raises(unetdump.CancelledError):  # told once, before the first batch: that is running a second later
        unetdump.sweep(DEMO, PROMPT, output=tmp_path, engine="ray", progress=lambda _: threading.Timer(1, stop).start(), **options)
    assert running and set(temporary.iterdir()) == killed  # the worker stopped, and cleared up
    assert unetdump.collect_sweep(tmp_path).missing == 20
