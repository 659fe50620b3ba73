"""The library's ready-made sink: a folder with pictures, values and a manifest, as the command writes it; its report."""

from __future__ import annotations

import os
from typing import Any

from ._c import ffi, lib
from .errors import c_path, check, new_error
from .options import Struct, one_of
from .owner import Owner

_DUMPS = {"npy": lib.UDUMP_DUMP_NPY, "bin": lib.UDUMP_DUMP_BIN, "safetensors": lib.UDUMP_DUMP_SAFETENSORS}


class Folder(Owner):
    """Files appear whole or not at all; the manifest when the run is whole."""

    def __init__(self, path: str | os.PathLike[str], dump: str | None = None, *, force: bool = False) -> None:
        """Creates the folder if need be. Raises FileError, ArgumentError (dump), OutOfMemoryError."""
        options, held, error = Struct("udump_folder_options"), ffi.new("udump_folder **"), new_error()
        if dump is not None:
            options.handle.dump = one_of(_DUMPS, "dump", dump)
        options.handle.force = force
        check(lib.udump_folder_open(c_path(path), options.handle, held, error), error)
        self._handle: Any = held[0]
        self.sink: Any = lib.udump_folder_sink(self._handle)

    def close(self, *, keep: bool) -> None:
        """Waits for the writers; keep: writes the manifest. Raises the first error of any writer, once."""
        handle, self._handle = self._handle, ffi.NULL
        error = new_error()
        check(lib.udump_folder_close(handle, keep, error), error)


def write_report(path: str | os.PathLike[str]) -> None:
    """Writes report.html into a run's folder: one page of all that is in it. Raises FileError, FormatError, OutOfMemoryError."""
    error = new_error()
    check(lib.udump_report_write(c_path(path), error), error)
