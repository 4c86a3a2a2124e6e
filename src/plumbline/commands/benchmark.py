"""``plumbline benchmark``: measures models and untrained baselines under stated conditions (ScanCoM)."""

import json
import time
from math import inf

from rich.console import Console

from plumbline.config.benchmark import BenchmarkConfig
from plumbline.console.listener import ConsoleListener
from plumbline.console.terminal import make_console, print_line
from plumbline.console.text import seconds
from plumbline.evaluation.benchmark import NUMBERS, TABLES, benchmark
from plumbline.evaluation.benchmark_tables import page
from plumbline.evaluation.grids import print_page


def run(config: BenchmarkConfig, console: Console) -> int:
    """Prepare missing scans, measure, print, and write ``scancom.json`` and ``scancom.md``."""
    assert config.out is not None
    started = time.perf_counter()
    screen = make_console(stderr=True) if config.json else console
    try:
        with ConsoleListener(screen, every=inf) as listener:
            measured = benchmark(
                config.checkpoint,
                model=config.model,
                baselines=config.baselines,
                meshes=config.paths,
                solids=config.solids,
                samples=config.samples,
                out=config.out,
                workers=config.workers,
                report=listener,
            )
    except KeyboardInterrupt:
        return 130
    result = measured.to_dict()
    if config.json:
        print(json.dumps(result, indent=1, allow_nan=False))
        return 0
    print_page(console, page(result))
    console.print()
    for label, name in (("numbers", NUMBERS), ("tables", TABLES)):
        print_line(console, f"{label:<9}{config.out / name}")
    console.print(f"time     {seconds(time.perf_counter() - started)}")
    return 0
