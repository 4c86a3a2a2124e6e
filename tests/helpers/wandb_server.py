"""A stand-in for a W&B server on loopback, with the troubles that real ones have."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KEY = "0123456789" * 4


class StandIn:
    """What the server was told, and how it behaves. Rows of a run: ``runs[id]``, by line number.

    Attributes:
        delay: seconds before it answers; an unset ``released`` ends them.
        status: HTTP status of every answer, with an error message in its body if it is not 200.
        hangs: whether it takes requests and never answers.
        rows_until_it_hangs: number of rows that it accepts before it stops answering; None for any number.
    """

    def __init__(
        self, *, delay: float = 0, status: int = 200, hangs: bool = False, dies_after: int | None = None
    ) -> None:
        self.delay, self.status, self.hangs, self.dies_after = delay, status, hangs, dies_after
        self.released = threading.Event()
        self.asked = threading.Event()
        self.runs: dict[str, dict[str, Any]] = {}
        self.log = []
        self.url = ""

    def environment(self, **more):
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "NETRC": "/nowhere", **more}

    def graphql(self, body):
        query, variables = body["query"], body.get("variables") or {}
        if "upsertBucket" in query:
            name = variables["name"]
            new = name not in self.runs
            run = self.runs.setdefault(name, {"history": {}, "config": {}})
            run["project"], run["entity"] = variables.get("project"), variables.get("entity")
            run["displayName"] = variables.get("displayName")
            run["config"] = json.loads(variables.get("config") or "{}")
            return {"upsertBucket": {"bucket": self.bucket(name, run), "inserted": new}}
        if "RunResumeStatus" in query:
            run = self.runs.get(variables["name"])
            return {
                "model": {
                    "id": "UHJv",
                    "name": variables.get("project"),
                    "entity": {"id": "RW50", "name": "me"},
                    "bucket": None if run is None else self.bucket(variables["name"], run),
                }
            }
        if "viewer" in query:
            return {
                "viewer": {
                    "id": "VXNl",
                    "entity": "me",
                    "username": "me",
                    "flags": "{}",
                    "teams": {"edges": []},
                }
            }
        if "serverInfo" in query:
            return {"serverInfo": {"features": [], "cliVersionInfo": None, "latestLocalVersionInfo": None}}
        if "createRunFiles" in query:
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": []}}
        if "__type" in query or "__schema" in query:
            return {"QueryType": None, "TypeInfo": None, "__type": None}
        return {}

    def bucket(self, name, run):
        h = run["history"]
        return {
            "id": "UnVu",
            "name": name,
            "displayName": run["displayName"],
            "description": None,
            "config": json.dumps(run["config"]),
            "sweepName": None,
            "historyLineCount": len(h),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(h[max(h)])] if h else []),
            "eventsTail": "[]",
            "summaryMetrics": json.dumps(h[max(h)] if h else {}),
            "wandbConfig": '{"t":1}',
            "tags": [],
            "project": {"id": "UHJv", "name": run["project"], "entity": {"id": "RW50", "name": "me"}},
        }

    def stream(self, run, body):
        for name, part in (body.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                for i, line in enumerate(part["content"]):
                    self.runs[run]["history"][part["offset"] + i] = json.loads(line)
        if "exitcode" in body:
            self.runs[run]["exitcode"] = body["exitcode"]


@contextmanager
def wandb_server(**behaviour):
    stand = StandIn(**behaviour)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def go(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            stand.log.append((self.command, self.path, body[:3000]))
            stand.asked.set()
            if stand.hangs:
                stand.released.wait(600)
            elif stand.delay:
                stand.released.wait(stand.delay)
            path = urlsplit(self.path).path
            answer = {}
            if stand.status != 200:
                answer = {"errors": [{"message": "out of order"}]}
            elif path == "/graphql":
                answer = {"data": stand.graphql(json.loads(body))}
            elif path.endswith("/file_stream"):
                stand.stream(path.split("/")[-2], json.loads(body))
                if (
                    stand.dies_after is not None
                    and len(stand.runs[path.split("/")[-2]]["history"]) >= stand.dies_after
                ):
                    stand.hangs = True
            out = json.dumps(answer).encode()
            try:
                self.send_response(stand.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)
            except OSError:
                pass

        do_GET = do_POST = do_PUT = do_HEAD = go

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stand.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand
    finally:
        stand.released.set()
        server.shutdown()
        server.server_close()
