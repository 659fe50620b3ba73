"""The page: its fields, in the order that users of the webui and its extension know, and what happens when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import gradio as gr

from unetdump.errors import Error
from unetdump.lora import Lora
from unetdump.model import Model

from . import status
from .blocks import with_attention
from .captured import Point
from .colours import preview
from .form import AVERAGES, DUMPS, KINDS, OF_STEPS, SIDES, Form, Looks, default_steps, followed, sampled, small_attention
from .moved import chart, last_norms
from .panels import AS_TYPED, QUICK, TYPED, ColourFields, Picker, colour_fields, colours_of, picker
from .prompts import blocks as blocks_prompts
from .prompts import problem as prompt_problem
from .runs import Queue, Run, caption
from .sampling import STEPS, read_button, sampling_fields, usual_side
from .typed import count, file, numbers
from .viewer import parse_token
from .visits import ALL, Visit, Visits

TICK_S = 0.25  # how often a page hears of its run
SHOWN_MOST = 600  # pictures in the gallery: the first of them
EMPTY = '<div class="viewer empty"><p>The picture appears here.</p></div>'

# Where the picture is clicked on, in its own pixels; which token; back to the picture.
LOOK = """
element.addEventListener('click', e => {
    const token = e.target.closest('[data-token]'), picture = e.target.closest('img.picture');
    if (token) trigger('token', {token: token.dataset.token});
    else if (e.target.closest('[data-clear]')) trigger('unpick', {});
    else if (picture) {
        const box = picture.getBoundingClientRect();
        const at = (offset, length, pixels) => Math.min(Math.max(Math.floor(offset / length * pixels), 0), pixels - 1);
        const x = at(e.clientX - box.left, box.width, +picture.dataset.width);
        trigger('point', {x, y: at(e.clientY - box.top, box.height, +picture.dataset.height)});
    }
});
"""


class Page:
    """The page of one model: `blocks` is Gradio's, `queue` does its runs."""

    def __init__(self, model: Model, loaded: Sequence[str], root: Path) -> None:
        """loaded: what the command is given to load the model: "-m", PATH, ... root: where runs' folders go."""
        self.model, self.loaded, self.root = model, loaded, root
        self.fields: dict[str, Any] = {}  # by the name of `Form`'s, but for the panels' and the colours'
        self.queue, self.visits = Queue(model), Visits()
        self.names = with_attention(model)
        self.theme = gr.themes.Default(
            primary_hue="blue",
            neutral_hue="slate",
            radius_size="sm",
            spacing_size="sm",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        )
        self.css = (Path(__file__).parent / "page.css").read_text()
        with gr.Blocks(title="unetdump", analytics_enabled=False, fill_width=True) as self.blocks:
            self._header()
            with gr.Row(elem_id="top"):
                with gr.Column(scale=3, min_width=380):
                    self._prompts()
                with gr.Column(scale=2, min_width=300):
                    self._buttons()
            with gr.Row(elem_id="halves"):
                with gr.Column(scale=5, min_width=380):
                    self._inputs()
                with gr.Column(scale=6, min_width=380):
                    self._results()
            self._connect()

    # The fields.

    def _header(self) -> None:
        info = self.model.info
        told = [Path(self.loaded[1]).name, info.family, f"{info.block_count} blocks", f"{info.parameter_count / 1e6:.0f} M parameters"]
        told += [Path(path).name for option, path in pairwise(self.loaded) if option in ("--vae", "--embeddings", "--lora")]
        gr.HTML(f"<h1>unetdump</h1><p>{escape(' · '.join((*told, info.device, info.precision)))}</p>", elem_id="header")

    def _prompts(self) -> None:
        placeholder = "a red circle on a blue background"
        self.fields["prompt"] = gr.Textbox("", label="Prompt", lines=3, placeholder=placeholder, elem_id="prompt")
        self.prompt_problem = gr.HTML(elem_id="prompt-problem", elem_classes="problems")
        self.fields["negative"] = gr.Textbox("", label="Negative prompt", lines=1, elem_id="negative")
        self.negative_problem = gr.HTML(elem_id="negative-problem", elem_classes="problems")

    def _buttons(self) -> None:
        with gr.Row():
            self.generate = gr.Button("Generate", variant="primary", elem_id="generate", scale=3, min_width=120)
            self.stop = gr.Button("Stop", variant="stop", elem_id="stop", interactive=False, scale=1, min_width=80)
        self.status = gr.HTML(status.progress(None), elem_id="status")
        self.read = gr.UploadButton("Read a picture's parameters", file_types=[".png"], size="sm", elem_id="read")
        self.read_said = gr.HTML(elem_id="read-said", elem_classes="problems")

    def _inputs(self) -> None:
        self.sampling = sampling_fields(self.model)
        self.fields |= self.sampling.fields
        with gr.Tabs():
            self._looks(usual_side(self.model))
        with gr.Accordion("Colorization", open=False, elem_id="colorization"):
            gr.HTML('<p class="said">The colours of all maps.</p>')
            self.colours: ColourFields = colour_fields()
        with gr.Accordion("Dump Setting", open=False, elem_id="dump-setting"):
            label = "Average over channels, as a picture of its own"
            self.fields["average"] = gr.Radio(AVERAGES, value=AVERAGES[0], label=label, elem_id="average")
            self.fields["side"] = gr.Radio(list(SIDES), value="prompt", label="Maps of", elem_id="side")
            self.fields["dump"] = gr.Radio(DUMPS, value=DUMPS[0], label="Dump the values to files, too", elem_id="dump")
            self.fields["report"] = gr.Checkbox(False, label="Write report.html: all of a run as one page", elem_id="report")

    def _looks(self, side: int) -> None:
        at, sizes = default_steps(STEPS), self.sampling.sizes
        with gr.Tab("U-Net features"):
            self.features: Picker = picker(self.model, "features", "Extract U-Net features", sizes, (True, "", at))
        with gr.Tab("Attention"):
            first = True, small_attention(self.model, side, side), at
            label = "Extract attention layers' features"
            self.attention: Picker = picker(self.model, "attention", label, sizes, first, attention_only=True, more=self._attended)
        with gr.Tab("Layer Prompt"):
            off = "Off: they are taken out of the prompts"
            self.fields["layer_prompts"] = gr.Checkbox(True, label="Enable Layer Prompt", info=off, elem_id="layer-prompts")
            self.own = gr.HTML(blocks_prompts("", "", STEPS, self.model), elem_id="own-prompts")
            label = "Output difference map of U-Net features between with and without Layer Prompt"
            self.diff: Picker = picker(self.model, "diff", label, sizes, (False, "", str(STEPS)))

    def _attended(self) -> None:
        self.fields["kinds"] = gr.CheckboxGroup(list(KINDS), value=["Q*K"], label="Output features", elem_id="kinds")
        with gr.Row():
            self.fields["words"] = gr.Textbox("", label="Words", placeholder="of the prompt: their maps and heat", elem_id="words")
            self.fields["queries"] = gr.Textbox("", label="Self-attention from", placeholder="x,y;x,y or grid:4x4", elem_id="queries")
        self.fields["points"] = gr.Checkbox(True, label="Keep the self-attention of every point, to be clicked on", elem_id="points")

    def _results(self) -> None:
        self.viewer = gr.HTML(EMPTY, elem_id="viewer", js_on_load=LOOK)
        with gr.Row(visible=False, elem_id="choices") as self.choices:
            self.picture = gr.Dropdown([], label="Picture", elem_id="which-picture", min_width=120)
            self.block = gr.Dropdown([ALL], value=ALL, label="Block", elem_id="which-block", min_width=120)
            self.step = gr.Dropdown([ALL], value=ALL, label="Step", elem_id="which-step", min_width=120)
        self.moved = gr.HTML(visible=False, elem_id="moved")
        self.gallery = gr.Gallery(
            label="Pictures and maps",
            elem_id="gallery",
            columns=5,
            height=560,
            object_fit="cover",
            buttons=["download", "download_all", "fullscreen"],
            interactive=False,
        )
        with gr.Accordion("Files", open=False, elem_id="files-panel"):
            self.files = gr.HTML('<p class="said">No run yet.</p>', elem_id="files")

    # What happens.

    def _connect(self) -> None:
        sizes = self.sampling.sizes
        prompts = [self.fields["prompt"], self.fields["negative"], self.fields["steps"]]
        gr.on([field.change for field in prompts], self._typed, prompts, [self.prompt_problem, self.negative_problem, self.own], **TYPED)
        self.sampling.random.click(lambda: -1, None, self.fields["seed"], **QUICK)
        self.sampling.last.click(self._last_seed, None, self.fields["seed"], **QUICK)
        loras = [Lora.parse(text) for option, text in pairwise(self.loaded) if option == "--lora"]
        read_button(self.read_said, self.fields, self.read, loras)
        links = [self.features.steps, self.attention.steps, self.diff.steps]
        before = gr.Number(STEPS, precision=0, visible=False)  # of the page, as the specs are: a State would lag behind them
        gr.on([field.change for field in sizes.of_steps], self._follow, [*sizes.of_steps, before, *links], [before, *links], **TYPED)
        gr.on([field.change for field in self.colours.all], self._preview, list(self.colours.all), self.colours.preview, **TYPED)
        outputs = [self.status, self.gallery, self.viewer, self.choices, self.picture, self.block, self.step, self.files]
        outputs += [self.generate, self.stop, self.colours.preview, self.moved]
        how: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private", "trigger_mode": "once"}
        how |= AS_TYPED
        self.generate.click(self._run, [*self.fields.values(), *self._looked(), *self.colours.all], outputs, **how)
        self.stop.click(self._stop, None, None, **QUICK)
        looked = [self.picture, self.block, self.step]
        self.viewer.token(self._token, looked, self.viewer, **QUICK)
        self.viewer.point(self._point, looked, self.viewer, **QUICK)
        self.viewer.unpick(self._unpick, looked, self.viewer, **QUICK)
        gr.on([field.input for field in looked], self._look, looked, self.viewer, **QUICK)
        self.blocks.unload(self._leave)

    def _looked(self) -> list[Any]:
        return [field for one in (self.features, self.attention, self.diff) for field in (one.enabled, one.layers, one.steps)]

    def _form(self, values: Sequence[Any]) -> Form:
        """From the values of the fields, the panels' and the colours'. Raises ArgumentError."""
        given: dict[str, Any] = dict(zip(self.fields, values, strict=False))
        looks, colours = values[len(given) : len(given) + 9], values[len(given) + 9 :]
        given |= {**numbers(given), "kinds": tuple(given["kinds"]), "init": file(given["init"])}
        given |= {"features": Looks(*looks[0:3]), "attention": Looks(*looks[3:6]), "diff": Looks(*looks[6:9])}
        return Form(**given, colours=colours_of(tuple(colours)))

    def _run(self, request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        """Asks for a run and tells of it until it has ended."""
        visit = self.visits.of(request.session_hash)
        try:
            run = visit.begin(self._form(values), self.model, self.queue, self.root)
        except (Error, OSError, ValueError) as failure:
            yield self._tell(status=status.refused(failure))
            return
        try:
            shown = -1
            while not run.ended.is_set():
                pictures = run.pictures()
                told = self._tell(status=status.progress(run, self.queue.ahead(run)), busy=True)
                if shown < 0:
                    told[2], told[3], told[11] = EMPTY, gr.update(visible=False), gr.update(visible=False)
                if len(pictures) != shown:
                    told[1], shown = self._gallery(run, pictures), len(pictures)
                yield told
                run.ended.wait(TICK_S)
            yield self._finished(visit, run)
        finally:
            run.stop()  # where nobody listens any more

    def _tell(self, status: Any = None, *, busy: bool = False) -> list[Any]:
        """What changes on the page: the outputs of `_run`, most of them as they are."""
        told = [gr.skip() for _ in range(12)]
        told[0] = status
        told[8], told[9] = gr.update(interactive=not busy), gr.update(interactive=busy)
        return told

    def _gallery(self, run: Run, pictures: list[Path]) -> list[tuple[str, str]]:
        batch = run.options.get("batch_size", 1)
        return [(str(path), caption(path.name, batch)) for path in pictures[:SHOWN_MOST]]

    def _finished(self, visit: Visit, run: Run) -> list[Any]:
        assert visit.form
        told = self._tell(status.progress(run))
        told[1] = self._gallery(run, run.pictures())
        told[7] = status.files(run, visit.form.command(self.model, self.loaded))
        told[10] = preview(visit.form.colours, run.keeper.sample)
        bars = chart(last_norms(run.result), [block.name for block in self.model.blocks]) if run.result else ""
        told[11] = gr.update(value=bars, visible=bool(bars))
        names = list(visit.pictures())
        told[2], told[3] = EMPTY, gr.update(visible=False)
        if names:
            _, captured = visit.captured(names[0])
            steps = [str(step) for step in captured.steps()]
            told[2] = visit.look(names[0], ALL, ALL, self.names)
            told[3] = gr.update(visible=bool(steps) or len(names) > 1)
            told[4] = gr.update(choices=names, value=names[0])
            told[5] = gr.update(choices=[ALL, *captured.blocks()], value=ALL)
            told[6] = gr.update(choices=[ALL, *steps], value=ALL)
        return told

    def _stop(self, request: gr.Request) -> None:
        self.visits.of(request.session_hash).stop()

    def _leave(self, request: gr.Request) -> None:
        self.visits.leave(request.session_hash)

    def _last_seed(self, request: gr.Request) -> int:
        form = self.visits.of(request.session_hash).form
        return form.seed if form else -1

    def _typed(self, prompt: str, negative: str, steps: Any) -> tuple[str, str, str]:
        wrong = [prompt_problem(text, count(steps), self.model, negative=no) for text, no in ((prompt, False), (negative, True))]
        return wrong[0], wrong[1], blocks_prompts(prompt, negative, count(steps), self.model)

    def _preview(self, request: gr.Request, *values: Any) -> str:
        run = self.visits.of(request.session_hash).run
        return preview(colours_of(values), run.keeper.sample if run else None)

    def _token(self, picture: str, block: str, step: str, event: gr.EventData, request: gr.Request) -> str:
        self.visits.of(request.session_hash).target = parse_token(str(event.token))
        return self._look(picture, block, step, request)

    def _point(self, picture: str, block: str, step: str, event: gr.EventData, request: gr.Request) -> str:
        visit = self.visits.of(request.session_hash)
        if picture in visit.pictures() and visit.captured(picture)[1].has_points:
            visit.target = Point(int(event.x), int(event.y))
        return self._look(picture, block, step, request)

    def _unpick(self, picture: str, block: str, step: str, request: gr.Request) -> str:
        self.visits.of(request.session_hash).target = None
        return self._look(picture, block, step, request)

    def _look(self, picture: str, block: str, step: str, request: gr.Request) -> str:
        visit = self.visits.of(request.session_hash)
        if picture not in visit.pictures():
            return EMPTY
        try:
            return visit.look(picture, block, step, self.names)
        except LookupError:  # nothing was kept of it
            visit.target = None
            return visit.look(picture, ALL, ALL, self.names)

    def _follow(self, *values: Any) -> tuple[Any, ...]:
        """Step specs that nobody has changed go with the number of steps.

        values: `of_steps`, that number until now, the specs, that of differences last.
        """
        of_steps, before, specs = values[: len(OF_STEPS)], values[len(OF_STEPS)], values[len(OF_STEPS) + 1 :]
        now = sampled(self.model, *of_steps)
        return now, *(followed(spec, count(before), now, last=i == len(specs) - 1) for i, spec in enumerate(specs))
