"""Writes the C file of the compiled module: make_binding.py CC unetdump.h OUT.c

The declarations are the header's own, as the C compiler's preprocessor leaves them; what the compiler's system headers declare is left
out by its line markers. The functions that C calls back are taken from the header's sink and hook types.
"""

import re
import subprocess
import sys
from pathlib import Path

import cffi


def declarations(compiler: str, header: Path) -> str:
    """What the header declares, preprocessed, without what it includes."""
    command = [compiler, "-std=c11", "-DUDUMP_STATIC", "-E", "-x", "c", str(header)]  # UDUMP_STATIC: no visibility attributes
    kept, ours = [], False
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        marker = re.match(r'# \d+ "(.*?)"', line)
        if marker:
            ours = marker[1] == str(header)
        elif ours:
            kept.append(line)
    return "\n".join(kept)


def callbacks(declared: str) -> str:
    """A Python function for each function of udump_sink, `sink_begin` and so on, and `block_hook`."""
    sink = re.search(r"typedef struct udump_sink \{(.*?)\} udump_sink;", declared, re.DOTALL)
    hook = re.search(r"typedef udump_flow \(\*udump_hook_fn\)(\([^;]*\));", declared)
    if not sink or not hook:
        sys.exit("make_binding.py: udump_sink or udump_hook_fn is not where it was in the header")
    members = re.findall(r"udump_flow \(\*(\w+)\)(\([^;]*\));", sink[1])
    functions = [f"udump_flow sink_{name}{arguments};" for name, arguments in members] + [f"udump_flow block_hook{hook[1]};"]
    return 'extern "Python" {\n' + "\n".join(functions) + "\n}\n"


def main() -> None:
    """Reads the header and writes the C file."""
    compiler, header, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    builder = cffi.FFI()
    declared = declarations(compiler, header)
    builder.cdef(declared)
    builder.cdef(callbacks(declared))
    builder.set_source("unetdump._c", '#include "unetdump.h"', py_limited_api=True)
    builder.emit_c_code(str(out))


if __name__ == "__main__":
    main()
