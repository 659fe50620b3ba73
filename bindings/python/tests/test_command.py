"""The package's front door becomes the C command; what the wheel holds."""

import subprocess
import sys
from pathlib import Path

import unetdump
from unetdump._c import lib

COMMAND = Path(sys.executable).parent / "unetdump"


def test_runs_the_c_command() -> None:
    version = subprocess.run([COMMAND, "--version"], check=True, capture_output=True, text=True).stdout
    assert version == f"unetdump {unetdump.__version__}\n"
    bad = subprocess.run([COMMAND, "parse", "layers", "IN99"], check=False, capture_output=True, text=True)
    assert bad.returncode == 2 and bad.stderr.startswith("unetdump: ")


def test_package_is_typed_and_whole() -> None:
    folder = Path(unetdump.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_c.pyi").exists()
    assert [path.name for path in folder.glob("_c*.so")] == ["_c.abi3.so"]


def test_every_function_of_the_header_is_bound() -> None:
    header = (Path(__file__).resolve().parents[3] / "include" / "unetdump.h").read_text()
    declared = [line.split("(")[0].split()[-1].lstrip("*") for line in header.splitlines() if line.startswith("UDUMP_API ")]
    assert len(declared) > 70
    for name in declared:
        assert hasattr(lib, name), name
