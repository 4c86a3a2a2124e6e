"""A stand-in for a W&B server on loopback: keeps the rows of runs, has the troubles of real servers."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.helpers.processes import DEADLINE

KEY = "0123456789" * 4


class WandbServer:
    """What the server knows, and how it behaves; both may be changed while it runs.

    Attributes:
        delay: seconds before it answers a request.
        status: HTTP status of its answers.
        answering: while this is cleared, it takes requests and does not answer.
        asked: set once there was a request.
        runs: by id, what it was told of each: ``history``, rows by their number; ``config``, ``exit_code``.
        greeted: how often it was asked who the user is, which no training needs.
        url: its address.
    """

    def __init__(self, *, delay: float = 0.0, status: int = 200, answering: bool = True) -> None:
        self.delay, self.status = delay, status
        self.answering, self.asked, self._closed = threading.Event(), threading.Event(), threading.Event()
        if answering:
            self.answering.set()
        self.runs: dict[str, dict[str, Any]] = {}
        self.greeted, self.url = 0, ""

    def environment(self) -> dict[str, str]:
        """Variables of a program that is to use this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "NETRC": "/nowhere"}

    def steps(self, run: str) -> list[int]:
        """The steps of a run's rows, in order."""
        history = self.runs[run]["history"]
        return [history[number]["_step"] for number in sorted(history)]

    def close(self) -> None:
        """Let go of every request that is still held."""
        self._closed.set()
        self.answering.set()

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """Status and content of the answer to a request, when it is time for it."""
        self.asked.set()
        self._closed.wait(self.delay)
        self.answering.wait(DEADLINE)
        if self.status != 200:
            return self.status, {"errors": [{"message": f"made-up trouble {self.status}"}]}
        if path == "/graphql":
            asked = json.loads(body)
            return 200, {"data": self._graphql(asked["query"], asked.get("variables") or {})}
        if path == "/oidc/token":
            return 200, {"access_token": "made-up", "expires_in": 3600, "token_type": "Bearer"}
        if path.endswith("/file_stream"):
            self._take(self.runs[path.split("/")[-2]], json.loads(body))
        return 200, {}

    def _graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables.get("name")
        if "upsertBucket" in query:
            new = name not in self.runs
            run = self.runs.setdefault(str(name), {"history": {}})
            told = {key: value for key, value in variables.items() if value is not None}
            run |= told | {"config": json.loads(variables.get("config") or "{}")}
            return {"upsertBucket": {"bucket": self._bucket(run), "inserted": new}}
        if "RunResumeStatus" in query:
            found = self.runs.get(str(name))
            model = {"id": "UHJv", "name": variables.get("project"), "entity": {"id": "RW50", "name": "me"}}
            return {"model": model | {"bucket": found and self._bucket(found)}}
        if "viewer" in query:
            self.greeted += 1
            teams = {"edges": []}
            return {"viewer": {"id": "VXNl", "entity": "me", "username": "me", "flags": "{}", "teams": teams}}
        if "createRunFiles" in query:
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": []}}
        return {}

    @staticmethod
    def _bucket(run: dict[str, Any]) -> dict[str, Any]:
        history = run["history"]
        last = history[max(history)] if history else {}
        entity = {"id": "RW50", "name": run.get("entity", "me")}
        project = {"id": "UHJv", "name": run.get("project"), "entity": entity}
        return {
            "id": "UnVu", "name": run["name"], "displayName": run.get("displayName"), "description": None,
            "config": json.dumps(run["config"]), "sweepName": None, "project": project, "tags": [],
            "historyLineCount": len(history), "eventsLineCount": 0, "logLineCount": 0, "eventsTail": "[]",
            "historyTail": json.dumps([json.dumps(last)] if history else []),
            "summaryMetrics": json.dumps(last), "wandbConfig": '{"t": 1}',
        }  # fmt: skip

    @staticmethod
    def _take(run: dict[str, Any], told: dict[str, Any]) -> None:
        rows = (told.get("files") or {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
        for number, row in enumerate(rows["content"], rows["offset"]):
            run["history"][number] = json.loads(row)
        if told.get("complete"):
            run["exit_code"] = told["exitcode"]


@contextmanager
def wandb_server(**behaviour: Any) -> Iterator[WandbServer]:
    """A running server; the arguments are those of :class:`WandbServer`."""
    stand_in = WandbServer(**behaviour)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            status, content = stand_in.answer(urlsplit(self.path).path, body)
            told = json.dumps(content).encode()
            with suppress(OSError):  # whoever asked has gone
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

        do_GET = do_PUT = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        stand_in.close()
        server.shutdown()
        server.server_close()
