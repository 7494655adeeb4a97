"""Serves a folder to this machine's browser, with the headers that threads and WebGPU need.

For looking at what `vidgan export --site` wrote, not for the world: it listens on 127.0.0.1, knows
GET alone, answers only to its own name, and gives out nothing from outside the folder.
"""

import functools
import mimetypes
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from vidgan.errors import SystemFault, UsageError


def server(folder: Path, *, port: int = 0) -> ThreadingHTTPServer:
    """A server ready to `serve_forever`, on a free port if 0. Raises UsageError, SystemFault."""
    if not (folder / "index.html").is_file():
        raise UsageError(f"{folder}: no index.html in it; vidgan export --site DIR makes one.")
    if not 0 <= port < 2**16:
        raise UsageError(f"--port {port}: from 0 to 65535.")
    handler = functools.partial(_Handler, directory=str(folder.resolve()))
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise SystemFault(f"port {port}: {error.strerror}; give another --port, or 0.") from error


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = mimetypes.MimeTypes().types_map[True]  # Python's own, not that of the system

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        port = self.server.server_address[1]
        # A web site that points its own name at 127.0.0.1 is not let in.
        known = self.headers.get("Host") in (f"127.0.0.1:{port}", f"localhost:{port}")
        if not known or self.command != "GET":
            self.send_error(405 if known else 421)
        return known and self.command == "GET"

    def translate_path(self, path: str) -> str:
        file = Path(super().translate_path(path))
        try:
            file = (file / "index.html" if file.is_dir() else file).resolve()
        except (OSError, ValueError):  # a name that no file can have
            return ""
        return str(file) if file.is_relative_to(self.directory) else ""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass
