#!/usr/bin/env python3
"""Counts the instructions of rendering, PNG, parsers and tokenizer, and compares them with a committed baseline.

    benchmarks/instructions.py PROGRAM [--baseline FILE] [--update]

What does not depend on the machine: valgrind counts instructions, and shows programs a CPU with AVX2 at most, whatever the host has. A workload runs 2 and
6 times; the difference is 4 runs without the start. Counts are then in units of a fixed loop in the same program, so that most of what a compiler
changes everywhere falls out. Built as the baseline was, counts repeat to 0.1 %, and SAME is allowed; by another compiler or with other flags OTHER: -O2
instead of -O3 makes the tokenizer 17 % longer, gcc 12. --update writes the baseline anew.
"""
import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SAME, OTHER = 1.05, 1.25
FEW, MANY = 2, 6


def collected(program, workload, repeats):
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), workload, str(repeats)], capture_output=True,
                          text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "LC_ALL": "C"})
    if done.returncode:
        sys.exit(f"{workload}: {done.stderr[-1500:]}")
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def counts(program):
    built_by, *workloads = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {(w, n): pool.submit(collected, program, w, n) for w in workloads for n in (FEW, MANY)}
        each = {w: (jobs[w, MANY].result() - jobs[w, FEW].result()) / (MANY - FEW) for w in workloads}
    return {"built by": built_by, "units": {w: round(count / each["unit"], 5) for w, count in each.items() if w != "unit"}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--baseline", type=Path, default=Path(__file__).with_name("instructions.json"))
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    found = counts(arguments.program)
    if arguments.update:
        arguments.baseline.write_text(json.dumps(found, indent=1) + "\n")
    baseline = json.loads(arguments.baseline.read_text())
    margin = SAME if found["built by"] == baseline["built by"] else OTHER
    print(f"built by {found['built by']}; baseline by {baseline['built by']}: up to {margin} times is allowed")
    found, baseline = found["units"], baseline["units"]
    failed = sorted(set(found) ^ set(baseline))
    for workload in sorted(set(found) & set(baseline)):
        ratio = found[workload] / baseline[workload]
        said = "slower: FAILED" if ratio > margin else "faster: --update" if ratio < 1 / margin else ""
        print(f"{workload:30} {found[workload]:10.5f} of {baseline[workload]:10.5f} units: {ratio:6.3f} {said}")
        failed += [workload] * (ratio > margin)
    print(f"{len(found) - len(failed)} passed, {len(failed)} failed" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
