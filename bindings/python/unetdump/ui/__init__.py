"""`unetdump ui`: a page to work in, by Gradio (`pip install unetdump[ui]`)."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

PORT = 7860  # Gradio's, and the webui's


def _demo() -> str | None:
    """The demo model, from a checkout's folder or one in it."""
    here = Path.cwd()
    found = [folder / "models" / "demo" for folder in (here, *here.parents) if (folder / "models" / "demo" / "unet").is_dir()]
    return str(found[0]) if found else None


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("unetdump ui", description="A page to work in: prompts in, pictures and their insides out.")
    parser.add_argument("-m", "--model", default=_demo(), help="a diffusers folder or a .safetensors file (models/demo, if it is there)")
    parser.add_argument("-o", "--output", default="unetdump-runs", type=Path, help="the folder of its runs, all served (unetdump-runs)")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; all but this machine's own lets others in (127.0.0.1)")
    parser.add_argument("--port", type=int, help=f"the port (the first from {PORT} on that is free)")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or reference (auto)")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16 (auto)")
    parser.add_argument("--threads", type=int, default=0, help="0 is one for each core (0)")
    parser.add_argument("--vae", help="another autoencoder: a .safetensors file or a diffusers vae folder")
    lora = "FILE[:WEIGHT][:IN04=0.5,OUT00-OUT08=0,TE=1]; may be given several times"
    parser.add_argument("--lora", action="append", default=[], help=lora)
    parser.add_argument("--embeddings", help="a folder of embeddings (safetensors): a file's name in a prompt stands for it")
    return parser.parse_args(given)


def _loaded(arguments: argparse.Namespace) -> list[str]:
    """What `unetdump generate` is given to load the same model, but for the device."""
    words = ["-m", arguments.model]
    for option in ("vae", "embeddings"):
        words += [f"--{option}", getattr(arguments, option)] if getattr(arguments, option) else []
    words += ["--precision", arguments.precision] if arguments.precision != "auto" else []
    hashed = any(path and Path(path).is_file() for path in (arguments.model, arguments.vae))  # in pictures' text
    return words + [word for lora in arguments.lora for word in ("--lora", lora)] + (["--model-hash"] if hashed else [])


def main(given: list[str]) -> int:
    """Loads the model and serves the page. 0 when it was ended, 1 when it failed, 2 for bad usage."""
    from unetdump import Error, Lora, load

    arguments = _arguments(given)
    if importlib.util.find_spec("gradio") is None:
        print("unetdump: ui needs Gradio: pip install 'unetdump[ui]'", file=sys.stderr)
        return 1
    if arguments.model is None:
        print("unetdump: ui needs -m MODEL", file=sys.stderr)
        return 2
    from .server import serve

    try:
        loras = [Lora.parse(text) for text in arguments.lora]
        how = {name: getattr(arguments, name) for name in ("device", "precision", "threads", "vae", "embeddings")}
        model = load(arguments.model, loras=loras, hash_files=True, **how)
        return serve(model, _loaded(arguments), arguments.output.resolve(), arguments.host, arguments.port, browse=arguments.open)
    except (Error, OSError) as failure:
        print(f"unetdump: {failure}", file=sys.stderr)
        return 1
