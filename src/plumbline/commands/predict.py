"""``plumbline predict``: finds the centre of mass of scans, in the frame and unit of each file."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from plumbline.config.predict import PredictConfig, each
from plumbline.console.progress import file_bar
from plumbline.console.text import counted, visible
from plumbline.errors import InputError
from plumbline.files import check_out_folder, visible_files
from plumbline.geometry.camera_poses import read_poses
from plumbline.geometry.cleaning import clean_scan
from plumbline.geometry.clouds import SEARCHED_SUFFIXES, TEXT_SUFFIXES, Cloud, load_cloud, scan_of
from plumbline.geometry.depth_files import merged_clouds, read_view
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.ply_writing import write_ply
from plumbline.kinds import AUTO
from plumbline.own_parts import is_class, names_a_file
from plumbline.payload.forms import write as write_payload
from plumbline.payload.frames import Frame, read_frame
from plumbline.payload.record import Payload
from plumbline.predictors.find_checkpoint import checkpoint_name
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import ScanName, called, print_payloads, print_predictions
from plumbline.predictors.predictor import Predictor, load_predictor
from plumbline.predictors.tryout import try_out
from plumbline.quantities import Plane
from plumbline.records import AS_IN_FILE
from plumbline.ros.answers import write_answers
from plumbline.ros.bags import check_new_bag
from plumbline.ros.recordings import Chosen, read_recording
from plumbline.views.files import ViewFiles
from plumbline.writing import atomic_file

FOLDER = Path("checkpoints")
"""Default folder for checkpoints; where there is none, the shipped model predicts."""


def run(config: PredictConfig, console: Console) -> int:
    """Read scans, predict and print. Returns 0; 1 if some files were refused, 2 if all were."""
    files = each(config.depth) or each(config.bag) or list_scans(config.paths)
    _check_outputs({"--out": config.out, "--html": config.html, "--ply": config.ply}, _inputs(config, files))
    frame = None if config.frame is None else read_frame(config.frame)
    predictor = choose_predictor(config)
    check_payload(config, predictor)
    model = {"model": predictor.name}
    if predictor.checkpoint is not None:
        model["checkpoint"] = checkpoint_name(predictor.checkpoint)
    names, clouds, left_out = read_scans(config, files)
    if config.format is not None and len(names) > 1:
        raise InputError(
            f"--format {config.format} prints one payload: give one scan, or --json for {len(names):,}"
        )
    sensor = None if config.sensor is None else _scaled(config.sensor, 3, config.scale)
    views = ViewFiles(config.html, config.ply, scans=len(names), sensor=sensor, clean=config.clean)
    answers = predictor.predict_many(
        views.passing(clouds),
        sensor=sensor,
        table=None if not isinstance(config.table, Plane) else _scaled(config.table, 1, config.scale),
        max_points=config.points,
        draws=config.draws,
        clean=config.clean,
        strict=config.strict,
    )
    found: list[Prediction | InputError] = []
    payloads: list[Payload | None] = []
    lines: list[dict[str, Any]] = []
    with file_bar(console) as progress:
        for name, predicted in zip(names, answers, strict=True):
            answer, payload = to_payload(name, predicted, config, frame)
            views.add(name, answer if isinstance(answer, InputError) else predicted)
            lines.append(name.to_dict() | to_dict(answer, payload, model))
            found.append(answer)
            payloads.append(payload)
            if config.json:
                print(json.dumps(lines[-1], allow_nan=False), flush=True)
            elif progress is not None:
                progress(len(found), len(names))
    if config.out is not None:
        _write(config.out, lines)
    said = write_bag(config, names, found, payloads)
    if not config.json:
        if config.format is None:
            print_predictions(console, names, found, predictor)
            print_payloads(console, names, payloads)
        elif payloads[0] is not None:
            print(write_payload(payloads[0], config.format))
        _print_remarks(names, found)
    predictions = [answer for answer in found if isinstance(answer, Prediction)]
    _print_assumed(predictions)
    if config.mass is not None and len(predictions) > 1:
        each_of = f"each of the {len(predictions)} scans or objects"
        print(f"note: --mass {config.mass:g} is taken for the mass of {each_of}", file=sys.stderr)
    for note in (*left_out, *said, *views.write(called(predictor)), *skipped_texts(config.paths)):
        print(visible(f"note: {note}"), file=sys.stderr)
    return 0 if len(predictions) == len(found) else 1 if predictions else 2


def _print_assumed(predictions: Sequence[Prediction]) -> None:
    if assumed := sum(answer.sensor == "assumed" for answer in predictions):
        whose = "scan does not say where its" if assumed == 1 else "scans do not say where their"
        print(
            f"note: {assumed:,} {whose} sensor stood; assumed at 0,0,0 of its frame (give --sensor x,y,z to "
            "set it)",
            file=sys.stderr,
        )


def read_scans(
    config: PredictConfig, files: Sequence[Path]
) -> tuple[Sequence[ScanName], Iterable[Cloud | InputError], Sequence[str]]:
    """Name what is predicted, and read it: scans one by one, the objects of depth images at once.

    Returns:
        The names, the scans, and what was left out, a note each.
    """
    if config.bag is not None:
        return read_bag(config.bag, config)
    if config.depth is None:
        needs_sensor = config.sensor is None
        clouds = (in_metres(read_file(file, needs_sensor=needs_sensor), config.scale) for file in files)
        return [ScanName(file) for file in files], clouds, ()
    objects = read_objects(config)
    numbered = config.mask is not None or config.table == AUTO
    named = {ScanName(files[0], number if numbered else None): objects[number] for number in objects}
    if config.write_cleaned is not None:
        write_cleaned(config.write_cleaned, named, config.clean)
    return list(named), named.values(), ()


def read_bag(
    path: Path, config: PredictConfig
) -> tuple[Sequence[ScanName], Iterable[Cloud | InputError], Sequence[str]]:
    """Name the scans in a bag of ROS, and read them message by message; see :func:`read_scans`."""
    cameras: list[Path | Intrinsics] = each(config.intrinsics)
    chosen = Chosen(
        config.topic,
        mask_topic=config.mask_topic,
        intrinsics_topic=config.intrinsics_topic,
        intrinsics=cameras[0] if cameras else None,
        depth_scale=config.depth_scale,
        find_table=config.table == AUTO,
    )
    if config.bag_out is not None:
        check_new_bag(config.bag_out)
    recording = read_recording(path, chosen)
    for flag, given in {"sensor": config.sensor, "scale": config.scale}.items():
        if recording.is_depth and given is not None:
            raise InputError(f"--{flag} is for clouds, and {recording.topic} has depth images; leave it out")
    clouds = (in_metres(cloud, config.scale) for cloud in recording.clouds())
    return recording.names, clouds, recording.notes


def write_bag(
    config: PredictConfig,
    names: Sequence[ScanName],
    found: Sequence[Prediction | InputError],
    payloads: Sequence[Payload | None],
) -> list[str]:
    """Write the answers for a bag of ROS to another one, if wanted; returns notes on what is not in it."""
    if config.bag is None or config.bag_out is None:
        return []
    return write_answers(config.bag_out, names, found, payloads, like=config.bag)


def _print_remarks(names: Sequence[ScanName], found: Sequence[Prediction | InputError]) -> None:
    """Print errors, notes, of each file once, and warnings."""
    remarks: dict[str, None] = dict.fromkeys(
        f"error: {answer}" for answer in found if isinstance(answer, InputError)
    )
    for name, answer in zip(names, found, strict=True):
        if isinstance(answer, Prediction):
            which = name if len(names) > 1 else name.file
            remarks |= dict.fromkeys(f"note: {name.file}: {note}" for note in answer.notes)
            remarks |= dict.fromkeys(f"warning: {which}: {warning}" for warning in answer.warnings)
    for remark in remarks:
        print(visible(remark), file=sys.stderr)


def in_metres(cloud: Cloud | InputError, scale: float | None) -> Cloud | InputError:
    """Convert a cloud to metres, if ``scale``, metres per unit, is given; an error stays."""
    if scale is None or isinstance(cloud, InputError):
        return cloud
    sensor = None if cloud.sensor is None else scale * cloud.sensor
    return replace(cloud, points=scale * cloud.points, sensor=sensor, unit="metres")


def to_payload(
    name: ScanName, answer: Prediction | InputError, config: PredictConfig, frame: Frame | None
) -> tuple[Prediction | InputError, Payload | None]:
    """Move an answer to the wanted frame, and make its payload if a mass is given; or say why not."""
    if isinstance(answer, InputError):
        return answer, None
    has_mass = config.mass is not None or config.density is not None
    if answer.unit == AS_IN_FILE and (has_mass or frame is not None):
        taken = "its coordinates are taken for metres; give --scale if they are not"
        answer = replace(answer, notes=(*answer.notes, taken))
    if frame is not None:
        answer = answer.moved(frame)
    if not has_mass:
        return answer, None
    try:
        payload = answer.payload(config.mass, density=config.density)
        if config.format is not None:
            write_payload(payload, config.format)
    except InputError as error:
        return InputError(f"{name}: {error}"), None
    return answer, payload


def to_dict(
    answer: Prediction | InputError, payload: Payload | None, model: dict[str, str]
) -> dict[str, Any]:
    """What a line of JSON says of a file."""
    if isinstance(answer, InputError):
        return {"error": str(answer)}
    return answer.to_dict() | ({} if payload is None else {"payload": payload.to_dict()}) | model


def read_objects(config: PredictConfig) -> dict[int, Cloud | InputError]:
    """The points of each object of depth images by its number; 1 if there is no mask."""
    depths, masks = each(config.depth), each(config.mask)
    cameras: list[Path | Intrinsics] = each(config.intrinsics)
    one_camera, no_mask = len(cameras) == 1, not masks
    views = [
        read_view(
            depth,
            cameras[0 if one_camera else i],
            None if no_mask else masks[i],
            depth_scale=config.depth_scale,
        )
        for i, depth in enumerate(depths)
    ]
    find_table = config.table == AUTO
    if config.poses is None:
        return views[0].clouds(find_table)
    return merged_clouds(views, read_poses(config.poses, len(views)), find_table)


def write_cleaned(folder: Path, objects: Mapping[ScanName, Cloud | InputError], clean: bool) -> None:
    """Write the points of each object, without the stray ones, as a ply file. Raises InputError."""
    check_out_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, cloud in objects.items():
            if isinstance(cloud, Cloud):
                scan = scan_of(cloud, None)
                scan = clean_scan(scan, cloud.on_object) if clean else scan
                end = "" if name.object is None else f"_object_{name.object}"
                write_ply(folder / f"{name.file.stem}{end}.ply", scan.points, scan.sensor)
    except OSError as error:
        raise InputError(f"--write_cleaned {folder}: cannot be written ({error.strerror})") from error


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


def check_payload(config: PredictConfig, predictor: Predictor) -> None:
    """Refuse a payload that needs more than the model predicts, before scans are read. Raises InputError."""
    if config.density is not None or config.format is not None:
        payload = try_out(predictor).payload(config.mass, density=config.density)
        if config.format is not None:
            write_payload(payload, config.format)


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


def _scaled(values: Sequence[float], lengths: int, scale: float | None) -> list[float]:
    """The last ``lengths`` of some numbers in metres, if ``scale`` is given; the others are directions."""
    first = len(values) - lengths
    return [*values[:first], *((1 if scale is None else scale) * value for value in values[first:])]


def _inputs(config: PredictConfig, files: Sequence[Path]) -> list[Path]:
    """Every file that is read."""
    others = (*each(config.mask), *each(config.intrinsics), config.poses, config.frame, config.checkpoint)
    return [*files, *(one for one in others if isinstance(one, Path))]


def _check_outputs(outputs: Mapping[str, Path | None], files: Sequence[Path]) -> None:
    """Refuse output files that cannot be written, that are one, or that would overwrite what is read."""
    earlier: dict[Path, str] = {}
    for flag, out in outputs.items():
        if out is None:
            continue
        if out.is_dir():
            raise InputError(f"{flag} {out} is a folder; name a file")
        if out.exists() and any(file.exists() and out.samefile(file) for file in files):
            raise InputError(f"{flag} {out}: this is one of the files that are read; choose another name")
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
