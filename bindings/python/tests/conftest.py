import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import unetdump

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "models" / "demo"


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
