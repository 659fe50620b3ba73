#!/usr/bin/env python3
"""Reads the tensors of run folders, whatever they were dumped as, and compares them.

Usage: check_dumps.py FOLDER [FOLDER ...]

The folders hold the same run, dumped as npy, bin and safetensors in any order.
Every file that a manifest lists is there, and nothing else is; every tensor
has the shape and the number of values that its manifest says; Q*K sums to one
over the tokens. Tensors of the same place must be equal to the bit in all
folders, and no folder may lack one (bin holds features, diffs and Q*K only).
Safetensors files are taken apart here, and read by the Python package too.
"""
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import safetensors

BIN_KINDS = {"features", "diff", "qk"}
PLACE = ("image", "variant", "block", "depth", "step", "side", "kind")


class Checks:
    """Counts checks and says which failed."""

    def __init__(self):
        self.passed = self.failed = 0

    def that(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print("FAILED:", what)
        return good


def read_safetensors(path, check):
    """name -> array, and the metadata; by the format's description."""
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    values = data[8 + length:]
    metadata = header.pop("__metadata__")
    check.that(all(isinstance(value, str) for value in metadata.values()), f"{path}: metadata of strings")
    check.that((8 + length) % 8 == 0, f"{path}: values are aligned")
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        check.that(entry["dtype"] == "F32" and begin == end, f"{path}: {name} follows the tensor before it")
        check.that(stop - begin == 4 * math.prod(entry["shape"]), f"{path}: {name} has the bytes of its shape")
        tensors[name] = np.frombuffer(values[begin:stop], "<f4").reshape(entry["shape"])
        end = stop
    check.that(end == len(values), f"{path}: ends with its last tensor")
    check.that(set(metadata) - {"unetdump", "run", "contexts", "infotext", "infotext-erased"} == set(tensors),
               f"{path}: every tensor's place is told")
    with safetensors.safe_open(path, "np") as file:
        check.that(file.metadata() == metadata and set(file.keys()) == set(tensors), f"{path}: the package's metadata and names")
        for name in file.keys():
            check.that(same(file.get_tensor(name), tensors[name]), f"{path}: the package's {name}")
    return tensors, metadata


def same(a, b):
    """Equal to the bit."""
    return a.shape == b.shape and a.dtype == b.dtype and np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def near(a, b):
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-7)


def channel_paths(folder, entry):
    """The files of a bin tensor: the first one's name, its number counting up."""
    start, number, seconds = entry["file"].rsplit("-", 2)
    assert int(number) == 0
    return [folder / f"{start}-{channel:04d}-{seconds}" for channel in range(entry["files"])]


class Folder:
    """A run's folder: its tensors by place, and what they are dumped as."""

    def __init__(self, path, check):
        self.path, self.check = Path(path), check
        self.manifest = json.loads((self.path / "manifest.json").read_text())
        self.opened, self.listed, self.tensors, self.dump = {}, {"manifest.json"}, {}, "nothing"
        self.listed |= set(self.manifest["beside"])
        if (self.path / "report.html").exists():  # written later, of the folder
            self.listed.add("report.html")
        for entry in self.manifest["files"]:
            self.take(entry)
        found = {str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file()}
        check.that(found == self.listed, f"{path}: the manifest lists what is there: only one has {sorted(found ^ self.listed)[:5]}")
        self.check_tokens()
        self.check_diffs()

    def take(self, entry):
        if entry["dtype"] == "uint8":
            self.listed.add(entry["file"])
            self.check.that((self.path / entry["file"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", f"{entry['file']}: is a PNG")
            return
        place = tuple(entry[key] for key in PLACE)
        array = self.read(entry)
        what = f"{self.path}: {place}"
        self.check.that(place not in self.tensors, f"{what}: is listed once")
        self.check.that(list(array.shape) == entry["shape"] and array.dtype == np.float32, f"{what}: {array.shape} is {entry['shape']}")
        if entry["kind"] == "qk":
            self.check.that(np.allclose(array.sum(axis=1), 1, atol=2e-2), f"{what}: sums to 1 over the tokens")
            self.check.that([entry["heads"], entry["tokens"]] == entry["shape"][:2], f"{what}: heads and tokens")
        self.tensors[place] = array

    def read(self, entry):
        path = self.path / entry["file"]
        if path.suffix == ".npy":
            self.dump = "npy"
            self.listed.add(entry["file"])
            return np.load(path)
        if path.suffix == ".bin":
            self.dump = "bin"
            paths = channel_paths(self.path, entry)
            self.listed |= {str(path.relative_to(self.path)) for path in paths}
            return np.concatenate([np.fromfile(path, "<f4") for path in paths]).reshape(entry["shape"])
        self.dump = "safetensors"
        self.listed.add(entry["file"])
        if path not in self.opened:
            self.opened[path] = read_safetensors(path, self.check)
            metadata = self.opened[path][1]
            self.check.that(json.loads(metadata["run"]) == self.manifest["run"], f"{path}: tells the manifest's run")
            self.check.that(json.loads(metadata["contexts"]) == self.manifest["contexts"], f"{path}: tells the manifest's contexts")
        tensors, metadata = self.opened[path]
        told = json.loads(metadata[entry["tensor"]])
        self.check.that(all(entry[key] == value for key, value in told.items()), f"{path}: {entry['tensor']} is where the manifest says")
        return tensors[entry["tensor"]]

    def check_tokens(self):
        path = self.path / "tokens.json"
        if not path.exists():
            return
        labels = [(context["text"], None if context["columns"] is None else [column["text"] for column in context["columns"]])
                  for context in json.loads(path.read_text())]
        self.check.that(labels == [(context["text"], context["columns"]) for context in self.manifest["contexts"]],
                        f"{path}: the manifest's contexts")

    def check_diffs(self):
        """diff.csv's rows against the dumped differences."""
        path = self.path / "diff.csv"
        if not path.exists():
            return
        header, *lines = path.read_text().splitlines()
        self.check.that(header == "image,block,step,side,l2,relative_l2,max,cosine", f"{path}: its header")
        for line in lines:
            image, block, step, side, l2, _, most, cosine = line.split(",")
            self.check.that(-1.000001 <= float(cosine) <= 1.000001, f"{path}: {line}: a cosine")
            array = self.tensors.get((int(image), "enabled", block, 0, int(step), side, "diff"))
            if array is not None:
                self.check.that(near(np.linalg.norm(array.astype(np.float64)), float(l2)), f"{path}: {line}: l2 of the dump")
                self.check.that(near(np.abs(array).max(), float(most)), f"{path}: {line}: max of the dump")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    check = Checks()
    folders = [Folder(path, check) for path in sys.argv[1:]]
    every = set().union(*(folder.tensors for folder in folders))
    kept = {place for place in every if place[-1] in BIN_KINDS}
    for folder in folders:
        expected = kept if folder.dump == "bin" else every
        check.that(set(folder.tensors) == expected,
                   f"{folder.path}: {len(folder.tensors)} tensors as {folder.dump}, expected {len(expected)}")
    for place in sorted(every):
        arrays = [folder.tensors[place] for folder in folders if place in folder.tensors]
        check.that(all(same(array, arrays[0]) for array in arrays[1:]), f"{place}: differs between the folders")
    print(f"{', '.join(folder.dump for folder in folders)}: {len(every)} tensors")
    print(f"{check.passed} passed, {check.failed} failed")
    return check.failed > 0 or not every


if __name__ == "__main__":
    sys.exit(main())
