"""``plumbline predict``: the centre of mass of scans, each in the frame and unit of its file."""

import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plumbline.config import PredictConfig
from plumbline.console.progress import file_bar
from plumbline.console.tables import fits, print_whole
from plumbline.console.text import visible
from plumbline.data.store.tensors import atomic_file
from plumbline.errors import InputError
from plumbline.files import visible_files
from plumbline.geometry.clouds import SEARCHED_SUFFIXES, load_cloud, scan_of
from plumbline.geometry.sampling import thin_scan
from plumbline.predictors.estimators import Estimator, trained, untrained
from plumbline.predictors.find_checkpoint import find_best
from plumbline.predictors.graph_form import GraphForm
from plumbline.records import Float, Int, Sample, Scan

FOLDER = Path("checkpoints")
"""Where a checkpoint is looked for when none is named."""
_ASSUMED = "assumed at the origin"
_HEADS = ("file", "x", "y", "z", "expected error", "90 % within", "points", "views")
_SHORTEST = 20
"""Letters of a file's name that stay in one line on a terminal; columns give way to them."""
_WIDEST = 10_000
"""Columns of a table that goes into a pipe, at most."""


class Read(NamedTuple):
    """A file as its graphs, with the largest side of its box, and what is said about it; or an error."""

    file: Path
    facts: dict[str, Any]
    samples: tuple[Sample, ...] = ()
    extent: float = 1.0


def run(config: PredictConfig, console: Console) -> int:
    """Reads, answers and prints. Returns 0; 1 if some files were refused, 2 if all were."""
    files = list_scans(config.paths)
    sensor = parse_sensor(config.sensor)
    _check_out(config.out, files)
    estimator, model = choose_estimator(config)
    said: list[dict[str, Any]] = []
    rows: list[list[str]] = []
    with file_bar(console) as progress:
        for batch in _read_ahead(files, config, sensor, estimator.form):
            for read, answer in zip(batch, _answer(estimator, batch), strict=True):
                answer = {"file": str(read.file), **answer, **({} if "error" in answer else model)}
                said.append(answer)
                if config.json:
                    print(json.dumps(answer, allow_nan=False), flush=True)
                elif "error" not in answer:
                    rows.append(_row(read, answer))
            if progress is not None and not config.json:
                progress(len(said), len(files))
    if config.out is not None:
        _write(config.out, said)
    if not config.json:
        _show(rows, said, model, console)
    assumed = sum(answer.get("sensor") == _ASSUMED for answer in said)
    if assumed:
        whose = (
            "1 file does not say where its sensor stood"
            if assumed == 1
            else (f"{assumed:,} files do not say where their sensor stood")
        )
        print(f"note: {whose}; taken as 0,0,0 of its frame (--sensor x,y,z names the place)", file=sys.stderr)
    refused = sum("error" in answer for answer in said)
    return 0 if not refused else 2 if refused == len(said) else 1


# ------------------------------------------------------------------------------------------- what is asked


def list_scans(paths: Sequence[Path]) -> list[Path]:
    """The files that are meant, in the order given, those of a folder sorted; InputError if none is."""
    if not paths:
        raise InputError("no scan to look at: name files, or folders of them")
    files: list[Path] = []
    for path in paths:
        found = [path / name for name in visible_files(path, SEARCHED_SUFFIXES)] if path.is_dir() else []
        files += found or [path]
    return files


