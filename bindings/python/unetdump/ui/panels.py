"""The panels' fields: choosing blocks and steps, and colours. What they say is worked out by the modules that know no Gradio."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from unetdump.errors import Error
from unetdump.model import Model
from unetdump.notation import parse_layers, parse_steps

from .blocks import toggle, with_attention
from .colours import DEFAULTS, METHODS, SPACES, TRANSFORMS, Colours, preview
from .drawing import draw
from .form import sampled
from .problems import show
from .table import table
from .typed import count

# Small things are answered at once, beside the queue, and leave no trace in an API.
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# What is typed comes as it is: Gradio would answer 500 to a number or a file that it does not like.
AS_TYPED: dict[str, Any] = {"preprocess": False}
TYPED: dict[str, Any] = {**QUICK, **AS_TYPED, "trigger_mode": "always_last"}

# A click, or Enter or Space on what has the focus, on anything that has data-block; the focus stays on the block when the drawing is made
# anew.
CHOOSE = """
let focused = null;
const chosen = e => {
    const block = e.target.closest('[data-block]');
    if (block) trigger('toggle', {block: focused = block.dataset.block});
    return block;
};
element.addEventListener('click', chosen);
element.addEventListener('keydown', e => { if ((e.key === 'Enter' || e.key === ' ') && chosen(e)) e.preventDefault(); });
watch('value', () => {
    if (focused && document.activeElement === document.body) element.querySelector(`[tabindex][data-block="${focused}"]`)?.focus();
});
"""


@dataclass(frozen=True)
class Sizes:
    """The fields that decide which shapes and steps there are."""

    width: Any
    height: Any
    of_steps: list[Any]  #: those that decide how many steps there are, as `sampled` takes them


@dataclass(frozen=True)
class Picker:
    """A panel's choice of blocks and steps."""

    enabled: Any
    layers: Any
    steps: Any
    drawing: Any
    table: Any
    problem: Any


def shown(model: Model, attention_only: bool, layers: str, steps: str, size: tuple[int, int, int]) -> tuple[str, str, str]:
    """A picker's drawing, table and problem. size: width, height, number of steps."""
    width, height, total = size
    able = with_attention(model) if attention_only else [block.name for block in model.blocks]
    chosen, problem = [], ""
    try:
        parse_steps(steps, total)
    except Error as failure:
        problem = show(failure, steps)
    try:
        chosen = [name for name in parse_layers(layers, model) if name in able]
    except Error as failure:
        problem = show(failure, layers)
    drawn = draw(model, width, height, chosen, attention_only=attention_only, soft=not layers.strip())
    return drawn, table(model, width, height, chosen, able), problem


def picker(
    model: Model,
    name: str,
    label: str,
    sizes: Sizes,
    start: tuple[bool, str, str],
    *,
    attention_only: bool = False,
    more: Callable[[], None] | None = None,
) -> Picker:
    """Makes the fields: whether, Layers, Image saving steps, the drawing, the table. start: their first values. more: fields between."""
    enabled = gr.Checkbox(start[0], label=label, elem_id=f"{name}-enabled")
    with gr.Row():
        layers = gr.Textbox(start[1], label="Layers", placeholder="all; eg. IN00-OUT03(+2)", max_lines=1, elem_id=f"{name}-layers")
        steps = gr.Textbox(start[2], label="Image saving steps", placeholder="all; eg. 1,5-20(+5)", max_lines=1, elem_id=f"{name}-steps")
    first = shown(model, attention_only, start[1], start[2], (sizes.width.value, sizes.height.value, sizes.of_steps[0].value))
    problem = gr.HTML(first[2], elem_id=f"{name}-problem", elem_classes="problems")
    if more:
        more()
    drawing = gr.HTML(first[0], elem_id=f"{name}-drawing", js_on_load=CHOOSE)
    with gr.Accordion("Selected Layer Info", open=False, elem_id=f"{name}-info"):
        listed = gr.HTML(first[1], elem_id=f"{name}-table", js_on_load=CHOOSE)
    made = Picker(enabled, layers, steps, drawing, listed, problem)
    _connect(model, made, sizes, attention_only)
    return made


def _connect(model: Model, made: Picker, sizes: Sizes, attention_only: bool) -> None:
    def again(layers: str, steps: str, width: Any, height: Any, *of_steps: Any) -> tuple[str, str, str]:
        return shown(model, attention_only, layers, steps, (count(width), count(height), sampled(model, *of_steps)))

    fields = [made.layers, made.steps, sizes.width, sizes.height, *sizes.of_steps]
    gr.on([field.change for field in fields], again, fields, [made.drawing, made.table, made.problem], **TYPED)

    def choose(layers: str, event: gr.EventData) -> str:
        block = str(event.block)
        try:
            return toggle(layers, block, model)
        except Error:
            return block  # of a text that does not parse nothing can be kept

    for clicked in (made.drawing, made.table):
        clicked.toggle(choose, made.layers, made.layers, **QUICK)


@dataclass(frozen=True)
class ColourFields:
    """Colorization's fields, in the order of `Colours`, and its preview."""

    all: tuple[Any, ...]
    preview: Any


def colours_of(values: tuple[Any, ...]) -> Colours:
    """What `ColourFields.all` say."""
    method, space, *rest = values
    expressions = rest[0:3] if space == "RGB" else rest[3:6]
    transform = rest[6]
    low, high, gain, offset = (math.nan if number is None else number for number in rest[7:])  # none: the library says what is missing
    return Colours(method, space, (expressions[0], expressions[1], expressions[2]), transform, (low, high), (gain, offset))


def colour_fields() -> ColourFields:
    """Makes them: method, colour space and expressions, transform and its numbers."""
    method = gr.Radio(METHODS, value="Custom", label="Colorize method", elem_id="color-method")
    with gr.Group() as custom:
        space = gr.Radio(SPACES, value="HSL", label="Color space", elem_id="color-space")
        with gr.Row(visible=False) as rgb:
            red_green_blue = [gr.Textbox(DEFAULTS["RGB"][i], label="RGB"[i], elem_id=f"color-{'RGB'[i]}", min_width=80) for i in range(3)]
        with gr.Row() as hsl:
            hue_and_so_on = [gr.Textbox(DEFAULTS["HSL"][i], label="HSL"[i], elem_id=f"color-{'HSL'[i]}", min_width=80) for i in range(3)]
    shown = gr.HTML(preview(Colours()), elem_id="color-preview")
    transform = gr.Radio(TRANSFORMS, value="Auto [0,1]", label="Value transform", elem_id="color-transform")
    with gr.Row(visible=False) as linear:
        clamp = [gr.Slider(-10, -0.1, -1, step=0.1, label="Clamp min."), gr.Slider(0.1, 10, 1, step=0.1, label="Clamp max.")]
    with gr.Row(visible=False) as sigmoid:
        slopes = [gr.Slider(0.1, 10, 1, step=0.1, label="gain"), gr.Slider(-10, 10, 0, step=0.1, label="offset X")]
    method.change(lambda value: gr.update(visible=value == "Custom"), method, custom, **QUICK)
    space.change(lambda value: [gr.update(visible=value == name) for name in SPACES], space, [rgb, hsl], **QUICK)
    transform.change(lambda value: [gr.update(visible=value == name) for name in TRANSFORMS[2:]], transform, [linear, sigmoid], **QUICK)
    return ColourFields((method, space, *red_green_blue, *hue_and_so_on, transform, *clamp, *slopes), shown)
