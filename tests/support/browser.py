"""A headless Chromium with its driver, and what a page did in it."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def why_no_browser() -> str:
    """Reason to skip; empty where a browser can be driven."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    for names in (("chromium", "chromium-browser"), ("chromedriver",)):
        if not any(shutil.which(name) for name in names):
            return f"no {names[0]} on this machine"
    return ""


class Page:
    """One tab: opens files, measures, and tells what was requested or logged."""

    def __init__(self, driver: Any) -> None:
        """Wraps a driver."""
        self.driver = driver
        driver.get("about:blank")
        self.requests()  # those of the browser's own first page

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Loads a file at a given size of the viewport; narrow ones are phones with touch."""
        phone = width < 600
        self.width = width
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=2 if phone else 1, mobile=phone)  # fmt: skip
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.driver.get(path.as_uri())

    def cdp(self, command: str, **arguments: Any) -> Any:
        """Sends one command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        """Value of a script that returns something."""
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[Any]:
        """Elements by CSS selector."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def texts(self, selector: str) -> list[str]:
        """Visible texts by CSS selector."""
        return [element.text for element in self.all(selector) if element.is_displayed()]

    def requests(self) -> list[str]:
        """URLs asked for since the last call, the pages themselves among them."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events
                if e["method"] == "Network.requestWillBeSent"]  # fmt: skip

    def console(self) -> list[str]:
        """Lines of the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window that was asked for: that of an emulated
        phone grows with its page."""
        widest = self.run("return Math.max(document.documentElement.scrollWidth,"
                          "document.body.scrollWidth)")  # fmt: skip
        return int(widest) - self.width

    def press(self, *keys: str) -> None:
        """Presses keys on whatever has the focus."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def tap(self, element: Any) -> None:
        """Touches the middle of an element."""
        x, y = self.run("const r = arguments[0].getBoundingClientRect();"
                        "return [r.left + r.width / 2, r.top + r.height / 2]", element)  # fmt: skip
        self.cdp("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Writes a PNG of the window, or of the whole page."""
        found = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Starts Chromium with a fresh profile folder; closes it at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = Service(executable_path=shutil.which("chromedriver"))
    environment = {name: os.environ.pop(name) for name in ("http_proxy", "https_proxy",
                   "HTTP_PROXY", "HTTPS_PROXY") if name in os.environ}  # fmt: skip
    try:
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield Page(driver)
        finally:
            driver.quit()
    finally:
        os.environ.update(environment)
