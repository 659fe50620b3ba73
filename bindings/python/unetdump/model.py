"""Models: loading a checkpoint, what it holds, and the short way to a run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._c import ffi, lib
from .errors import bad_argument, c_path, check, new_error, text
from .loading import LoadOptions, Path, Source
from .lora import Lora
from .options import Options, fill
from .owner import Owner
from .typed import Unpack

if TYPE_CHECKING:
    from .contexts import Context, Table
    from .results import Result
    from .session import RunOptions, Session, Stream
    from .sweep_results import SweepResult
    from .sweeps import SweepOptions

_DTYPES = {lib.UDUMP_F32: "float32", lib.UDUMP_F16: "float16", lib.UDUMP_BF16: "bfloat16"}
_TAPS = {lib.UDUMP_TAP_TYPE_BLOCK: "block", lib.UDUMP_TAP_TYPE_SELF: "self", lib.UDUMP_TAP_TYPE_CROSS: "cross"}


@dataclass(frozen=True)
class ModelInfo:
    """What a model is."""

    family: str  #: "SD 1", "SD 2", "SDXL"
    layout: str  #: "diffusers" or "ldm"
    device: str  #: "cpu", "reference", "cuda"
    device_note: str  #: which device was chosen, and why
    precision: str  #: "fp32", "bf16", "fp16"
    prediction: str  #: "epsilon", "v"
    block_count: int
    context_dim: int  #: width of a context's rows
    context_tokens: int  #: tokens of one chunk, start and end included: 77
    pooled_dim: int  #: width of SDXL's pooled vector; 0 without one
    latent_channels: int
    pixels_per_latent: int
    threads: int
    parameter_count: int
    weight_bytes: int  #: as packed for the device


@dataclass(frozen=True)
class Block:
    """One of the U-Net's stages."""

    name: str  #: "IN00"
    path: str  #: the diffusers module(s)
    channels: int  #: of its output
    downscale: int  #: the output is ceil(latent / downscale) pixels
    attention_depth: int  #: transformer layers; 0 without attention
    heads: int
    head_dim: int


@dataclass(frozen=True)
class Tap:
    """A place where values can be looked at."""

    type: str  #: "block", "self" or "cross"
    block: str
    depth: int  #: of the transformer layer, from 0
    diffusers: str  #: the module in diffusers' U-Net
    original: str  #: in the original code's


@dataclass(frozen=True)
class TensorInfo:
    """One of the checkpoint's tensors, as it lies in its files."""

    name: str
    part: str  #: "unet", "vae", "text_encoder", "text_encoder_2" or ""
    dtype: str
    shape: tuple[int, ...]


