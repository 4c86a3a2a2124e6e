"""``plumbline check``: validates a data set, or verifies the symmetry of a model."""

import json
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from plumbline.config.check import CheckConfig
from plumbline.console.check_report import print_data_set, print_equivariance
from plumbline.console.progress import count_bar
from plumbline.console.terminal import can_redraw
from plumbline.data.describe import check_data
from plumbline.errors import InputError
from plumbline.predictors.find_checkpoint import find_best


def run(config: CheckConfig, console: Console) -> int:
    """Check a data set (packed, or a folder of `.pt` files) or a checkpoint's symmetry, and print a report.

    Returns:
        0 if everything is intact, 1 if the data set is damaged or the model breaks its declared symmetry.

    Raises:
        InputError: the data set or checkpoint is missing, or nothing in it is usable.
    """
    if config.equivariance is not None:
        return check_equivariance(config, config.equivariance, console)
    with count_bar(console, "file", "reading files", lines=not config.json) as bar:
        report = check_data(config.path, deep=config.deep, progress=None if config.json else bar)
    if config.json:
        console.out(json.dumps(report, indent=1, allow_nan=False), highlight=False)
    else:
        print_data_set(console, report)
    return 0 if report["ok"] else 1


def check_equivariance(config: CheckConfig, given: Path, console: Console) -> int:
    """Measure and print a checkpoint's symmetry. Returns 1 if the model breaks its declared one, else 0."""
    if config.path != CheckConfig().path or config.deep:
        raise InputError("--equivariance tests a checkpoint only: remove the data set and --deep")
    path = find_best(given)
    from plumbline.evaluation.equivariance import describe, measure
    from plumbline.models import SYMMETRIES
    from plumbline.predictors.checkpoint import load_checkpoint

    trained = load_checkpoint(path, model=config.model)
    with console.status("moving scans") if can_redraw(console) and not config.json else nullcontext():
        report = describe(trained, measure(trained))
    if config.json:
        console.out(json.dumps(report, indent=1, allow_nan=False), highlight=False)
    else:
        print_equivariance(console, report, SYMMETRIES[report["declares"]])
    return 0 if report["ok"] else 1
