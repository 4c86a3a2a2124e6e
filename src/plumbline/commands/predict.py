"""``plumbline predict``: finds the centre of mass of scans, in the frame and unit of each file."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from plumbline.config.predict import PredictConfig, each
from plumbline.console.progress import file_bar
from plumbline.console.text import visible
from plumbline.cores import num_cores
from plumbline.errors import InputError
from plumbline.files import check_out_files, check_out_folder
from plumbline.geometry.camera_poses import read_poses
from plumbline.geometry.cleaning import clean_scan
from plumbline.geometry.clouds import Cloud, scan_of
from plumbline.geometry.depth_files import merged_clouds, read_view
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.ply_writing import write_ply
from plumbline.geometry.scan_files import (
    assumed_note,
    in_metres,
    list_scans,
    read_file,
    scaled,
    skipped_texts,
)
from plumbline.kinds import AUTO
from plumbline.payload.forms import FLANGE_FORMS
from plumbline.payload.forms import write as write_payload
from plumbline.payload.frames import read_frame
from plumbline.payload.record import Payload
from plumbline.predictors.answer_lines import Wanted, to_dict, to_payload
from plumbline.predictors.choice import choose_predictor, model_facts
from plumbline.predictors.many import Source
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import ScanName, called, print_payloads, print_predictions
from plumbline.predictors.predictor import Predictor
from plumbline.predictors.tryout import try_out
from plumbline.quantities import Plane
from plumbline.ros.answers import write_answers
from plumbline.ros.bags import bag_files, check_new_bag
from plumbline.ros.recordings import Chosen, read_recording
from plumbline.views.files import ViewFiles
from plumbline.writing import atomic_file

_FILES_PER_WORKER = 64
"""A process needs as long to start as it needs for about this many scans."""


def run(config: PredictConfig, console: Console) -> int:
    """Read scans, predict and print. Returns 0; 1 if some files were refused, 2 if all were."""
    files = each(config.depth) or each(config.bag) or list_scans(config.paths)
    check_out_files({"--out": config.out, "--html": config.html, "--ply": config.ply}, _inputs(config, files))
    frame = None if config.frame is None else read_frame(config.frame)
    wanted = Wanted(config.mass, config.density, frame, config.format)
    predictor = choose_predictor(config.checkpoint, config.model, batch_size=config.batch_size)
    check_payload(wanted, predictor)
    model = model_facts(predictor)
    names, clouds, left_out = read_scans(config, files)
    if config.format is not None and len(names) > 1:
        raise InputError(
            f"--format {config.format} prints one payload: give one scan, or --json for {len(names):,}"
        )
    sensor = None if config.sensor is None else scaled(config.sensor, 3, config.scale)
    views = ViewFiles(config.html, config.ply, scans=len(names), sensor=sensor, clean=config.clean)
    answers = predictor.predict_many(
        views.passing(clouds),
        sensor=sensor,
        table=None if not isinstance(config.table, Plane) else scaled(config.table, 1, config.scale),
        max_points=config.points,
        draws=config.draws,
        clean=config.clean,
        strict=config.strict,
        workers=1 if views.wanted or config.depth or config.bag else num_workers(len(names)),
    )
    found: list[Prediction | InputError] = []
    payloads: list[Payload | None] = []
    lines: list[dict[str, Any]] = []
    with file_bar(console) as progress:
        for name, predicted in zip(names, answers, strict=True):
            answer, payload = to_payload(name, predicted, wanted)
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
    if config.format in FLANGE_FORMS and config.frame is None and predictions:
        print(
            f"warning: --format {config.format} is read in the frame of the flange, and this payload is in "
            "that of the scan; give --frame with the motion to the flange",
            file=sys.stderr,
        )
    for note in (*left_out, *said, *views.write(called(predictor)), *skipped_texts(config.paths)):
        print(visible(f"note: {note}"), file=sys.stderr)
    return 0 if len(predictions) == len(found) else 1 if predictions else 2


def _print_assumed(predictions: Sequence[Prediction]) -> None:
    if note := assumed_note(sum(answer.sensor == "assumed" for answer in predictions)):
        print(f"note: {note}", file=sys.stderr)


def num_workers(files: int) -> int:
    """Number of processes that read and clean scans: one per core, if there are enough files."""
    return max(1, min(num_cores(), files // _FILES_PER_WORKER))


def read_scans(
    config: PredictConfig, files: Sequence[Path]
) -> tuple[Sequence[ScanName], Iterable[Source], Sequence[str]]:
    """Name what is predicted, and read it: scans when it is their turn, the objects of depth images at once.

    Returns:
        The names, the scans, and what was left out, a note each.
    """
    if config.bag is not None:
        return read_bag(config.bag, config)
    if config.depth is None:
        needs_sensor = config.sensor is None
        read = partial(read_file, needs_sensor=needs_sensor, scale=config.scale)
        return [ScanName(file) for file in files], [partial(read, file) for file in files], ()
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


def check_payload(wanted: Wanted, predictor: Predictor) -> None:
    """Refuse a payload that needs more than the model predicts, before scans are read. Raises InputError."""
    if wanted.density is not None or wanted.form is not None:
        payload = try_out(predictor).payload(wanted.mass, density=wanted.density)
        if wanted.form is not None:
            write_payload(payload, wanted.form)


def _inputs(config: PredictConfig, files: Sequence[Path]) -> list[Path]:
    """Every file that is read."""
    others = (*each(config.mask), *each(config.intrinsics), config.poses, config.frame, config.checkpoint)
    bag = [] if config.bag is None else bag_files(config.bag)
    return [*files, *bag, *(one for one in others if isinstance(one, Path))]


def _write(out: Path, lines: Sequence[dict[str, Any]]) -> None:
    try:
        with atomic_file(out) as file:
            file.writelines(json.dumps(line, allow_nan=False).encode() + b"\n" for line in lines)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from error
