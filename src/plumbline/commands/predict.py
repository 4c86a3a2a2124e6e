"""``plumbline predict``: finds the centre of mass of scans, in the frame and unit of each file."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from plumbline.config.predict import PredictConfig
from plumbline.console.progress import file_bar
from plumbline.console.text import counted, visible
from plumbline.errors import InputError
from plumbline.files import visible_files
from plumbline.geometry.clouds import SEARCHED_SUFFIXES, TEXT_SUFFIXES, Cloud, load_cloud
from plumbline.geometry.depth_images import read_depth_image
from plumbline.own_parts import is_class, names_a_file
from plumbline.predictors.find_checkpoint import checkpoint_name
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import called, print_predictions
from plumbline.predictors.predictor import Predictor, load_predictor
from plumbline.views.files import ViewFiles
from plumbline.writing import atomic_file

FOLDER = Path("checkpoints")
"""Default folder for checkpoints; where there is none, the shipped model predicts."""


def run(config: PredictConfig, console: Console) -> int:
    """Read scans, predict and print. Returns 0; 1 if some files were refused, 2 if all were."""
    files = list_scans(config.paths) if config.depth is None else [config.depth]
    _check_outputs({"--out": config.out, "--html": config.html, "--ply": config.ply}, files)
    views = ViewFiles(config.html, config.ply, scans=len(files), sensor=config.sensor, clean=config.clean)
    predictor = choose_predictor(config)
    model = {"model": predictor.name}
    if predictor.checkpoint is not None:
        model["checkpoint"] = checkpoint_name(predictor.checkpoint)
    clouds: Iterable[Cloud | InputError]
    if config.depth is None:
        clouds = (read_file(file, needs_sensor=config.sensor is None) for file in files)
    else:
        assert config.intrinsics is not None
        clouds = [
            read_depth_image(config.depth, config.intrinsics, config.mask, depth_scale=config.depth_scale)
        ]
    answers = predictor.predict_many(
        views.passing(clouds),
        sensor=config.sensor,
        table=config.table,
        max_points=config.points,
        draws=config.draws,
        clean=config.clean,
        strict=config.strict,
    )
    found: list[Prediction | InputError] = []
    lines: list[dict[str, Any]] = []
    with file_bar(console) as progress:
        for file, answer in zip(files, answers, strict=True):
            said = {"error": str(answer)} if isinstance(answer, InputError) else answer.to_dict() | model
            lines.append({"file": str(file), **said})
            found.append(answer)
            views.add(file, answer)
            if config.json:
                print(json.dumps(lines[-1], allow_nan=False), flush=True)
            elif progress is not None:
                progress(len(found), len(files))
    if config.out is not None:
        _write(config.out, lines)
    if not config.json:
        for answer in found:
            if isinstance(answer, InputError):
                print(visible(f"error: {answer}"), file=sys.stderr)
        print_predictions(console, files, found, predictor)
        for file, answer in zip(files, found, strict=True):
            if isinstance(answer, Prediction):
                for note in answer.notes:
                    print(visible(f"note: {file}: {note}"), file=sys.stderr)
                for warning in answer.warnings:
                    print(visible(f"warning: {file}: {warning}"), file=sys.stderr)
    predictions = [answer for answer in found if isinstance(answer, Prediction)]
    if assumed := sum(answer.sensor == "assumed" for answer in predictions):
        whose = "file does not say where its" if assumed == 1 else "files do not say where their"
        print(
            f"note: {assumed:,} {whose} sensor stood; assumed at 0,0,0 of its frame (give --sensor x,y,z to "
            "set it)",
            file=sys.stderr,
        )
    for note in (*views.write(called(predictor)), *skipped_texts(config.paths)):
        print(visible(f"note: {note}"), file=sys.stderr)
    return 0 if len(predictions) == len(found) else 1 if predictions else 2


def list_scans(paths: Sequence[Path]) -> list[Path]:
    """The scan files in the order given, those of a folder sorted. Raises InputError if no path is given."""
    if not paths:
        raise InputError("no scans given: name files, or folders of them")
    files: list[Path] = []
    for path in paths:
        found = [path / name for name in visible_files(path, SEARCHED_SUFFIXES)] if path.is_dir() else []
        files += found or [path]
    return files


def skipped_texts(paths: Sequence[Path]) -> list[str]:
    """A note for each folder whose text files were skipped: they may be scans, or anything else."""
    notes = []
    for path in paths:
        if texts := visible_files(path, TEXT_SUFFIXES) if path.is_dir() else []:
            were = "was" if len(texts) == 1 else "were"
            notes.append(
                f"{path}: {counted(len(texts), 'text file')} {were} skipped (.asc, .csv, .txt); to include "
                f"a scan among them, name the file, such as {path / texts[0]}"
            )
    return notes


def choose_predictor(config: PredictConfig) -> Predictor:
    """Load the chosen model. Raises InputError: two are named, or the checkpoint is unusable."""
    given = config.model
    own = given if given is not None and names_a_file(given) and is_class(given) else None
    untrained = given if own is None else None
    if untrained is not None and config.checkpoint is not None:
        raise InputError("--checkpoint and --model exclude each other: remove one")
    source = untrained or config.checkpoint or (FOLDER if FOLDER.is_dir() else None)
    if own is not None and source is None:
        raise InputError(
            f"--model {own} is the network of a checkpoint, and there is no folder checkpoints here: give "
            "--checkpoint CKPT"
        )
    return load_predictor(source, model=own, batch_size=config.batch_size)


def read_file(file: Path, *, needs_sensor: bool) -> Cloud | InputError:
    """Read a scan; returns the error if it cannot be read."""
    if file.is_dir():
        endings = ", ".join(sorted(SEARCHED_SUFFIXES))
        return InputError(
            f"{file}: no scans in this folder ({endings}; text files must be named individually)"
        )
    try:
        cloud = load_cloud(file)
    except InputError as error:
        return error
    if needs_sensor and cloud.sensor is None and file.suffix.lower() == ".npz":
        return InputError(
            f"{file}: no array 'sensor' next to points: add it, [3] or [N, 3], or give --sensor x,y,z"
        )
    return cloud


def _check_outputs(outputs: Mapping[str, Path | None], files: Sequence[Path]) -> None:
    """Refuse output files that cannot be written, that are one, or that would overwrite a scan."""
    earlier: dict[Path, str] = {}
    for flag, out in outputs.items():
        if out is None:
            continue
        if out.is_dir():
            raise InputError(f"{flag} {out} is a folder; name a file")
        if out.exists() and any(file.exists() and out.samefile(file) for file in files):
            raise InputError(f"{flag} {out}: this is one of the scans; choose another name")
        if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
            raise InputError(f"{flag} {out}: there is no folder {out.parent} that can be written to")
        if (other := earlier.setdefault(out.resolve(), flag)) != flag:
            raise InputError(f"{flag} {out}: {other} writes to this file; choose another name")


def _write(out: Path, lines: Sequence[dict[str, Any]]) -> None:
    try:
        with atomic_file(out) as file:
            file.writelines(json.dumps(line, allow_nan=False).encode() + b"\n" for line in lines)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from error
