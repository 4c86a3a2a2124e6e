"""``plumbline check``: is a data set whole, and what is in it? Does a model keep its symmetry?"""

import json
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from plumbline.config.check import CheckConfig
from plumbline.console.check_report import print_data_set, print_equivariance
from plumbline.console.progress import file_bar
from plumbline.data.describe import check_data
from plumbline.errors import InputError
from plumbline.predictors.find_checkpoint import find_best


def run(config: CheckConfig, console: Console) -> int:
    """Checks a data set (packed, or a folder of `.pt` files) or a checkpoint's symmetry, and reports.

    Returns:
        0 if all is well, 1 if something stored is damaged or a model breaks the symmetry that it declares.

    Raises:
        InputError: there is no data set or no checkpoint, or nothing in it can be used.
    """
    if config.equivariance is not None:
        return check_equivariance(config, config.equivariance, console)
    with file_bar(console) as bar:
        report = check_data(config.path, deep=config.deep, progress=None if config.json else bar)
    if config.json:
        console.out(json.dumps(report, indent=1), highlight=False)
    else:
        print_data_set(console, report)
    return 0 if report["ok"] else 1


def check_equivariance(config: CheckConfig, given: Path, console: Console) -> int:
    """Measures a checkpoint's symmetry and prints it; 1 if the model breaks what it declares."""
    if config.path != CheckConfig().path or config.deep:
        raise InputError("--equivariance looks at a checkpoint alone: leave the data set and --deep out")
    path = find_best(given)
    from plumbline.evaluation.equivariance import describe, measure
    from plumbline.models import SYMMETRIES
    from plumbline.predictors.checkpoint import load_checkpoint

    trained = load_checkpoint(path)
    with console.status("moving scans") if console.is_terminal and not config.json else nullcontext():
        report = describe(trained, measure(trained))
    if config.json:
        console.out(json.dumps(report, indent=1, allow_nan=False), highlight=False)
    else:
        print_equivariance(console, report, SYMMETRIES[report["declares"]])
    return 0 if report["ok"] else 1