def parse_sensor(text: str | None) -> Float | None:
    """``"x,y,z"`` as ``[3]``. Raises InputError."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise InputError(f"--sensor {text}: write three numbers with commas between them, such as 0,0,1.5")
    return np.array(numbers)


def choose_estimator(config: PredictConfig) -> tuple[Estimator, dict[str, str]]:
    """The model that is meant, and what every answer says about it.

    Raises:
        InputError: none is meant, or two are, or the checkpoint cannot be used.
    """
    if config.model is not None:
        if config.checkpoint is not None:
            raise InputError("--checkpoint and --model are two answers to one question: leave one out")
        return untrained(config.model), {"model": config.model}
    if config.checkpoint is None and not FOLDER.is_dir():
        raise InputError(
            "no model is named, and there is no folder checkpoints here: give --checkpoint CKPT, or take a "
            "guess that needs no training, such as --model carve"
        )
    path = find_best(FOLDER if config.checkpoint is None else config.checkpoint)
    from plumbline.predictors.checkpoint import load_checkpoint

    loaded = load_checkpoint(path)
    estimator = trained(
        loaded.model,
        loaded.model_name,
        loaded.data,
        path=path,
        error_factors=loaded.error_factors,
        batch_size=config.batch_size,
    )
    return estimator, {"model": loaded.model_name, "checkpoint": str(path)}


def _check_out(out: Path | None, files: Sequence[Path]) -> None:
    """Refuses now what could not be written, or would destroy a scan, later."""
    if out is None:
        return
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; name a file")
    if out.exists() and any(file.exists() and out.samefile(file) for file in files):
        raise InputError(f"--out {out}: this is one of the scans; choose another name")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"--out {out}: there is no folder {out.parent} that can be written to")


# ------------------------------------------------------------------------------------------ reading ahead


def _read_ahead(
    files: Sequence[Path], config: PredictConfig, sensor: Float | None, form: GraphForm
) -> Iterator[list[Read]]:
    """Batches of files, in order; the next is read while the network looks at this one."""

    def read(start: int) -> list[Read]:
        some = files[start : start + config.batch_size]
        return [
            read_file(file, sensor=sensor, points=config.points, draws=config.draws, form=form)
            for file in some
        ]

    starts = range(0, len(files), config.batch_size)
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, 0)
        for start in starts[1:]:
            ready, ahead = ahead.result(), pool.submit(read, start)
            yield ready
        yield ahead.result()


def read_file(file: Path, *, sensor: Float | None, points: int, form: GraphForm, draws: int = 1) -> Read:
    """A scan as graphs of at most ``points`` of its points, drawn anew each time, always the same ones."""
    try:
        if file.is_dir():
            endings = ", ".join(sorted(SEARCHED_SUFFIXES))
            raise InputError(f"{file}: no scans in this folder ({endings}; text files have to be named)")
        cloud = load_cloud(file)
        if sensor is None and cloud.sensor is None and file.suffix.lower() == ".npz":
            raise InputError(
                f"{file}: no array 'sensor' beside points: add it, [3] or [N, 3], or give --sensor x,y,z"
            )
        scan = scan_of(cloud, sensor, file)
        draws = draws if len(scan.points) > points else 1
        thin = [_draw(scan, points, draw) for draw in range(draws)]
        samples = tuple(form.sample(some, str(file)) for some in thin)
    except InputError as error:
        return Read(file, {"error": str(error)})
    facts = {
        "points": len(scan.points),
        "points_used": len(thin[0].points),
        "views": len(np.unique(scan.view)),
        "sensor": "given" if sensor is not None else _ASSUMED if cloud.sensor is None else "from the file",
        "unit": "as in the file",
    }
    return Read(file, facts, samples, float(np.ptp(scan.points, axis=0).max()))


def _draw(scan: Scan, points: int, draw: int) -> Scan:
    """A choice of points; from the second on of a random half: the farthest of all are always the same."""
    rng = np.random.default_rng(draw)
    if draw:
        scan = thin_scan(scan, max(points, len(scan.points) // 2), sampling="random", rng=rng)
    return thin_scan(scan, points, sampling="farthest", rng=rng)


def _answer(estimator: Estimator, batch: Sequence[Read]) -> list[dict[str, Any]]:
    """What is said about each file: its centre of mass and its facts, or an error."""
    samples = [sample for read in batch for sample in read.samples]
    answers: Iterator[dict[str, Any]] = iter(())
    if samples:
        first = np.cumsum([0, *(len(read.samples) for read in batch if read.samples)])[:-1]
        found = estimator.locate(samples)
        com = _means(found.com, first)
        scale = None if found.error_scale is None else _means(found.error_scale, first)
        doubts = [{}] * len(com) if scale is None else [_doubt(value, estimator) for value in scale.tolist()]
        answers = iter({"com": row, **doubt} for row, doubt in zip(com.tolist(), doubts, strict=True))
    said = []
    for read in batch:
        answer = next(answers) if read.samples else {}
        if not all(
            math.isfinite(value) for value in (*answer.get("com", ()), answer.get("error_scale", 0.0))
        ):
            said.append({"error": f"{read.file}: the answer of {estimator.name} is no finite number"})
        else:
            said.append({**answer, **read.facts})
    return said


def _means(values: Float, first: Int) -> Float:
    """Means over the draws of each file; a file's first draw stands at ``first [files]``."""
    counts = np.diff([*first, len(values)])
    return np.add.reduceat(values, first, axis=0) / counts.reshape(-1, *[1] * (values.ndim - 1))


def _doubt(error_scale: float, estimator: Estimator) -> dict[str, float]:
    """The error to expect, and the radius about the answer that holds the truth nine times in ten."""
    factor = estimator.error_factors.get("0.9")
    return {"error_scale": error_scale} | ({} if factor is None else {"radius_90": factor * error_scale})


# ----------------------------------------------------------------------------------------------- printing


def _write(out: Path, said: Sequence[dict[str, Any]]) -> None:
    try:
        with atomic_file(out) as file:
            file.writelines(json.dumps(answer, allow_nan=False).encode() + b"\n" for answer in said)
    except OSError as error:
        raise InputError(f"--out {out}: cannot write it ({error.strerror})") from error


def _row(read: Read, answer: dict[str, Any]) -> list[str]:
    # To a thousandth of the scan's extent or a little better.
    digits = int(np.clip(3 - math.floor(math.log10(read.extent)), 0, 12))
    used, points = answer["points_used"], answer["points"]
    return [
        str(read.file),
        *(f"{value:.{digits}f}" for value in answer["com"]),
        *(f"{answer[key]:.{digits}f}" if key in answer else "" for key in ("error_scale", "radius_90")),
        f"{points:,}" if used == points else f"{used:,} of {points:,}",
        f"{answer['views']}",
    ]


def _layout(rows: list[list[str]], shown: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    columns = [_HEADS.index(head) for head in shown]
    for column in columns:
        table.add_column(
            _HEADS[column], justify="right" if column else "left", no_wrap=column > 0, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(row[column]) for column in columns))
    return table


def _show(
    rows: list[list[str]], said: Sequence[dict[str, Any]], model: dict[str, str], console: Console
) -> None:
    for answer in said:
        if "error" in answer:
            print(visible(f"error: {answer['error']}"), file=sys.stderr)
    if not rows:
        return
    if not console.is_terminal:  # a terminal folds long names; who reads a pipe wants one line per file
        console.width = _WIDEST
    shown = [head for column, head in enumerate(_HEADS) if any(row[column] for row in rows)]
    short = [[row[0][:_SHORTEST], *row[1:]] for row in rows]
    for head in ("views", "points", "90 % within"):
        if fits(console, _layout(short, shown)):
            break
        shown = [other for other in shown if other != head]
    if fits(console, _layout(short, shown)):
        console.print(_layout(rows, shown))
    else:
        print_whole(console, _layout(rows, shown))
    where = f" ({model['checkpoint']})" if "checkpoint" in model else ", untrained"
    text = f"centres of mass by {model['model']}{where}, in the frame and unit of each file"
    console.print(f"\n{text}", markup=False)
