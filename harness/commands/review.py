"""`harness review`: the server, its address, and a browser on it."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import UsageError

if TYPE_CHECKING:
    from harness.report.review.server import ReviewServer

PORT = 8780


def review_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--reports", metavar="DIR", help="where the runs are (default: reports)")
    sub.add_argument("--store", metavar="DIR", help="default: .harness")
    sub.add_argument("--port", type=int, default=PORT, metavar="N", help=f"0 takes a free one (default: {PORT})")
    sub.add_argument("--no-browser", action="store_true", help="print the address and open nothing")


def review(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from harness.core.settings import Settings
    from harness.report.review.app_state import AppState
    from harness.report.review.server import ReviewServer
    from harness.store import Store

    settings = Settings.load(Path.cwd(), {"store": options.store, "report_dir": options.reports})
    with Store(settings.store) as store:
        server = ReviewServer(
            AppState(settings.root, settings.report_dir, store, git_name(settings.root)), options.port
        )
        print(f"review: {server.address}\nrefuses everybody else; Ctrl-C ends it", flush=True)
        if not options.no_browser:
            threading.Thread(target=open_browser, args=(server.address,), daemon=True).start()
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
    from harness.core.git import git

    try:
        return git(root, "config", "user.name")
    except UsageError:
        return ""


def open_browser(address: str) -> None:
    """Show the address in a browser with windows; one of the terminal would take the terminal away."""
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) is not webbrowser.GenericBrowser:
        browser.open(address)
