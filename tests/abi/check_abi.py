"""The public ABI against its baseline: check_abi.py LIBRARY [--update]
Symbols that the shared library exports, every public struct's size and members' offsets, every enum's values, as gcc lays them out from the header. What is
added at an options struct's end is an addition; anything else that changes breaks programs, and needs another soname."""
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HEADER = ROOT / "include/unetdump.h"
BASELINE = pathlib.Path(__file__).parent / f"baseline-{__import__('platform').machine()}.txt"


def symbols(library):
    lines = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted(f"symbol {line.split()[2]}" for line in lines if line.split()[1] in "TDBR")


def members(body):
    """Names of a struct's members: pointers to functions, arrays, several in a declaration."""
    for declaration in filter(str.strip, body.split(";")):
        function = re.search(r"\(\*(\w+)\)\(", declaration)
        if function:
            yield function[1]
            continue
        for part in declaration.split(","):
            yield re.search(r"(\w+)\s*(?:\[[^]]*\]\s*)*$", part)[1]


def layout():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    prints = []
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\n\} (\w+);", text, re.S):
        prints.append(f'printf("struct {name} %zu\\n", sizeof({name}));')
        prints += [f'printf("struct {name}.{member} at %zu, %zu\\n", offsetof({name}, {member}), sizeof((({name} *)0)->{member}));'
                   for member in members(body)]
    for body, name in re.findall(r"typedef enum \w+ \{(.*?)\n\} (\w+);", text, re.S):
        prints += [f'printf("enum {name} {value} %d\\n", (int){value});' for value in re.findall(r"\b(UDUMP_\w+)\s*(?:=|,|$)", body, re.M)]
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "layout.c"), pathlib.Path(folder, "layout")
        source.write_text('#include <stdio.h>\n#include "unetdump.h"\nint main(void) {\n' + "\n".join(prints) + "\nreturn 0;\n}\n")
        subprocess.run(["cc", "-I", HEADER.parent, source, "-o", program], check=True)
        return subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()


def main():
    found = symbols(sys.argv[1]) + layout()
    if "--update" in sys.argv:
        BASELINE.write_text("\n".join(found) + "\n")
    if not BASELINE.exists():
        print("no baseline for this machine: nothing to compare with")
        return 0
    expected = BASELINE.read_text().splitlines()
    gone, new = [line for line in expected if line not in found], [line for line in found if line not in expected]
    for line in gone:
        print(f"gone or changed: {line}")
    for line in new:
        print(f"new: {line}")
    print(f"{len(found)} symbols, structs, members and values; {len(gone)} gone, {len(new)} new")
    return 1 if gone or new else 0


if __name__ == "__main__":
    sys.exit(main())
