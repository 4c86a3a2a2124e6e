"""A scan as a predictor sees it: without stray points, thinned, as graphs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plumbline.arrays import to_numbers
from plumbline.errors import InputError
from plumbline.geometry.camera_poses import FROM_POSES
from plumbline.geometry.cleaning import clean_scan, object_points, stray_reason
from plumbline.geometry.clouds import check_points, scan_of
from plumbline.geometry.extents import extents
from plumbline.geometry.sampling import THINNING, farthest_points, take_points
from plumbline.geometry.tables import make_plane, plausible
from plumbline.geometry.visibility import sensor_reason
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.prediction import Prediction
from plumbline.records import FROM_CAMERA, Cloud, Float, Int, Sample, Scan

USUAL_DRAWS = 2
"""Choices of points of a larger scan whose predictions are averaged, unless the caller says otherwise. On
real scans they miss by 0.2 points less than one; two more would gain 0.07 and take as long as these."""
_FLAT = 0.15
"""A scan is flat if its smallest principal extent is less than this times the next one."""
_LINE = 0.01
"""A scan is a line if its second principal extent is at most this times the first one."""
_ONE_SIDE = 0.5
"""A scan was seen from one side if the mean unit direction to its sensors is longer than this."""


class Look(NamedTuple):
    """How scans are looked at.

    Attributes:
        sensor: ``[3]`` or ``[N, 3]`` position of the sensor, overriding that of the scan; or None.
        max_points: number of points that are used, at most.
        draws: number of choices of points of a larger scan.
        clean: leave stray points out.
        table: ``[4]`` plane that the object stands on, see :meth:`Predictor.predict`; or None.
        fewest: fewest points of the scans that the model was trained on; 0 if it is not known.
        strict: refuse scans whose prediction has a warning.
    """

    sensor: ArrayLike | None
    max_points: int
    draws: int
    clean: bool
    table: ArrayLike | None = None
    fewest: int = 0
    strict: bool = False

    def check(self) -> None:
        """Refuse numbers that are too small. Raises InputError."""
        if self.max_points < 2:
            raise InputError(f"max_points must be at least 2, got {self.max_points}")
        if self.draws < 1:
            raise InputError(f"draws must be at least 1, got {self.draws}")


class Seen(NamedTuple):
    """A scan as graphs.

    Attributes:
        name: its file, or what else it is called in messages.
        graphs: one for each draw of its points.
        unknown: what its prediction will say of the scan.
        strict: refuse it if there is a warning.
    """

    name: str
    graphs: list[Sample]
    unknown: Prediction
    strict: bool = False


def look_at(cloud: Cloud, view: ArrayLike | None, how: Look, form: GraphForm) -> Seen:
    """Convert a scan to graphs of at most ``how.max_points`` of its points; the choice is deterministic.

    Raises:
        InputError: the cloud is not a valid scan.
    """
    place = None if how.sensor is None else to_numbers(how.sensor, f"{cloud.name}: sensor")
    whole = scan_of(cloud, place)
    if view is not None:
        whole = replace(whole, view=_views(view, len(whole.points), cloud.name))
    if how.table is not None:
        whole = replace(whole, table=make_plane(to_numbers(how.table, f"{cloud.name}: table"), cloud.name))
    elif "table" in form.vector_names:
        whole = replace(whole, table=plausible(cloud.table, whole.points))
    scan = clean_scan(whole, kept_points(whole, cloud)) if how.clean else whole
    draws = how.draws if len(scan.points) > how.max_points else 1
    thin = [draw(scan, how.max_points, number) for number in range(draws)]
    of_image = place is None and cloud.place in (FROM_CAMERA, FROM_POSES)
    unknown = Prediction(
        np.full(3, np.nan),
        expected_error=None,
        radius_90=None,
        extent=float(extents(scan.points).max()),
        num_points=len(whole.points),
        num_points_used=len(thin[0].points),
        left_out=scan.left_out,
        num_views=int(np.count_nonzero(np.bincount(scan.view))),
        sensor="given" if place is not None else "assumed" if cloud.sensor is None else cloud.place,
        unit=cloud.unit,
        notes=(*cloud.notes, *filter(None, [cloud.loss])),
        warnings=(*cloud.warnings, *_warnings(scan, thin[0], how.fewest, of_image)),
        frame=cloud.frame,
    )
    return Seen(cloud.name, [form.sample(some, cloud.name) for some in thin], unknown, how.strict)


def try_look(
    scan: ArrayLike | Cloud | InputError, name: str, how: Look, form: GraphForm
) -> Seen | InputError:
    """Look at one of several scans; an error, given or found, takes its place."""
    if isinstance(scan, InputError):
        return scan
    try:
        return look_at(to_cloud(scan, name), None, how, form)
    except InputError as error:
        return error


def to_cloud(given: ArrayLike | Cloud, name: str) -> Cloud:
    """Convert what the user gives as a scan. Raises InputError if it holds no points."""
    if isinstance(given, Cloud):
        name = given.name or name
        cloud = replace(given, name=name, points=to_numbers(given.points, f"{name}: points"))
    else:
        cloud = Cloud(to_numbers(given, f"{name}: points"), name=name)
    check_points(cloud.points, cloud.name)
    return cloud


def kept_points(scan: Scan, cloud: Cloud) -> NDArray[np.bool_]:
    """Tell which points ``[N]`` of a cloud, as a scan, cleaning keeps: as its file says, or by themselves."""
    if cloud.on_object is not None:
        return cloud.on_object
    return object_points(scan.points, scan.sensor, scan.view)


def draw(scan: Scan, points: int, number: int) -> Scan:
    """Draw the farthest of some random points; later draws leave out half, or all draws would be the same."""
    num = len(scan.points)
    most = num if number == 0 else max(points, num // 2)
    candidates = np.random.default_rng(number).choice(num, min(most, THINNING * points), replace=False)
    return take_points(scan, candidates[farthest_points(scan.points[candidates], min(points, num))])


def _warnings(scan: Scan, spread: Scan, fewest: int, of_image: bool) -> Iterator[str]:
    """Say why the prediction for a scan may be worse than it says; ``spread`` has the points used."""
    if len(spread.points) < fewest:
        yield (
            f"only {len(spread.points)} points are used, but the model was trained on scans of at least "
            f"{fewest}: its error may be larger than the expected error"
        )
    if (reason := stray_reason(scan.left_out)) is not None:
        yield reason
    if (reason := sensor_reason(scan.points, scan.sensor, scan.view, of_image=of_image)) is not None:
        yield reason
    extents = _extents(spread)
    if extents[1] <= _LINE * extents[0]:
        yield "the points lie on one line, which shows neither the width nor the depth of the object"
    elif _is_from_one_side(spread) and extents[2] < _FLAT * extents[1]:
        yield (
            "the points lie on one flat face, which does not show the depth of the object; scan another side "
            "too"
        )


def unusual(novelty: float) -> str:
    """Say that a scan is unlike those of the training."""
    return (
        f"the scan is unlike those that the model was trained on (novelty {novelty:.2g}; 99 % of the "
        "validation scans are below 1): its error may be larger than the expected error and the 90 % radius"
    )


def _extents(scan: Scan) -> Float:
    """Principal extents ``[3]`` of the points, the largest first, in any unit."""
    points = scan.points - scan.points.mean(axis=0)
    found: Float = np.sqrt(np.linalg.eigvalsh(points.T @ points).clip(0)[::-1])
    return found


def _is_from_one_side(scan: Scan) -> bool:
    towards = scan.sensor - scan.points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return bool(np.linalg.norm(towards.mean(axis=0)) > _ONE_SIDE)


def _views(given: ArrayLike, num: int, name: str) -> Int:
    """Renumber any whole numbers as views ``[N]`` from 0."""
    view = to_numbers(given, f"{name}: view")
    if view.shape != (num,) or (view % 1 != 0).any():
        raise InputError(f"{name}: view must be [N], one whole number for each of the {num} points")
    return np.unique(view, return_inverse=True)[1].astype(np.int64)
