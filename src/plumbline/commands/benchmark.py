"""``plumbline benchmark``: measures models and untrained baselines, in simulation or on real scans."""

import json
import time
from collections.abc import Callable
from math import inf
from typing import Any

from rich.console import Console

from plumbline.config.benchmark import BenchmarkConfig
from plumbline.console.listener import ConsoleListener
from plumbline.console.terminal import make_console, print_written
from plumbline.console.text import seconds
from plumbline.evaluation import benchmark_tables, real_benchmark, real_tables
from plumbline.evaluation.benchmark import NUMBERS, TABLES, benchmark
from plumbline.evaluation.grids import print_page
from plumbline.reporting import Event


def run(config: BenchmarkConfig, console: Console) -> int:
    """Measure, print the tables or the JSON, and write both."""
    assert config.out is not None
    started = time.perf_counter()
    screen = make_console(stderr=True) if config.json else console
    measure = _simulated if config.real is None else _real
    try:
        with ConsoleListener(screen, every=inf) as listener:
            result = measure(config, listener)
    except KeyboardInterrupt:
        return 130
    if config.json:
        print(json.dumps(result, indent=1, allow_nan=False))
        return 0
    if config.real is None:
        page, files = benchmark_tables.page(result), (NUMBERS, TABLES)
    else:
        page, files = real_tables.page(result), (real_benchmark.NUMBERS, real_benchmark.TABLES)
    print_page(console, page)
    console.print()
    print_written(console, {"numbers": config.out / files[0], "tables": config.out / files[1]})
    console.print(f"time     {seconds(time.perf_counter() - started)}")
    return 0


def _simulated(config: BenchmarkConfig, report: Callable[[Event], None]) -> dict[str, Any]:
    """Prepare missing scans, and measure on them."""
    assert config.out is not None
    return benchmark(
        config.checkpoint,
        model=config.model,
        baselines=config.baselines,
        meshes=config.paths,
        solids=config.solids,
        samples=config.samples,
        out=config.out,
        workers=config.workers,
        scheduler=config.scheduler,
        report=report,
    ).to_dict()


def _real(config: BenchmarkConfig, report: Callable[[Event], None]) -> dict[str, Any]:
    """Measure on real scans."""
    assert config.out is not None
    assert config.real is not None
    return real_benchmark.benchmark_real(
        config.real,
        config.checkpoint,
        model=config.model,
        baselines=config.baselines,
        without=config.without,
        out=config.out,
        report=report,
    ).to_dict()
