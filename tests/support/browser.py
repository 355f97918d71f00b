"""The page for tests: `kubechat serve` as a real process, and a real Chromium that can reach nothing but loopback.

    with ServedPage(data_dir, snapshot) as served:
        async with chromium() as browser, new_tab(browser, served.url) as tab:
            await tab.open()
            await tab.ask("why is lamp down?")

A tab records what the page tried to load from elsewhere (`tab.foreign`) and every error of the console
(`tab.complaints`); both must be empty for a page that works without the internet.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Route, async_playwright

LIGHTHOUSE = Path(__file__).parents[1] / "scenarios" / "page-lighthouse"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START_SECONDS = 60
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this system: the page is not tested")


class ServedPage:
    """`kubechat serve` in a process of its own, from `with` to its end, when it gets SIGTERM."""

    def __init__(
        self,
        data_dir: Path,
        *,
        snapshot: Path = LIGHTHOUSE,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        """Port 0: any free one. `environment` is laid over this process's own."""
        self.data_dir = data_dir
        start = "from ui.cli.main import main; main()"
        self._command = [sys.executable, "-c", start, "serve", "--port", str(port), "--snapshot", str(snapshot)]
        self._environment = {**os.environ, "KUBECHAT_DATA_DIR": str(data_dir), **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self._output: queue.Queue[str] = queue.Queue()
        self.lines: list[str] = []
        self.url = ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def __enter__(self) -> ServedPage:
        self._process = subprocess.Popen(
            self._command,
            cwd=Path(__file__).parents[2],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._collect, daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while not self.url:
            try:
                line = self._output.get(timeout=max(0.1, deadline - time.monotonic()))
            except queue.Empty:
                line = ""
            if not line:
                self.stop(signal.SIGKILL)
                raise RuntimeError("the server did not start:\n" + "".join(self.lines))
            self.lines.append(line)
            if line.strip().startswith("page"):
                self.url = line.split()[-1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends the process with a signal; its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def output(self) -> str:
        """Everything that the process has said so far."""
        while not self._output.empty():
            self.lines.append(self._output.get_nowait())
        return "".join(self.lines)

    def _collect(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._output.put(line)
        self._output.put("")


@dataclass
class Tab:
    """One tab of the browser on the page."""

    page: Page
    url: str
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str = "/") -> None:
        """Goes to a path of the server."""
        await self.page.goto(self.url + path)

    async def greeted(self) -> None:
        """Waits for the greeting with its starters."""
        await self.page.wait_for_selector(".kc-greeting[data-loading=false]")

    async def ask(self, question: str) -> None:
        """Types a question and sends it."""
        composer = self.page.locator("#chat-input")
        await composer.click()
        await composer.press_sequentially(question)
        await composer.press("Enter")

    async def answered(self, turns: int = 1, status: str = "done") -> None:
        """Waits until so many turns have come to an end."""
        await self.page.wait_for_function(
            "([status, turns]) => document.querySelectorAll(`.kc-turn[data-status=${status}]`).length >= turns",
            arg=[status, turns],
        )

    async def text(self, selector: str) -> str:
        """The visible text of the last match."""
        return await self.page.locator(selector).last.inner_text()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium that resolves no name but loopback's."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def new_tab(
    browser: Browser,
    url: str,
    *,
    width: int = 1280,
    height: int = 850,
    color_scheme: Literal["dark", "light"] = "light",
) -> AsyncIterator[Tab]:
    """A tab with nothing remembered from others."""
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=color_scheme)
    try:
        context.set_default_timeout(20_000)
        tab = Tab(await context.new_page(), url)

        async def only_loopback(route: Route) -> None:
            if urlsplit(route.request.url).hostname == "127.0.0.1":
                await route.continue_()
            else:
                tab.foreign.append(route.request.url)
                await route.abort()

        await context.route("**/*", only_loopback)
        tab.page.on("console", lambda m: tab.complaints.append(m.text) if m.type == "error" else None)
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        yield tab
    finally:
        await context.close()
