"""How far a run is, and what it left, as HTML."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import runs
from .problems import line_of
from .runs import Run

SERVED = "gradio_api/file="  # where the server has files of the runs' folder


def duration(seconds: float) -> str:
    """ "0.82 s", "12 s", "3 min 20 s"."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _said(run: Run, ahead: int, files: int) -> str:
    p = run.progress
    at = f"step {p.step} of {p.steps}" if p else "the first step"
    if run.state == runs.WAITING:
        return f"Waiting for {ahead} other run{'s' if ahead != 1 else ''} to end" if ahead else "About to begin"
    if run.state == runs.RUNNING:
        if not p or not p.step:
            return "Before the first step"
        left = (p.steps - p.step) * p.seconds_per_step
        return f"{at.capitalize()} · {duration(p.seconds_per_step)} a step · {duration(left)} left"
    if run.state == runs.DECODING:
        return "Decoding the picture"
    if run.state == runs.STOPPED:
        return f"Stopped at {at}" if p else "Stopped before it began"
    return f"Done: {files} files" + (f" · {duration(p.seconds)} for {p.steps} steps" if p else "")


def progress(run: Run | None, ahead: int = 0) -> str:
    """The bar and a line; or the failure."""
    if run is None:
        return '<div class="status idle"><div class="bar"><i style="width:0"></i></div><p>Ready</p></div>'
    if run.failure:
        return f'<div class="status failed"><p class="problem" role="alert">{escape(line_of(run.failure))}</p></div>'
    p, ended = run.progress, run.state in (runs.DONE, runs.DECODING)
    part = 100 if ended else 100 * p.step / p.steps if p else 0
    files = sum(1 for path in run.folder.rglob("*") if path.is_file()) if run.state == runs.DONE else 0
    return (
        f'<div class="status {run.state}" role="status"><div class="bar"><i style="width:{part:.0f}%"></i></div>'
        f"<p>{escape(_said(run, ahead, files))}</p></div>"
    )


def refused(failure: BaseException) -> str:
    """A run that did not come to be."""
    return f'<div class="status failed"><p class="problem" role="alert">{escape(line_of(failure))}</p></div>'


def link(path: Path, text: str, *, download: bool = True) -> str:
    """A link to one of a run's files."""
    how = f'download="{escape(path.name)}"' if download else 'target="_blank" rel="noopener"'
    return f'<a href="{SERVED}{quote(str(path))}" {how}>{escape(text)}</a>'


def _what(entry: dict[str, Any]) -> str:
    """A file of the manifest in words."""
    words = [str(entry[key]) for key in ("source", "block", "kind") if entry.get(key)]
    words += [f"step {entry['step']}"] if entry.get("step") else []
    words += ["x".join(str(n) for n in entry["shape"])] if entry.get("shape") else []
    return " · ".join(words)


def files(run: Run, command: str) -> str:
    """The run's folder: where it is, the command that writes the same, every file to be downloaded."""
    folder = run.folder
    said = '<p>The command that writes the same:</p>' if run.state == runs.DONE else "<p>The command that writes all of it:</p>"
    told = f'{said}<pre class="command">{escape(command)}</pre>'
    if not folder.is_dir():
        return f'<div class="files"><p class="said">It left no files.</p>{told}</div>'
    rows = []
    manifest = folder / "manifest.json"
    listed = json.loads(manifest.read_text())["files"] if manifest.exists() else []
    known = {entry["file"]: entry for entry in listed}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        rows.append(f"<tr><td>{link(path, name)}</td><td>{escape(_what(known.get(name, {})))}</td><td>{path.stat().st_size:,}</td></tr>")
    report = folder / "report.html"
    shown = f"<p>{link(report, 'Open the report', download=False)}: all of it as one page</p>" if report.exists() else ""
    return (
        f'<div class="files"><p>Folder: <code>{escape(str(folder))}</code></p>{shown}{told}<div class="all"><table>'
        "<thead><tr><th>File</th><th>What it is</th><th>Bytes</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div></div>"
    )
