"""A small OpenAI-compatible server on loopback: answers by a function, and misbehaves where it is told to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-of-the-test"


def judged_by_length(body: dict[str, Any]) -> str:
    """Answer of a judge that likes the longer response, and rates one by its words."""
    text = body["messages"][-1]["content"]
    if "<answer A>" in text:
        first, second = (len(text.split(f"<answer {name}>")[1].split("</answer")[0]) for name in "AB")
        return f"One is longer. [[{'A' if first > second else 'B' if first < second else 'C'}]]"
    return f"[[{min(len(text.split('<answer>')[1].split('</answer')[0].split()), 10)}]]"


@dataclass
class Endpoint:
    """What the server does, and what it was asked.

    Args:
        answer: from the request's body to the text, or to (status, message) of a refusal.
        faults: status of the first answers, one by one, before it answers rightly.
    """

    url: str
    answer: Callable[[dict[str, Any]], str | tuple[int, str]] = judged_by_length
    faults: list[int] = field(default_factory=list)
    finish_reason: str = "stop"
    asked: list[dict[str, Any]] = field(default_factory=list)  # bodies that came with the right key


@contextmanager
def fake_endpoint() -> Iterator[Endpoint]:
    """Serve on a free port until the block ends."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def reply(self, status: int, value: dict[str, Any]) -> None:
            raw = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.send_header("retry-after-ms", "1")  # the client would wait half a second, then longer
            self.end_headers()
            self.wfile.write(raw)

        def refuse(self, status: int, message: str) -> None:
            self.reply(status, {"error": {"message": message, "type": "error", "code": None}})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if self.path != "/v1/chat/completions":
                return self.refuse(404, f"no such path: {self.path}")
            if given != KEY:
                return self.refuse(401, f"Incorrect API key provided: {given}")
            with lock:
                endpoint.asked.append(body)
                fault = endpoint.faults.pop(0) if endpoint.faults else None
            if fault:
                return self.refuse(fault, "not now")
            text = endpoint.answer(body)
            if isinstance(text, tuple):
                return self.refuse(*text)
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": endpoint.finish_reason}
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
            self.reply(
                200,
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": body["model"],
                    "choices": [choice],
                    "usage": usage,
                },
            )

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away, as one does that gives up, is no fault of the test."""

    server = Server(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
