"""The server: on this machine alone unless asked otherwise, and nothing but the page and the folder of its runs."""

from __future__ import annotations

import ipaddress
import os
import signal
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unetdump.model import Model

UPLOAD_MOST = "64mb"  # a picture to begin from, or to read


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class OwnOrigin:
    """Refuses what pages of other sites ask: a browser names the site of whatever page a request is from, but for plain navigation."""

    def __init__(self, app: Any) -> None:
        """In front of an ASGI application."""
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """403 for an Origin that is not the address at which the page was asked for."""
        headers = dict(scope.get("headers", ()))
        origin, host = headers.get(b"origin"), headers.get(b"host", b"").lower()
        if origin is None or origin.lower() in (b"http://" + host, b"https://" + host):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"asked by a page of another site"})


def prepare(temporary: str) -> None:
    """Tells Gradio what it reads when it is imported: no analytics, no hub, its files in a folder that goes with the server."""
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_TEMP_DIR=temporary)
    for name in ("NO_PROXY", "no_proxy"):  # it looks whether its own address answers
        os.environ[name] = ",".join(part for part in (os.environ.get(name), "127.0.0.1", "localhost", "::1") if part)


def serve(model: Model, loaded: Sequence[str], root: Path, host: str, port: int | None, *, browse: bool) -> int:
    """Serves the page until it is interrupted. Raises OSError where the port or the folder cannot be had."""
    with tempfile.TemporaryDirectory(prefix="unetdump-ui-", ignore_cleanup_errors=True) as temporary:
        prepare(temporary)
        import gradio as gr
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        from .page import Page

        root.mkdir(parents=True, exist_ok=True)
        gr.set_static_paths([root])
        page = Page(model, loaded, root)
        # A name of somebody else's that leads to this machine (DNS rebinding) is not one that it answers to.
        hosts = [host, "localhost"] if is_loopback(host) else ["*"]
        guard = Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)  # type: ignore[arg-type, unused-ignore]
        _, url, _ = page.blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=browse,
            prevent_thread_lock=True,
            quiet=True,
            allowed_paths=[str(root)],
            app_kwargs={"middleware": [guard, Middleware(OwnOrigin)]},
            max_file_size=UPLOAD_MOST,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            footer_links=[],
            theme=page.theme,
            css=page.css,
            _frontend=False,  # does without a look at its own page, which a busy machine may not answer in time
        )
        print(f"unetdump: {url} shows runs in {root}; Ctrl-C ends it", flush=True)
        try:
            _wait()
        finally:
            page.queue.close()
            page.blocks.close(verbose=False)
    return 0


def _wait() -> None:
    """Until SIGINT or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
