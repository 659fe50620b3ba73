"""See inside Stable Diffusion: sample images and look at what happens in the U-Net meanwhile.

    m = unetdump.load("models/demo")
    r = m.generate("a (~: OUT04-OUT08: blue :~) circle", width=128, height=128, features="OUT00-OUT11", attention="IN04,M00", diff="")
    r.image                               the picture (Pillow)
    r.features["OUT11"][20]               [channels, h, w], float32, at step 20
    r.attention["M00"].word("circle")     [h, w]
    r.diff["OUT11"].norms[20].l2          how far the layer prompt moved that block
    unetdump.render(r.features["OUT11"][20], color="red-blue")
    m.sweep("a red circle", replace={"red": "green"}, output="sweep").ranking   which blocks the word acts on

The library's calls release the GIL. A model may be shared by threads; sessions, streams and tables belong to one thread at a time.
"""

from __future__ import annotations

from . import model as _model
from . import options as _options
from ._c import ffi, lib
from .contexts import Context, Table
from .errors import (
    ArgumentError,
    CancelledError,
    DeviceError,
    Error,
    FileError,
    FormatError,
    InternalError,
    NotationError,
    OutOfMemoryError,
    StateError,
    UnsupportedError,
    WeightsError,
)
from .folder import write_report
from .lora import Lora, LoraTag, take_lora_tags
from .model import Block, Model, ModelInfo, Tap, TensorInfo, load
from .notation import Entry, Part, Prompt, Token, block_names, parse_layers, parse_prompt, parse_steps, tokens
from .options import Cancel, Options
from .parameters import Parameters
from .pictures import read_png, resize, write_png
from .places import Canvas, Column, DiffNorms, Place, RunContext, RunInfo, RunPrompt
from .progress import Progress
from .rendering import Renderer, render, render_average
from .results import Attention, Blocks, Diff, Result, Steps
from .session import RunOptions, Session, Step, Stream
from .sweep_plan import SweepProgress
from .sweep_results import SweepCell, SweepMeasure, SweepRank, SweepResult, collect_sweep
from .sweeps import Sweep, SweepOptions, sweep

# What annotations name of modules that are built on these two, for `typing.get_type_hints`.
vars(_options).update(Parameters=Parameters)
_named = {"Context": Context, "Table": Table, "Result": Result, "RunOptions": RunOptions, "Session": Session, "Stream": Stream}
vars(_model).update(_named, SweepOptions=SweepOptions, SweepResult=SweepResult)

__version__: str = ffi.string(lib.udump_version()).decode()

__all__ = [
    "ArgumentError",
    "Attention",
    "Block",
    "Blocks",
    "Cancel",
    "CancelledError",
    "Canvas",
    "Column",
    "Context",
    "DeviceError",
    "Diff",
    "DiffNorms",
    "Entry",
    "Error",
    "FileError",
    "FormatError",
    "InternalError",
    "Lora",
    "LoraTag",
    "Model",
    "ModelInfo",
    "NotationError",
    "Options",
    "OutOfMemoryError",
    "Parameters",
    "Part",
    "Place",
    "Progress",
    "Prompt",
    "Renderer",
    "Result",
    "RunContext",
    "RunInfo",
    "RunOptions",
    "RunPrompt",
    "Session",
    "StateError",
    "Step",
    "Steps",
    "Stream",
    "Sweep",
    "SweepCell",
    "SweepMeasure",
    "SweepOptions",
    "SweepProgress",
    "SweepRank",
    "SweepResult",
    "Table",
    "Tap",
    "TensorInfo",
    "Token",
    "UnsupportedError",
    "WeightsError",
    "__version__",
    "block_names",
    "collect_sweep",
    "load",
    "parse_layers",
    "parse_prompt",
    "parse_steps",
    "read_png",
    "render",
    "render_average",
    "resize",
    "sweep",
    "take_lora_tags",
    "tokens",
    "write_png",
    "write_report",
]
