"""A page for live pictures, for this machine alone: an MJPEG stream, two buttons, and the score."""

import contextlib
import json
import queue
import socket
import sys
import threading
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ...errors import PatchvladError
from .screens import NEXT, QUIT, Shown

HOST = "127.0.0.1"
GRACE = 0.5  # seconds that viewers have to fetch the last picture
HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>patchvlad live</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<link rel="stylesheet" href="/live.css"></head>
<body><main><img src="/stream" alt="The current frame beside the reference frame, with lines between what matches">
<div><button id="n">New reference <kbd>n</kbd></button> <button id="q">Quit <kbd>q</kbd></button>
<output id="said">waiting for the first frame</output></div></main>
<script src="/live.js"></script></body></html>
"""
CSS = """body { margin: 0; background: #181818; color: #eee; font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 1288px; margin: 0 auto; padding: 1rem }
img { display: block; width: 100%; min-height: 4rem; border-radius: 6px; background: #222 }
div { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin-top: .8rem }
button { font: inherit; padding: .4rem 1rem; border: 1px solid #888; border-radius: 6px; background: #333; color: #fff }
button:hover:enabled { background: #444 }
button:focus-visible { outline: 3px solid #5ad }
button:disabled { opacity: .4 }
kbd { margin-left: .4rem; padding: 0 .4rem; border: 1px solid #888; border-radius: 4px; font-size: .85em }
output { margin-left: .4rem; font-variant-numeric: tabular-nums }
"""
JS = """const said = document.getElementById("said"), buttons = document.querySelectorAll("button");
let ended = false;
const end = () => { ended = true; said.value = "ended"; buttons.forEach(button => { button.disabled = true; }); };
const send = key => { if (!ended) fetch("/" + key, { method: "POST" }).catch(end); };
buttons.forEach(button => { button.onclick = () => send(button.id); });
document.onkeydown = event => {
  const plain = !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (plain && (event.key === "n" || event.key === "q")) send(event.key);
};
const ask = async () => {
  try {
    const now = await (await fetch("/status")).json();
    if (now.shown) said.value = `score ${now.score.toFixed(5)} \\u00b7 ${now.rate.toFixed(1)} frames per second`
      + ` \\u00b7 ${now.dropped} dropped \\u00b7 reference: ${now.reference}`;
  } catch { return end(); }
  setTimeout(ask, 500);
};
ask();
"""
FILES = {"/": ("text/html", HTML), "/live.css": ("text/css", CSS), "/live.js": ("text/javascript", JS)}


@contextlib.contextmanager
def open_page(port: int, keys: "queue.SimpleQueue[str]") -> Iterator["Page"]:
    """Serves a page at http://127.0.0.1:PORT; its buttons and keys put "n" and "q" into `keys`.

    Raises:
        PatchvladError: the port cannot be used.
    """
    page = Page(keys)
    try:
        server = _Server((HOST, port), type("Handler", (_Handler,), {"page": page}))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "ports are 0 to 65535"
        raise PatchvladError(
            f"port {port} cannot be used ({reason}): give another one, or --http 0 for any that is free"
        ) from error
    page.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield page
    finally:
        page.end()
        server.shutdown()
        server.server_close()


class Page:
    """What the page shows; a screen."""

    def __init__(self, keys: "queue.SimpleQueue[str]") -> None:
        self.keys = keys
        self.port = 0
        self._changed = threading.Condition()
        self._jpeg, self._number, self._ended, self._viewers = b"", 0, False, 0
        self._status: dict[str, float | str] = {"shown": 0}

    @property
    def address(self) -> str:
        """To open in a browser."""
        return f"http://{HOST}:{self.port}"

    def show(self, shown: Shown) -> None:
        """Shows a picture to whoever looks."""
        import cv2

        rgb = cv2.cvtColor(shown.picture, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        with self._changed:
            self._jpeg, self._number = jpeg, self._number + 1
            self._status = {
                "shown": self._number,
                "score": shown.score,
                "rate": shown.rate,
                "dropped": shown.dropped,
                "reference": shown.reference,
            }
            self._changed.notify_all()

    def idle(self) -> None:
        """Its server has threads of its own."""

    def status(self) -> bytes:
        """What there is to say of the picture, as JSON."""
        with self._changed:
            return json.dumps(self._status).encode()

    def pictures(self) -> Generator[bytes, None, None]:
        """The newest JPEG, again and again as there are new ones, until the end."""
        number = 0
        with self._changed:
            self._viewers += 1
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._ended or self._number > number)  # noqa: B023 - called at once
                    if self._number == number:
                        return
                    jpeg, number = self._jpeg, self._number
                yield jpeg
        finally:
            with self._changed:
                self._viewers -= 1
                self._changed.notify_all()

    def end(self) -> None:
        """Ends all streams, once viewers have the last picture."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._viewers == 0, GRACE)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # where it would let two programs share a port

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that has gone is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """Answers the page itself, and no page of anybody else's that the same browser shows."""

    page: Page

    def do_GET(self) -> None:
        if not self._is_own():
            return
        if self.path in FILES:
            kind, text = FILES[self.path]
            self._answer(f"{kind}; charset=utf-8", text.encode())
        elif self.path == "/status":
            self._answer("application/json", self.page.status())
        elif self.path == "/stream":
            self._stream()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        if not self._is_own():
            return
        if self.path in (f"/{NEXT}", f"/{QUIT}"):
            self.page.keys.put(self.path[1:])
            self._answer("text/plain", b"")
        else:
            self.send_error(404)

    def _is_own(self) -> bool:
        """Whether this page asks, by this machine's name; else answers 403."""
        own = {f"{name}:{self.page.port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")  # browsers say it with every POST, other programs need not
        if self.headers.get("Host") in own and (origin is None or origin in {f"http://{name}" for name in own}):
            return True
        self.send_error(403)
        return False

    def _answer(self, kind: str, body: bytes) -> None:
        self._head(kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'self'; img-src 'self' data:")
        self.end_headers()
        self.wfile.write(body)

    def _head(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")

    def _stream(self) -> None:
        self._head("multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.closing(self.page.pictures()) as pictures:
            for jpeg in pictures:  # the boundary behind each picture has browsers show it at once
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                self.wfile.write(b"--frame\r\n" + head + jpeg + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Says nothing of each request."""
