"""``plumbline label``: the true centres of mass of scans, by registering a CAD model of their object."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from plumbline.config.label import LabelConfig
from plumbline.console.progress import count_bar
from plumbline.console.remarks import tell
from plumbline.console.tables import Column, print_table
from plumbline.console.terminal import print_line
from plumbline.console.text import counted, percent
from plumbline.data.prepare.densities import read_densities
from plumbline.errors import InputError, MeshError
from plumbline.files import check_out_files
from plumbline.geometry.cad_surface import CadSurface
from plumbline.geometry.cleaning import clean_scan
from plumbline.geometry.clouds import Label, scan_of
from plumbline.geometry.label_files import kept_labels, kept_poses, relative_to, write_labels, write_poses
from plumbline.geometry.meshes import REPAIR, load_mesh
from plumbline.geometry.registration import Registration, register_scan
from plumbline.geometry.scan_files import assumed_note, list_scans, read_file, scaled, skipped_texts
from plumbline.records import Float, Solid


class Labelled(NamedTuple):
    """What is found of a scan.

    Attributes:
        registration: accepted or not.
        sensor: ``[3]`` position of the sensor in metres; None if there are several.
        assumed: the sensor is assumed at the origin.
        notes: what was assumed while the file was read, a phrase each.
    """

    registration: Registration
    sensor: Float | None
    assumed: bool
    notes: tuple[str, ...]


def run(config: LabelConfig, console: Console) -> int:
    """Register, print and write labels. Returns 0; 1 if some scans were refused, 2 if all were."""
    assert config.cad is not None
    files = list_scans(config.paths)
    inputs = [config.cad, *files, *([] if config.densities is None else [config.densities])]
    check_out_files({"--out": config.out, "--poses": config.poses}, inputs)
    if config.out is not None:
        kept_labels(config.out, files)  # refuses files that are not of labels and poses before any work
    if config.poses is not None:
        kept_poses(config.poses, files)
    solid = read_cad(config)
    surface = CadSurface(solid)
    found: list[Labelled | InputError] = []
    with count_bar(console, "scan", "registering") as progress:
        for file in files:
            found.append(try_label(file, surface, config))
            if progress is not None:
                progress(len(found), len(files))
    accepted = {
        file: each
        for file, each in zip(files, found, strict=True)
        if isinstance(each, Labelled) and each.registration.reason is None
    }
    _print(console, solid, files, found)
    if config.out is not None and accepted:
        labels = kept_labels(config.out, accepted)
        made = [_label(file, each, solid, config) for file, each in accepted.items()]
        _write("--out", config.out, lambda path: write_labels(path, labels, made))
    if config.poses is not None and accepted:
        where = config.poses
        poses = kept_poses(where, accepted)
        lines = [_line(relative_to(where, file), each, solid, config) for file, each in accepted.items()]
        _write("--poses", where, lambda path: write_poses(path, poses, lines))
    print_line(console, _summary(len(accepted), len(files), config))
    for note in [*_notes(config, solid, files, found), *_earlier(config, files, accepted)]:
        tell(f"note: {note}")
    return 0 if len(accepted) == len(files) else 1 if accepted else 2


def read_cad(config: LabelConfig) -> Solid:
    """Read the CAD model, in metres, with its densities. Raises InputError."""
    cad = config.cad
    assert cad is not None
    densities = None
    if config.densities is not None:
        densities = dict(read_densities(config.densities, [(str(cad), cad)])[0])
        if not densities:
            raise InputError(f"{cad}: {config.densities} has no density for it")
    name = cad.stem if config.object_name is None else config.object_name
    try:
        return load_mesh(cad, name=name, scale=config.cad_scale, densities=densities)
    except MeshError as error:
        raise MeshError(str(error).replace(REPAIR, "repair it")) from error


def try_label(file: Path, surface: CadSurface, config: LabelConfig) -> Labelled | InputError:
    """Register the CAD model to one scan; an error is returned in the place of the result."""
    cloud = read_file(file, needs_sensor=config.sensor is None, scale=config.scale)
    if isinstance(cloud, InputError):
        return cloud
    try:
        sensor = None if config.sensor is None else np.array(scaled(config.sensor, 3, config.scale))
        scan = scan_of(cloud, sensor)
        if config.clean:
            scan = clean_scan(scan, cloud.on_object)
        registration = register_scan(scan, surface, cloud.name)
    except InputError as error:
        return error
    position = scan.sensor[0] if (scan.sensor == scan.sensor[0]).all() else None
    notes = (*cloud.notes, *filter(None, [cloud.loss]))
    return Labelled(registration, position, sensor is None and cloud.sensor is None, notes)


def _label(file: Path, found: Labelled, solid: Solid, config: LabelConfig) -> Label:
    """The label of a scan, in the unit of its file, as ``prepare --labels`` reads both."""
    unit = 1.0 if config.scale is None else config.scale
    sensor = None if found.sensor is None else found.sensor / unit
    return Label(file, solid.name, found.registration.com / unit, sensor, solid.bounding_radius / unit)


def _line(file: str, found: Labelled, solid: Solid, config: LabelConfig) -> dict[str, Any]:
    """What the file of poses says of a scan."""
    one = found.registration
    return {
        "file": file,
        "object_name": solid.name,
        "cad": str(config.cad),
        "cad_scale": config.cad_scale,
        "pose": one.pose.tolist(),
        "com": one.com.tolist(),
        "bounding_radius": solid.bounding_radius,
        "rms": one.rms,
        "inliers": one.inliers,
        "in_front": one.in_front,
        "missing": one.missing,
        "com_spread": one.com_spread,
    }


def _print(
    console: Console, solid: Solid, files: Sequence[Path], found: Sequence[Labelled | InputError]
) -> None:
    """Print a row for each scan that was registered, and why the others are refused."""
    rows = [
        [str(file), *_cells(each.registration)]
        for file, each in zip(files, found, strict=True)
        if isinstance(each, Labelled)
    ]
    if rows:
        heads = ("scan", "x", "y", "z", "rms mm", "inliers", "spread mm", "label")
        gives_way = {"inliers": 1, "rms mm": 2, "spread mm": 3}
        columns = [
            Column(head, cells, gives_way.get(head)) for head, *cells in zip(heads, *rows, strict=True)
        ]
        dropped = print_table(console, columns)
        size = " x ".join(f"{1000 * length:.4g}" for length in np.ptp(solid.vertices, axis=0))
        print_line(console, f"\nthe CAD model is {size} mm; centres of mass are in metres")
        if dropped:
            narrow = ", ".join(column.head for column in dropped)
            print_line(console, f"the terminal is too narrow for {narrow}: widen it, or use --poses")
    for file, each in zip(files, found, strict=True):
        if isinstance(each, InputError):
            tell(f"error: {each}")
        elif each.registration.reason is not None:
            tell(f"refused: {file}: {each.registration.reason}")


def _cells(one: Registration) -> list[str]:
    return [
        *(f"{round(value, 4) + 0.0:.4f}" for value in one.com.tolist()),
        f"{1000 * one.rms:.2f}",
        percent(one.inliers, 0),
        f"{1000 * one.com_spread:.1f}",
        "yes" if one.reason is None else "refused",
    ]


def _summary(accepted: int, scans: int, config: LabelConfig) -> str:
    """How many scans have labels, and where these are."""
    written = [str(path) for path in (config.out, config.poses) if path is not None] if accepted else []
    where = f", written to {' and '.join(written)}" if written else ""
    return f"{accepted:,} of {counted(scans, 'scan')} labelled{where}"


def _notes(
    config: LabelConfig, solid: Solid, files: Sequence[Path], found: Sequence[Labelled | InputError]
) -> list[str]:
    """What was assumed."""
    labelled = [(file, each) for file, each in zip(files, found, strict=True) if isinstance(each, Labelled)]
    notes = [*(f"{config.cad}: {note}" for note in solid.notes)]
    notes += [f"{file}: {note}" for file, each in labelled for note in each.notes]
    if assumed := assumed_note(sum(each.assumed for _, each in labelled)):
        notes.append(assumed)
    if config.out is not None and config.scale not in (None, 1):
        notes.append(f"{config.out} is in the unit of the scans, as prepare --labels reads both")
    return notes + skipped_texts(config.paths)


def _earlier(config: LabelConfig, files: Sequence[Path], accepted: Collection[Path]) -> list[str]:
    """Say how many refused scans still have an earlier label or pose, which may be a measured one."""
    refused = [file for file in files if file not in accepted]
    notes = []
    for path, kept, row in ((config.out, kept_labels, "row"), (config.poses, kept_poses, "line")):
        number = 0 if path is None else len(kept(path, [])) - len(kept(path, refused))
        if number == 1:
            notes.append(f"{path} keeps the earlier {row} of 1 refused scan; remove what is wrong")
        elif number:
            notes.append(f"{path} keeps {number:,} earlier {row}s of refused scans; remove what is wrong")
    return notes


def _write(flag: str, path: Path, write: Any) -> None:
    try:
        write(path)
    except OSError as error:
        raise InputError(f"{flag} {path}: cannot be written ({error.strerror})") from error
