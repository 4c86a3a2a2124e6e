"""Measure ``plumbline serve`` under load: a real server process, and a real client in this process.

Latency and requests per second with 1, 8 and 32 clients, each of which sends its next request when it has an
answer to the last one: a cloud of 2,000 points as an npz file, and a depth image of 640 x 480 with a mask of
about 20,000 pixels. Then many requests of both kinds, of which none may be lost. Server and client share the
machine; the figures are a table in Markdown.

    python -m benchmarks.serve_load [--requests 200] [--total 10000] [--clients 1 8 32]
"""

import argparse
import asyncio
import io
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx2
import numpy as np
from PIL import Image

PATIENCE = 600.0
"""Seconds for one request: nothing is given up."""
CAMERA = "525,525,319.5,239.5"


class Load(NamedTuple):
    """What some clients found: the seconds of each request, those of all, and how many had which status."""

    seconds: list[float]
    wall: float
    statuses: Counter[str]


def cloud() -> dict[str, Any]:
    """A half of an ellipsoid, seen from the origin, 2,000 points."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points = points[points[:, 2] < 0][:2000] * (0.06, 0.04, 0.05) + (0, 0, 0.6)
    held = io.BytesIO()
    np.savez(held, points=points, sensor=np.zeros(3))
    return {"cloud": ("cloud.npz", held.getvalue())}


def depth_image() -> dict[str, Any]:
    """A ball before a wall, with noise: a 16-bit PNG, and its mask."""
    row, column = np.mgrid[:480, :640]
    rays = np.stack([(column - 319.5) / 525, (row - 239.5) / 525, np.ones(row.shape)], axis=2)
    middle, radius = np.array([0.02, 0.01, 0.6]), 0.088
    along = (rays @ middle) / (rays * rays).sum(2)
    inside = radius**2 - ((along[..., None] * rays - middle) ** 2).sum(2)
    mask = inside > 0
    near = along - np.sqrt(inside.clip(0) / (rays * rays).sum(2))
    depth = np.where(mask, near, 1.2) + np.random.default_rng(0).normal(0, 3e-4, mask.shape)
    return {
        "depth": ("depth.png", picture((1000 * depth).round().astype(np.uint16))),
        "mask": ("mask.png", picture(mask.astype(np.uint8))),
        "intrinsics": (None, CAMERA),
    }


def picture(pixels: np.ndarray) -> bytes:
    """A PNG."""
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


@contextmanager
def server() -> Iterator[str]:
    """Start the program with the shipped model; its address."""
    words = [sys.executable, "-m", "plumbline", "serve", "--port", "0", "--checkpoint", "pretrained",
             "--timeout", str(PATIENCE)]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"answers at (http://\S+) by", process.stdout.readline())
        assert found, "the server does not start"
        try:
            yield found[1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 143, "the server does not end cleanly"


async def load(url: str, kinds: list[dict[str, Any]], clients: int, total: int) -> Load:
    """Send requests, the kinds in turn, from some clients at a time."""
    seconds: list[float] = []
    statuses: Counter[str] = Counter()
    left = iter(range(total))

    async def one_client() -> None:
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:
            for number in left:
                began = time.perf_counter()
                try:
                    answer = await client.post("/predict", files=kinds[number % len(kinds)])
                    statuses[str(answer.status_code)] += 1
                    assert answer.status_code != 200 or all("com" in line for line in answer.json())
                except httpx2.HTTPError as error:
                    statuses[type(error).__name__] += 1
                seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(clients)))
    return Load(seconds, time.perf_counter() - began, statuses)


def row(kind: str, clients: int, found: Load) -> str:
    """A row of the table."""
    middle, late = (1000 * np.percentile(found.seconds, share) for share in (50, 99))
    lost = sum(count for status, count in found.statuses.items() if status != "200")
    return (
        f"| {kind} | {clients} | {len(found.seconds):,} | {middle:.0f} | {late:.0f} | "
        f"{len(found.seconds) / found.wall:.1f} | {lost} |"
    )


def main() -> None:
    """Measure and print; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=200, help="for each row, at least 4 for each client")
    parser.add_argument("--total", type=int, default=10_000, help="in the run in which none may be lost")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    args = parser.parse_args()
    kinds = {"cloud, 2,000 points": [cloud()], "depth + mask, 640 x 480": [depth_image()]}
    print("| request | clients | requests | p50, ms | p99, ms | requests/s | not answered |")
    print("|---|---|---|---|---|---|---|")
    with server() as url:
        for sent in kinds.values():
            asyncio.run(load(url, sent, 1, 10))
        for kind, sent in kinds.items():
            for clients in args.clients:
                found = asyncio.run(load(url, sent, clients, max(args.requests, 4 * clients)))
                print(row(kind, clients, found), flush=True)
        both = [one for sent in kinds.values() for one in sent]
        found = asyncio.run(load(url, both, max(args.clients), args.total))
        print(row("both in turn", max(args.clients), found), flush=True)
    if found.statuses != {"200": args.total}:
        sys.exit(f"lost: {dict(found.statuses)}")


if __name__ == "__main__":
    main()
