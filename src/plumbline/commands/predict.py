"""``plumbline predict``: finds the centre of mass of scans, in the frame and unit of each file."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from plumbline.config.predict import PredictConfig, each
from plumbline.console.progress import count_bar
from plumbline.console.remarks import tell
from plumbline.console.terminal import make_console, print_written
from plumbline.console.text import counted
from plumbline.cores import num_cores
from plumbline.errors import InputError
from plumbline.files import check_out_files, check_out_folder
from plumbline.geometry.camera_poses import read_poses
from plumbline.geometry.cleaning import clean_scan
from plumbline.geometry.clouds import Cloud, scan_of
from plumbline.geometry.depth_files import merged_clouds, read_view
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.masks import unnumbered
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
from plumbline.payload.forms import flange_warning
from plumbline.payload.forms import write as write_payload
from plumbline.payload.forms import write_all as write_payloads
from plumbline.payload.frames import read_frame
from plumbline.payload.record import Payload
from plumbline.predictors.answer_lines import IN_METRES, Wanted, to_dict, to_payload
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

_NUMBERS = re.compile(r"(-?\d[\d.,]*(e[-+]?\d+)?,?)+")
"""In a long recording a sentence differs from message to message by its numbers."""
_FILES_PER_WORKER = 64
"""A process needs as long to start as it needs for about this many scans."""


class Given(NamedTuple):
    """What is given for each scan, in their order.

    Attributes:
        answers: the prediction in the wanted frame, or why there is none.
        payloads: None if none is wanted, or there is no answer.
    """

    answers: list[Prediction | InputError]
    payloads: list[Payload | None]


def run(config: PredictConfig, console: Console) -> int:
    """Read scans, predict and print. Returns 0; 1 if some files were refused, 2 if all were."""
    files = each(config.depth) or each(config.bag) or list_scans(config.paths)
    check_out_files(
        {"--out": config.out, "--html": config.html, "--ply": config.ply},
        _inputs(config, files),
        {"--bag_out": config.bag_out, "--write_cleaned": config.write_cleaned},
    )
    frame = None if config.frame is None else read_frame(config.frame)
    wanted = Wanted(config.mass, config.density, frame, config.format, config.strict)
    predictor = choose_predictor(config.checkpoint, config.model, batch_size=config.batch_size)
    check_payload(wanted, predictor)
    model = model_facts(predictor)
    names, clouds, left_out = read_scans(config, files)
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
    given = Given([], [])
    lines: list[dict[str, Any]] = []
    counts = names[0].counts if names else "scan"
    with count_bar(console, counts, "predicting") as progress:
        for name, predicted in zip(names, answers, strict=True):
            answer, payload = to_payload(name, predicted, wanted)
            views.add(name, predicted, answer, payload)
            lines.append(name.to_dict() | to_dict(answer, payload, model))
            given.answers.append(answer)
            given.payloads.append(payload)
            if config.json:
                print(json.dumps(lines[-1], allow_nan=False), flush=True)
            elif progress is not None:
                progress(len(lines), len(names))
    if config.out is not None:
        _write(config.out, lines)
    said = write_bag(config, names, given)
    if not config.json:
        _print_answers(console, config.format, names, given, predictor)
    predictions = [answer for answer in given.answers if isinstance(answer, Prediction)]
    _print_assumptions(config, counts, predictions)
    drawn, not_drawn = views.write(called(predictor))
    for note in (*left_out, *said, *not_drawn, *skipped_texts(config.paths)):
        tell(f"note: {note}")
    places = _written(config, clouds, bool(predictions)) | drawn
    if config.json or config.format is not None:
        console = make_console(stderr=True)
    elif places:
        console.print()
    print_written(console, places)
    return 0 if len(predictions) == len(names) else 1 if predictions else 2


def _print_answers(
    console: Console, form: str | None, names: Sequence[ScanName], given: Given, predictor: Predictor
) -> None:
    """Print tables or, in the form that is wanted, payloads; then what is said of each scan."""
    if form is None:
        print_predictions(console, names, given.answers, predictor)
        print_payloads(console, names, given.payloads)
    elif payloads := [(str(name), one) for name, one in zip(names, given.payloads, strict=True) if one]:
        print(write_payloads(payloads, form))
    _print_remarks(names, given.answers)


def _written(config: PredictConfig, clouds: Iterable[Source], answered: bool) -> dict[str, Path]:
    """Name the files and folders that were written, but for what is drawn."""
    cut_out = config.write_cleaned is not None and any(isinstance(cloud, Cloud) for cloud in clouds)
    places = {
        "numbers": config.out,
        "bag": config.bag_out if answered else None,
        "objects": config.write_cleaned if cut_out else None,
    }
    return {name: place for name, place in places.items() if place is not None}


def _print_assumptions(config: PredictConfig, counts: str, answers: Sequence[Prediction]) -> None:
    """Print what was assumed of all scans alike."""
    if note := assumed_note(sum(answer.sensor == "assumed" for answer in answers), counts):
        tell(f"note: {note}")
    taken = sum(IN_METRES in answer.notes for answer in answers)
    if taken and not config.json:  # which has it in each line
        tell(
            f"note: the coordinates of {counted(taken, counts)} are taken for metres; give --scale if they "
            "are not"
        )
    if config.mass is not None and len(answers) > 1:
        tell(f"note: --mass {config.mass:g} is taken as the mass of each of the {len(answers):,} {counts}s")
    if config.frame is None and answers and (warning := flange_warning(config.format, "scan")) is not None:
        tell(warning)


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
    objects = unnumbered(read_objects(config))
    named = {ScanName(files[0], number): cloud for number, cloud in objects.items()}
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


def write_bag(config: PredictConfig, names: Sequence[ScanName], given: Given) -> list[str]:
    """Write the answers for a bag of ROS to another one, if wanted; returns notes on what is not in it."""
    if config.bag is None or config.bag_out is None:
        return []
    return write_answers(config.bag_out, names, given.answers, given.payloads, like=config.bag)


def _print_remarks(names: Sequence[ScanName], found: Sequence[Prediction | InputError]) -> None:
    """Print errors, then notes and warnings; what is said of several objects or messages of a file, once."""
    said: list[tuple[str, ScanName, str]] = []
    for name, answer in zip(names, found, strict=True):
        if isinstance(answer, InputError):
            said.append(("error", name, str(answer)))
    for name, answer in zip(names, found, strict=True):
        if isinstance(answer, Prediction):
            said += [("note", name, f"{name.file}: {note}") for note in answer.notes if note != IN_METRES]
            which = name if len(names) > 1 else name.file
            said += [("warning", name, f"{which}: {warning}") for warning in answer.warnings]
    groups: dict[tuple[str, ScanName, str], list[tuple[ScanName, str]]] = {}
    for kind, name, text in said:
        # Objects of an image are one group, and of a bag the messages that show an object.
        whole = ScanName(name.file, None if name.message is None or kind == "note" else name.object)
        alike = text.replace(f"{name}: ", f"{whole}: ", 1)
        if name.message is not None:
            alike = _NUMBERS.sub("#", alike)
        groups.setdefault((kind, whole, alike), []).append((name, text))
    messages = len({name.message for name in names})
    for (kind, whole, _), those in groups.items():
        (name, text), *others = those
        if others:
            objects = ", ".join(str(one.object) for one, _ in those)
            several = whole if name.object is None or name.message else f"{name.file}, objects {objects}"
            texts = {text.replace(f"{one}: ", f"{several}: ", 1) for one, text in those}
            text = text.replace(f"{name}: ", f"{several}: ", 1)
            if name.message is not None:
                numbers = ", with other numbers" if len(texts) > 1 else ""
                text += f" (in {len({one.message for one, _ in those}):,} of {messages:,} messages{numbers})"
        tell(f"{kind}: {text}")


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
