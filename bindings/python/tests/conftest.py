import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

import unetdump

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "models" / "demo"


def start(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """Python code in a process of its own, which Ctrl-C interrupts even where the tests run in the background."""
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    return subprocess.Popen([sys.executable, "-c", listen + code, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where UDUMP_NO_SKIP is set, a test that is skipped fails."""
    report = yield
    if report.skipped and os.environ.get("UDUMP_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"not to be skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def model() -> unetdump.Model:
    return unetdump.load(DEMO, threads=1)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Path]:
    """Runs the C command's `generate` and gives the folder that it wrote."""

    def run(*arguments: str) -> Path:
        program = Path(unetdump.__file__).parent / "_native" / "bin" / "unetdump"
        out = tmp_path / "command"
        subprocess.run([program, "generate", "-q", "-m", DEMO, "-o", out, "--threads", "1", *arguments], check=True)
        return out

    return run