def _fields(kind: type, struct: Any) -> dict[str, Any]:
    """The struct's members that the dataclass has; texts as str."""
    found = {name: getattr(struct, name) for name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    return {name: text(value) if isinstance(value, ffi.CData) else value for name, value in found.items()}


def load(
    path: Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    prediction: str = "auto",
    threads: int = 0,
    vae: Path | None = None,
    loras: Sequence[Lora | Path] | None = (),
    embeddings: Path | None = None,
    cuda_module: Path | None = None,
    cuda_libraries: Path | None = None,
    plan_cache: Path | None = None,
    cuda_eager: bool = False,
    hash_files: bool = False,
) -> Model:
    """Loads a checkpoint: a diffusers folder, or one .safetensors file in the original layout.

    device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", "reference". precision: "auto", "fp32", "bf16", "fp16". prediction:
    "auto", "epsilon", "v". threads: 0 is one for each core. vae: another autoencoder. embeddings: a folder of textual inversion embeddings.
    cuda_module: the file libunetdump-cuda.so; cuda_libraries: the folders of cuBLAS and cuDNN, A:B; plan_cache: the folder that keeps which
    of their engines were fastest, "" measures none; cuda_eager: operations one by one, not as one graph a step. hash_files: pictures name
    the SHA-256 of single files, as the webui's do: a second a GB, while loading.
    Raises FileError, FormatError, WeightsError, UnsupportedError, NotationError (a LoRA's blocks), ArgumentError, DeviceError,
    OutOfMemoryError.
    """
    given: LoadOptions = {"device": device, "precision": precision, "prediction": prediction, "threads": threads, "vae": vae}
    given |= {"loras": loras, "embeddings": embeddings, "cuda_module": cuda_module, "cuda_libraries": cuda_libraries}
    given |= {"plan_cache": plan_cache, "cuda_eager": cuda_eager, "hash_files": hash_files}
    source = Source(path, given)
    options, held, error = source.struct(), ffi.new("udump_model **"), new_error()
    check(lib.udump_model_load(c_path(path), options.handle, held, error), error)
    return Model(held[0], source)


class Model(Owner):
    """A loaded checkpoint. Immutable; threads may share it. `load` makes one."""

    def __init__(self, handle: Any, source: Source) -> None:
        """Takes the reference that `handle` is; source: what it was loaded from."""
        self.handle = ffi.gc(handle, lib.udump_model_release)
        self.source = source
        self._idle: list[Any] = []  # handles of sessions: a Session would hold this model
        self._lock = threading.Lock()
        info = ffi.new("udump_model_info *")
        lib.udump_model_get_info(self.handle, info)
        self.info = ModelInfo(**_fields(ModelInfo, info))
        self.blocks = tuple(self._block(i) for i in range(self.info.block_count))

    def _block(self, index: int) -> Block:
        info, error = ffi.new("udump_block_info *"), new_error()
        check(lib.udump_model_get_block(self.handle, index, info, error), error)
        return Block(**_fields(Block, info))

    def block_index(self, name: str) -> int:
        """Where a block stands among `blocks`. Raises ArgumentError."""
        names = [block.name for block in self.blocks]
        if name not in names:
            raise bad_argument("block", "one of " + ", ".join(names), repr(name))
        return names.index(name)

    @property
    def taps(self) -> list[Tap]:
        """Where values can be looked at: by blocks, its output first, then each layer's self- and cross-attention."""
        found: list[Tap] = []
        info = ffi.new("udump_tap_info *")
        while lib.udump_model_get_tap(self.handle, len(found), info, ffi.NULL) == lib.UDUMP_OK:
            found.append(Tap(_TAPS[info.type], text(info.block), info.depth, text(info.diffusers), text(info.original)))
        return found

    @property
    def tensors(self) -> Iterator[TensorInfo]:
        """The checkpoint's tensors."""
        info, index = ffi.new("udump_tensor_info *"), 0
        while lib.udump_model_get_tensor(self.handle, index, info, ffi.NULL) == lib.UDUMP_OK:
            shape = tuple(info.shape[i] for i in range(info.rank))
            yield TensorInfo(text(info.name), text(info.part), _DTYPES[info.dtype], shape)
            index += 1

    @property
    def warnings(self) -> list[str]:
        """What loading noticed and went on from: tensors with NaN or infinity."""
        found: list[str] = []
        while (warning := lib.udump_model_warning(self.handle, len(found))) != ffi.NULL:
            found.append(text(warning))
        return found

    def session(self) -> Session:
        """A session of its own, for one thread at a time. Raises OutOfMemoryError."""
        from .session import Session

        return Session(self)

    def _take_session(self) -> Session:
        """A session that an earlier run has left, with its memory and plans, or a new one."""
        from .session import Session

        with self._lock:
            handle = self._idle.pop() if self._idle else ffi.NULL
        return Session(self, handle)

    def _give_session(self, session: Session) -> None:
        with self._lock:
            self._idle.append(session.release())

    @contextmanager
    def _borrowed_session(self) -> Iterator[Session]:
        session = self._take_session()
        try:
            yield session
        finally:
            self._give_session(session)

    def trim(self) -> None:
        """Frees the memory that runs which have ended have left for later ones."""
        with self._lock:
            handles, self._idle = self._idle, []
        for handle in handles:
            lib.udump_session_destroy(handle)

    def __del__(self) -> None:
        """Frees what it holds; runs that go on hold the model themselves."""
        self.trim()

    def generate(self, prompt: str | None = None, **options: Unpack[RunOptions]) -> Result:
        """Samples images and gives everything that was asked for; see `Options` and `RunOptions` for what that may be.

        Several threads may generate at once: each gets a session of its own. Ctrl-C ends the run between two steps.
        Raises ArgumentError, NotationError (specs, colours, prompts, with line and column), UnsupportedError, OutOfMemoryError,
        CancelledError (`cancel`), DeviceError, and whatever a callback raised.
        """
        with self._borrowed_session() as session:
            return session.generate(prompt, **options)

    def stream(self, prompt: str | None = None, **options: Unpack[RunOptions]) -> Stream:
        """The same run a sampler step at a time: `for step in model.stream(...)`. Raises as `generate`."""
        return self._take_session().stream(prompt, self._give_session, **options)

    def sweep(self, prompt: str, *, output: Path, **options: Unpack[SweepOptions]) -> SweepResult:
        """Another prompt, or a LoRA, in one choice of blocks at a time: as `unetdump.sweep`, and raises as it.

        The model is not loaded again, unless it has LoRAs or "ray" makes the pictures.
        """
        from .sweeps import Sweep

        return Sweep(self, prompt, output=output, **options).run()

    def count_evaluations(self, **options: Unpack[Options]) -> int:
        """How many steps a step spec may name: evaluations of the U-Net, by steps, sampler, schedule, init and strength.

        Raises ArgumentError, OutOfMemoryError.
        """
        given, count, error = fill(None, dict(options)), ffi.new("int32_t *"), new_error()
        check(lib.udump_evaluations_count(self.handle, given.handle, count, error), error)
        return int(count[0])

    def encode(self, prompt: str) -> Context:
        """A prompt as a context; one that changes over the steps as it is at step 1 of 20.

        Raises NotationError, UnsupportedError (AND, layer prompts), ArgumentError, OutOfMemoryError.
        """
        with self._borrowed_session() as session:
            return session.encode(prompt)

    def table(self, prompt: str | None = None, **options: Unpack[Options]) -> Table:
        """The table that a run's prompts make, to be changed and given as `table=`. Prompts that change over the steps stay as at step 1.

        Raises as `encode`.
        """
        with self._borrowed_session() as session:
            return session.table(prompt, **options)

    def __repr__(self) -> str:
        """What it is."""
        return f"<{self.info.family} model, {self.info.block_count} blocks, {self.info.device} {self.info.precision}>"
