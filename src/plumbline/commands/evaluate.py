"""``plumbline evaluate``: compares a trained model with the untrained baselines, in a table and a report."""

from rich.console import Console

from plumbline.config.evaluate import EvaluateConfig
from plumbline.console.progress import count_bar
from plumbline.console.terminal import print_written
from plumbline.errors import InputError
from plumbline.evaluation.evaluate import NUMBERS, REPORT, SPLITS, evaluate, held_lines
from plumbline.evaluation.payload import print_payload
from plumbline.evaluation.table import print_table
from plumbline.files import folder_names
from plumbline.predictors.find_checkpoint import SHIPPED, checkpoint_name, find_best


def run(config: EvaluateConfig, console: Console) -> int:
    """Measure, print, and write ``evaluation.json`` and ``report.html``. Returns the exit code."""
    if config.out is None and find_best(config.checkpoint) == SHIPPED:
        raise InputError("--out is missing: the shipped model has no run folder to write the report into")
    with count_bar(console, "file", "reading files", lines=not config.json) as bar:
        found = evaluate(
            config.checkpoint,
            model=config.model,
            baselines=config.baselines,
            data_dir=config.data_dir,
            split=config.split,
            batch_size=config.batch_size,
            out=config.out,
            per_scan=config.per_scan,
            report=None if bar is None else lambda event: bar(event.done, event.total),
        )
    out = config.out or found.folder
    if config.out is None:
        found.write(out)
    if config.json:
        print(found.to_json())
        return 0
    console.print(
        f"{checkpoint_name(found.trained.path)} on {folder_names(found.data_dir)} ({SPLITS[found.split]})",
        highlight=False,
        markup=False,
    )
    console.print()
    print_table(console, found.table)
    for name, line in held_lines(found).items():
        console.print(f"Its own {name} {line}.", style="dim")
    if found.payload is not None:
        console.print()
        print_payload(console, found.payload)
    console.print()
    scans = {} if config.per_scan is None else {"scans": config.per_scan}
    print_written(console, {"report": out / REPORT, "numbers": out / NUMBERS} | scans)
    return 0
