"""Serves pages to the browser on this machine, with the headers that threads and WebGPU need.

It listens on 127.0.0.1 and answers only under its own name. Of a folder it gives out nothing else.
"""

import contextlib
import functools
import mimetypes
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from vidgan.cli import terminal
from vidgan.errors import Interrupted, SystemFault, UsageError, VidganError

Answers = Mapping[str, tuple[str, Callable[[str], bytes | Iterator[bytes]]]]
_MOST_CONNECTIONS = 64  # a browser opens six


def server(folder: Path, *, port: int = 0) -> ThreadingHTTPServer:
    """A server of a folder, ready for `run`; 0 is a free port. Raises UsageError, SystemFault."""
    if folder.is_file():
        raise UsageError(f"{folder}: a file; give the folder that it lies in: {folder.parent}")
    if not (folder / "index.html").is_file():
        raise UsageError(f"{folder}: there is no index.html; vidgan export --site DIR makes one.")
    return _listening(functools.partial(_Files, directory=str(folder.resolve())), port)


def answering(answers: "Answers", *, port: int = 0) -> ThreadingHTTPServer:
    """A server of what functions return, ready for `run`. Raises UsageError and SystemFault.

    answers   the type and the function of "GET /page", called with what stands after "?", or of
              "POST /page", called with what was posted; a VidganError becomes an answer, too. What
              iterates is sent piece by piece, until the client has gone.
    """
    return _listening(functools.partial(_Answers, answers), port)


def _listening(handler: Callable[..., "_Handler"], port: int) -> ThreadingHTTPServer:
    if not 0 <= port < 2**16:
        raise UsageError(f"--port {port}: from 0 to 65535.")
    try:
        return _Server(("127.0.0.1", port), handler)
    except OSError as error:
        raise SystemFault(f"port {port}: {error.strerror}; give another --port, or 0.") from error


def address(server: ThreadingHTTPServer, path: str = "") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{path}"


def run(server: ThreadingHTTPServer, path: str = "") -> None:
    """Say where the page is, and serve it until Ctrl-C."""
    with server:
        terminal.to_stdout(f"{address(server, path)}  (Ctrl-C ends)")
        try:
            server.serve_forever()
        except KeyboardInterrupt as stop:  # Ctrl-C is how it is meant to end
            if isinstance(stop, Interrupted) and stop.number != signal.SIGINT:
                raise


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


class _Handler(BaseHTTPRequestHandler):
    """Lets through what comes from a browser that shows this server, by one of the methods."""

    timeout = 15  # seconds without a byte from, or to, the client
    methods = ("GET",)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        self.server.answering(self.request)
        port, host = self.server.server_address[1], self.headers.get("Host")
        # Else a web site whose name points to 127.0.0.1 could read all (DNS rebinding), and any
        # web site could change something.
        known = host in (f"127.0.0.1:{port}", f"localhost:{port}")
        nowhere = [None] * (self.command == "GET")  # as an address that was typed in
        own = self.headers.get("Origin") in (f"http://{host}", *nowhere)
        for status, holds in ((421, known), (405, self.command in self.methods), (403, own)):
            if not holds:
                self.send_error(status)
                return False
        return True

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Files(_Handler, SimpleHTTPRequestHandler):
    extensions_map = mimetypes.MimeTypes().types_map[True]  # Python's own table, not the system's

    def translate_path(self, path: str) -> str:
        file = Path(super().translate_path(path))
        try:
            file = (file / "index.html" if file.is_dir() else file).resolve()
        except (OSError, ValueError):  # a name that no file can have
            return ""
        return str(file) if file.is_relative_to(self.directory) else ""


class _Answers(_Handler):
    methods = ("GET", "POST")
    _one_at_a_time = threading.Lock()

    def __init__(self, answers: Answers, *request: object) -> None:
        self._answers = answers
        super().__init__(*request)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self._answer(f"GET {path}", query)

    def do_POST(self) -> None:
        length = re.fullmatch("[0-9]{1,4}", self.headers.get("Content-Length", ""))
        content = self.rfile.read(int(length[0]) if length else 0)
        self._answer(f"POST {self.path}", content.decode(errors="replace"))

    def _answer(self, what: str, given: str) -> None:
        if what not in self._answers:
            self.send_error(404)
            return
        kind, answer = self._answers[what]
        try:
            with self._one_at_a_time:
                status, content = 200, answer(given)
        except VidganError as error:
            status, kind, content = 400, "text/plain", str(error).encode(errors="backslashreplace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        if isinstance(content, bytes):
            self.send_header("Content-Length", str(len(content)))
            content = (content,)
        self.end_headers()
        for part in content:
            self.wfile.write(part)
