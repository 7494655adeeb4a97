"""Serves a folder to the browser on this machine, with the headers that threads and WebGPU need.

It listens on 127.0.0.1, answers only GET and only under its own name, and never leaves the folder.
"""

import contextlib
import functools
import mimetypes
import socket
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from vidgan.errors import SystemFault, UsageError

_MOST_CONNECTIONS = 64  # a browser opens six


def server(folder: Path, *, port: int = 0) -> ThreadingHTTPServer:
    """A server ready for `serve_forever`, on a free port if 0. Raises UsageError, SystemFault."""
    if folder.is_file():
        raise UsageError(f"{folder}: a file; give the folder that it lies in: {folder.parent}")
    if not (folder / "index.html").is_file():
        raise UsageError(f"{folder}: there is no index.html; vidgan export --site DIR makes one.")
    if not 0 <= port < 2**16:
        raise UsageError(f"--port {port}: from 0 to 65535.")
    handler = functools.partial(_Handler, directory=str(folder.resolve()))
    try:
        return _Server(("127.0.0.1", port), handler)
    except OSError as error:
        raise SystemFault(f"port {port}: {error.strerror}; give another --port, or 0.") from error


class _Server(ThreadingHTTPServer):
    """For each new connection beyond the most, it ends the one that has asked nothing for longest,
    or else been answered for longest. So clients that are slow on purpose keep nobody else out."""

    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: object) -> None:
        self._asking, self._answered = {}, {}  # open connections, the oldest first
        self._changing = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: socket.socket, client_address: object) -> None:
        with self._changing:
            self._asking[request] = True
            if len(self._asking) + len(self._answered) > _MOST_CONNECTIONS:
                # The new one is the last of those that have not asked.
                some = self._asking if len(self._asking) > 1 else self._answered
                oldest = next(iter(some))
                del some[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread then ends, and closes it
        super().process_request(request, client_address)

    def answering(self, request: socket.socket) -> None:
        """Note that a connection has asked for something."""
        with self._changing:
            if self._asking.pop(request, None):
                self._answered[request] = True

    def shutdown_request(self, request: socket.socket) -> None:
        with self._changing:
            self._asking.pop(request, None)
            self._answered.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):  # the client has gone, or was too slow
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    timeout = 15  # seconds without a byte from, or to, the client
    extensions_map = mimetypes.MimeTypes().types_map[True]  # Python's own table, not the system's

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        self.server.answering(self.request)
        port = self.server.server_address[1]
        # Else a web site whose name points to 127.0.0.1 could read the folder (DNS rebinding).
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
        """Log nothing."""
