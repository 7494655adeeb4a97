"""Serves a folder to this machine's browser, with the headers that threads and WebGPU need.

For looking at what `vidgan export --site` wrote, not for the world: it listens on 127.0.0.1, knows
GET alone, answers only to its own name, and gives out nothing from outside the folder.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vidgan.errors import SystemFault, UsageError

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
}
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def server(folder: Path, *, port: int = 0) -> ThreadingHTTPServer:
    """A server ready to `serve_forever`, on a free port if 0. Raises UsageError, SystemFault."""
    root = folder.resolve()
    if not (root / "index.html").is_file():
        raise UsageError(f"{folder}: no index.html in it; vidgan export --site DIR makes one.")

    class Handler(_Handler):
        folder = root

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise SystemFault(f"port {port}: {error.strerror}; give another --port, or 0.") from error


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    server_version, sys_version = "vidgan", ""

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.command != "GET":
            self.send_error(405)
            return False
        port = self.server.server_address[1]
        # A web site that points its own name at 127.0.0.1 is not let in.
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            self.send_error(421)
            return False
        return True

    def do_GET(self) -> None:
        try:
            file = (self.folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
            file = file / "index.html" if file == self.folder else file
            inside = file.is_relative_to(self.folder) and file.suffix in _TYPES
            content = file.read_bytes() if inside else None
        except (OSError, ValueError):  # absent, or a name that no file can have
            content = None
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", _TYPES[file.suffix])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass
