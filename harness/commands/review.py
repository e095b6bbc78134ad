"""`harness review`: the server, its address, and a browser on it."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.commands.options import command, flag, option, store_option
from harness.core.errors import UsageError
from harness.core.git import git
from harness.core.settings import Settings
from harness.report.review.app_state import AppState
from harness.report.review.server import FILE, ReviewServer
from harness.store import Store

PORT = 8780


@command
@option("--reports", metavar="DIR", help="where the runs are (default: reports)")
@store_option
@option("--port", type=int, default=PORT, metavar="N", help=f"0 takes a free one (default: {PORT})")
@flag("--no-browser", help="print the address and open nothing")
def review(reports: str | None, store: str | None, port: int, no_browser: bool) -> int:
    """Serve until Ctrl-C."""
    settings = Settings.load(Path.cwd(), {"store": store, "report_dir": reports})
    with Store(settings.store) as kept:
        server = ReviewServer(AppState(settings.root, settings.report_dir, kept, git_name(settings.root)), port)
        print(f"review: {server.address}\nlets one browser in, refuses everybody else; Ctrl-C ends it", flush=True)
        server.entered = lambda: print(f"review: opened; the next browser needs {server.address}", flush=True)
        with TemporaryDirectory(prefix="harness-review-") as private:  # nobody else may look into it
            if not no_browser:
                page = write_entry(Path(private), server.address)
                threading.Thread(target=open_browser, args=(page.as_uri(),), daemon=True).start()
            serve(server)
    return 0


def serve(server: ReviewServer) -> None:
    """Answer until Ctrl-C, then let go of the port."""
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        print("\nreview: ended; everything that was said is in its files")
    finally:
        server.server_close()


def git_name(root: Path) -> str:
    """Who sits here, as git knows it; "" where it does not."""
    try:
        return git(root, "config", "user.name")
    except UsageError:
        return ""


def write_entry(folder: Path, address: str) -> Path:
    """A page that leads to the address, because everybody on this machine may read the words a program began with."""
    page = folder / "review.html"
    goal = f"{address}&from={FILE}"
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={goal}">\n', encoding="utf-8")
    return page


def open_browser(address: str) -> None:
    """Show the address in a browser with windows; one of the terminal would take the terminal away."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) is not webbrowser.GenericBrowser:
        browser.open(address)
