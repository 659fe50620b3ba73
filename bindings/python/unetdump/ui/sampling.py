"""How pictures are made: the fields, and a picture's own parameters in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from unetdump.errors import Error
from unetdump.lora import Lora
from unetdump.model import Model

from .form import OF_STEPS, RNGS, SAMPLERS, SCHEDULES
from .given import read
from .panels import QUICK, Sizes
from .problems import line_of

STEPS = 20
SMALL = 100_000_000  # parameters: what has fewer was made to draw small
FILLED = (  # what a picture may say
    *("prompt", "negative", "sampler", "schedule", "steps", "cfg", "width", "height", "seed"),
    *("variation_seed", "variation_strength", "clip_skip", "rng", "init", "strength"),
)


@dataclass(frozen=True)
class SamplingFields:
    """By the name of `Form`'s, and the buttons beside a seed."""

    fields: dict[str, Any]
    random: Any
    last: Any

    @property
    def sizes(self) -> Sizes:
        """Those that decide which shapes and steps there are."""
        return Sizes(self.fields["width"], self.fields["height"], [self.fields[name] for name in OF_STEPS])


def usual_side(model: Model) -> int:
    """Pixels: what the model was made to draw."""
    return 128 if model.info.parameter_count < SMALL else 1024 if model.info.family == "SDXL" else 512


def sampling_fields(model: Model) -> SamplingFields:
    """Makes them, in the webui's order."""
    side = usual_side(model)
    fields: dict[str, Any] = {}
    with gr.Row():
        fields["sampler"] = gr.Dropdown(SAMPLERS, value=SAMPLERS[0], label="Sampling method", elem_id="sampler")
        fields["schedule"] = gr.Dropdown(SCHEDULES, value=SCHEDULES[0], label="Schedule type", elem_id="schedule")
    with gr.Row():
        fields["steps"] = gr.Slider(1, 150, STEPS, step=1, label="Sampling steps", elem_id="steps")
        fields["batch"] = gr.Slider(1, 8, 1, step=1, label="Batch size", elem_id="batch")
    with gr.Row():
        fields["width"] = gr.Slider(64, 2048, side, step=8, label="Width", elem_id="width")
        fields["height"] = gr.Slider(64, 2048, side, step=8, label="Height", elem_id="height")
    with gr.Row(elem_id="seeds"):
        fields["cfg"] = gr.Slider(1, 30, 7, step=0.5, label="CFG Scale", elem_id="cfg", scale=4)
        fields["seed"] = gr.Number(-1, precision=0, label="Seed", elem_id="seed", scale=2, min_width=110)
        random = gr.Button("Random", elem_id="seed-random", scale=1, min_width=70, size="sm")
        last = gr.Button("Last", elem_id="seed-last", scale=1, min_width=60, size="sm")
    with gr.Accordion("Variation seed, Clip skip", open=False, elem_id="more-sampling"):
        fields |= _more_fields()
    with gr.Accordion("Image to image", open=False, elem_id="image-to-image"):
        fields |= _init_fields()
    return SamplingFields(fields, random, last)


def _more_fields() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    with gr.Row():
        fields["variation_seed"] = gr.Number(-1, precision=0, label="Variation seed", elem_id="variation-seed", min_width=110)
        fields["variation_strength"] = gr.Slider(0, 1, 0, step=0.01, label="Variation strength", elem_id="variation-strength")
    with gr.Row():
        fields["clip_skip"] = gr.Slider(1, 12, 1, step=1, label="Clip skip", elem_id="clip-skip")
        fields["rng"] = gr.Radio(list(RNGS), value="GPU", label="Random numbers of torch's", elem_id="rng")
    return fields


def _init_fields() -> dict[str, Any]:
    sources: Any = ["upload", "clipboard"]
    label = "A picture to begin from; it is resized to Width x Height"
    init = gr.Image(label=label, type="filepath", format="png", image_mode=None, sources=sources, height=220, elem_id="init", buttons=[])
    return {"init": init, "strength": gr.Slider(0, 1, 0.75, step=0.01, label="Denoising strength", elem_id="strength")}


def read_button(said: Any, fields: dict[str, Any], button: Any, loras: Sequence[Lora]) -> None:
    """Connects a button that takes a picture: what the picture says goes into the fields, and `said` tells of the rest.

    loras: the model's.
    """

    def fill(path: str) -> list[Any]:
        try:
            found, lost = read(Path(path), loras)
        except (Error, OSError) as failure:
            said = line_of(failure).replace(path, Path(path).name)
            return [f'<p class="problem" role="alert">{escape(said)}</p>', *(gr.skip() for _ in FILLED)]
        told = f"Its parameters are in the fields{', but for ' + ', '.join(lost) if lost else ''}."
        return [f'<p class="said">{escape(told)}</p>', *(found.get(name, gr.skip()) for name in FILLED)]

    button.upload(fill, button, [said, *(fields[name] for name in FILLED)], **QUICK)
