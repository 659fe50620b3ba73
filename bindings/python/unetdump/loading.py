"""How a checkpoint is loaded: what `load` and sweeps are given, and the C struct it becomes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from ._c import ffi, lib
from .errors import bad_argument, of_kind
from .lora import Lora
from .options import Struct, one_of

Path = str | os.PathLike[str]

_PRECISIONS = {
    "auto": lib.UDUMP_PRECISION_AUTO,
    "fp32": lib.UDUMP_PRECISION_FP32,
    "bf16": lib.UDUMP_PRECISION_BF16,
    "fp16": lib.UDUMP_PRECISION_FP16,
}
_PREDICTIONS = {"auto": lib.UDUMP_PREDICTION_AUTO, "epsilon": lib.UDUMP_PREDICTION_EPSILON, "v": lib.UDUMP_PREDICTION_V}
_DEVICES = {
    "auto": lib.UDUMP_DEVICE_AUTO,
    "cpu": lib.UDUMP_DEVICE_CPU,
    "reference": lib.UDUMP_DEVICE_REFERENCE,
    "cuda": lib.UDUMP_DEVICE_CUDA,
}
_PATHS = {
    "vae": "vae_path",
    "embeddings": "embeddings",
    "cuda_module": "cuda_module",
    "cuda_libraries": "cuda_libraries",
    "plan_cache": "plan_cache",
}


class LoadOptions(TypedDict, total=False):
    """What `load` takes by keyword."""

    device: str
    precision: str
    prediction: str
    threads: int
    vae: Path | None
    loras: Sequence[Lora | Path] | None
    embeddings: Path | None
    cuda_module: Path | None
    cuda_libraries: Path | None
    plan_cache: Path | None
    cuda_eager: bool
    hash_files: bool


@dataclass(frozen=True)
class Source:
    """A checkpoint, and how it is loaded: to be loaded again, here or in another process."""

    path: Path
    options: LoadOptions = field(default_factory=LoadOptions)

    def struct(self) -> Struct:
        """udump_model_options. Raises ArgumentError."""
        struct, given = Struct("udump_model_options"), self.options
        o, device = struct.handle, of_kind(given.get("device", "auto"), str, "device")
        name, _, index = device.partition(":")
        o.device = one_of(_DEVICES, "device", name)
        if index and (name != "cuda" or not index.isdigit()):
            raise bad_argument("device", "auto, cpu, cuda, cuda:N or reference", repr(device))
        o.device_index = int(index or 0)
        o.precision = one_of(_PRECISIONS, "precision", given.get("precision", "auto"))
        o.prediction = one_of(_PREDICTIONS, "prediction", given.get("prediction", "auto"))
        struct.number("threads", given.get("threads", 0))
        o.cuda_eager, o.hash_files = given.get("cuda_eager", False), given.get("hash_files", False)
        for option, member in _PATHS.items():
            if (path := given.get(option)) is not None:
                setattr(o, member, struct.path(path, option))  # type: ignore[arg-type]
        loras = given.get("loras") or ()
        if isinstance(loras, str | bytes | os.PathLike):
            raise TypeError(f"loras: expected a list of them, found one: {loras!r}")
        o.loras, o.lora_count = _loras(struct, loras), len(loras)
        return struct

    def absolute(self) -> Source:
        """The same for processes with another working directory."""
        options: dict[str, Any] = {**self.options}
        options |= {name: os.path.abspath(options[name]) for name in _PATHS if options.get(name)}
        options["loras"] = [Lora(os.path.abspath(lora.path), lora.weight, lora.blocks) for lora in map(_lora, options.get("loras") or ())]
        return Source(os.path.abspath(self.path), options)  # type: ignore[arg-type]


def _lora(given: Lora | Path) -> Lora:
    return given if isinstance(given, Lora) else Lora(given)


def _loras(struct: Struct, loras: Sequence[Lora | Path]) -> Any:
    items = struct.keep(ffi.new("udump_lora[]", len(loras)))
    for item, lora in zip(items, map(_lora, loras), strict=True):
        item.path = struct.path(lora.path, "loras")
        item.weight = struct.keep(ffi.new("double *", lora.weight))
        item.block_weights = struct.text(lora.blocks, "loras")
    return items
