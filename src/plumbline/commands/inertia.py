"""``plumbline inertia``: mass, centre of mass and inertia of meshes; exact, or predicted for open ones."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from plumbline.config.inertia import InertiaConfig
from plumbline.console.remarks import tell
from plumbline.data.prepare.densities import Densities, read_densities
from plumbline.errors import InputError, MeshError
from plumbline.geometry.extents import extents
from plumbline.geometry.meshes import REPAIR, load_mesh
from plumbline.payload.forms import flange_warning, write_all
from plumbline.payload.frames import read_frame
from plumbline.payload.record import Payload, size_reason
from plumbline.predictors.open_meshes import predict_surface
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import print_bodies
from plumbline.predictors.predictor import Predictor, load_predictor
from plumbline.records import Solid


class Weighed(NamedTuple):
    """What is found of a mesh.

    Attributes:
        payload: in the mesh frame.
        volume: cubic metres.
        predicted: the prediction, for an open mesh; None: the payload is exact.
        remarks: what the user is told.
    """

    payload: Payload
    volume: float
    predicted: Prediction | None
    remarks: tuple[str, ...]


def run(config: InertiaConfig, console: Console) -> int:
    """Weigh meshes and print. Returns 0; 1 if some files were refused, 2 if all were."""
    files = config.paths
    if not files:
        raise InputError("no meshes given: name files")
    frame = None if config.frame is None else read_frame(config.frame)
    densities: Sequence[Densities] = [()] * len(files)
    if config.densities is not None:
        densities = read_densities(config.densities, [(str(file), file) for file in files])
    found: list[Weighed | InputError] = []
    for file, own in zip(files, densities, strict=True):
        try:
            weighed = weigh(file, config, own)
            if frame is not None:
                weighed = weighed._replace(payload=weighed.payload.moved(frame))
            found.append(weighed)
        except InputError as error:
            found.append(error)
        if config.json:
            print(json.dumps({"file": str(file)} | to_dict(found[-1]), allow_nan=False), flush=True)
    bodies = [(file, each) for file, each in zip(files, found, strict=True) if isinstance(each, Weighed)]
    if config.format is not None and bodies:
        print(write_all([(str(file), weighed.payload) for file, weighed in bodies], config.format))
        if frame is None and (warning := flange_warning(config.format, "mesh")) is not None:
            tell(warning)
    elif config.format is None and not config.json:
        print_bodies(console, [(file, each.payload, each.volume, each.predicted) for file, each in bodies])
    if not config.json:
        for file, each in zip(files, found, strict=True):
            if isinstance(each, InputError):
                tell(f"error: {each}")
                continue
            for remark in each.remarks:
                kind, _, said = remark.partition(" ")
                tell(f"{kind} {file}: {said}")
    return 0 if len(bodies) == len(found) else 1 if bodies else 2


def weigh(file: Path, config: InertiaConfig, densities: Densities) -> Weighed:
    """Weigh one mesh: exactly if it encloses a body, otherwise by a prediction from scans of its surface.

    Raises:
        InputError: the file cannot be read, has bodies without a density, or cannot be predicted.
    """
    if config.densities is not None and not densities:
        raise InputError(f"{file}: {config.densities} has no density for it")
    try:
        solid = load_mesh(file, name=str(file), scale=config.scale, densities=dict(densities) or None)
    except MeshError as error:
        if config.densities is not None:
            raise
        return _predict(file, config, error)
    mass = solid.mass if densities else _mass(config, solid.volume)
    assert solid.inertia is not None
    doubts = tuple(filter(None, [size_reason(float(extents(solid.vertices).max()))]))
    payload = Payload(mass, solid.com, mass * solid.inertia, warnings=doubts)
    notes = tuple(f"note: {note}" for note in solid.notes)
    return Weighed(payload, solid.volume, None, (*notes, *(f"warning: {doubt}" for doubt in doubts)))


def _predict(file: Path, config: InertiaConfig, reason: MeshError) -> Weighed:
    """Predict an open mesh; raises the reason if it is not a surface either."""
    try:
        surface: Solid = load_mesh(file, name=str(file), target="shell", scale=config.scale)
    except MeshError:
        said = str(reason).removesuffix(REPAIR) + ("repair it" if str(reason).endswith(REPAIR) else "")
        raise InputError(said) from None
    predicted = predict_surface(_shipped(), surface)
    payload = predicted.payload(config.mass, density=config.density)
    why = str(reason).removeprefix(f"{file}: ").removesuffix(f"; {REPAIR}")
    assert predicted.volume is not None
    said = f"warning: {why}; so this is predicted from scans of its surface, and not exact"
    return Weighed(
        payload,
        predicted.volume,
        predicted,
        (said, *(f"note: {note}" for note in surface.notes), *(f"warning: {w}" for w in payload.warnings)),
    )


@cache
def _shipped() -> Predictor:
    return load_predictor()


def _mass(config: InertiaConfig, volume: float) -> float:
    if config.mass is not None:
        return config.mass
    assert config.density is not None
    return config.density * volume


def to_dict(found: Weighed | InputError) -> dict[str, Any]:
    """What a line of JSON says of a mesh."""
    if isinstance(found, InputError):
        return {"error": str(found)}
    said: dict[str, Any] = {"exact": found.predicted is None, "volume": found.volume}
    if found.predicted is not None:
        names = ("expected_error", "radius_90", "novelty")
        held = found.predicted.to_dict()
        said |= {name: held[name] for name in names if name in held}
    remarks = {"remarks": list(found.remarks)} if found.remarks else {}
    return said | {"payload": found.payload.to_dict()} | remarks
