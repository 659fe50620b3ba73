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
    """A Python function for each function of udump_sink (`sink_begin`) and udump_sweep_observer (`sweep_progress`), and `block_hook`."""
    functions, member = [], r"udump_flow \(\*(\w+)\)(\([^;]*\));"
    for struct, prefix in (("udump_sink", "sink"), ("udump_sweep_observer", "sweep")):
        body = re.search(rf"typedef struct {struct} \{{(.*?)\}} {struct};", declared, re.DOTALL)
        if not body:
            sys.exit(f"make_binding.py: {struct} is not where it was in the header")
        functions += [f"udump_flow {prefix}_{name}{arguments};" for name, arguments in re.findall(member, body[1])]
    hook = re.search(r"typedef udump_flow \(\*udump_hook_fn\)(\([^;]*\));", declared)
    if not hook:
        sys.exit("make_binding.py: udump_hook_fn is not where it was in the header")
    return 'extern "Python" {\n' + "\n".join([*functions, f"udump_flow block_hook{hook[1]};"]) + "\n}\n"


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
