"""Serves a folder to this machine's browser, with the headers that threads and WebGPU need.

For looking at what `vidgan export --site` wrote, not for the world: it listens on 127.0.0.1, knows
GET alone, answers only to its own name, and gives out nothing from outside the folder.
"""

import mimetypes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vidgan.errors import SystemFault, UsageError

_TYPES = mimetypes.MimeTypes()  # Python's own table, not that of the system
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "X-Content-Type-Options": "nosniff",
}


def server(folder: Path, *, port: int = 0) -> ThreadingHTTPServer:
    """A server ready to `serve_forever`, on a free port if 0. Raises UsageError, SystemFault."""
    if not (folder / "index.html").is_file():
        raise UsageError(f"{folder}: no index.html in it; vidgan export --site DIR makes one.")
    handler = type("Handler", (_Handler,), {"folder": folder.resolve()})
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise SystemFault(f"port {port}: {error.strerror}; give another --port, or 0.") from error


class _Handler(BaseHTTPRequestHandler):
    folder: Path

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        port = self.server.server_address[1]
        # A web site that points its own name at 127.0.0.1 is not let in.
        known = self.headers.get("Host") in (f"127.0.0.1:{port}", f"localhost:{port}")
        if not known or self.command != "GET":
            self.send_error(405 if known else 421)
        return known and self.command == "GET"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        try:
            file = (self.folder / (path or "index.html")).resolve()
            content = file.read_bytes() if file.is_relative_to(self.folder) else None
        except (OSError, ValueError):  # absent, a folder, or a name that no file can have
            content = None
        if content is None:
            return self.send_error(404)
        self.send_response(200)
        kind = _TYPES.guess_type(file.name)[0] or "application/octet-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass
