"""The conditions of ScanCoM, fixed so that others can compare, and their settings."""

import math
from typing import Any, NamedTuple

from plumbline.console.text import counted
from plumbline.records import GraphSettings, Range, Sampling, ScanSettings

EDITION = 1
"""Raised by one when a result could change for any reason other than the method or the objects."""
SEED = 20_231
"""Seed of sensors, noise and built-in solids; differs from that of ``plumbline prepare``, because models are
trained on the solids of the latter."""


class Condition(NamedTuple):
    """How scans are taken: sensors, range noise (1 sigma, fraction of the radius), points kept, sampling."""

    views: int
    noise: float
    points: int
    sampling: Sampling = "farthest"

    @property
    def name(self) -> str:
        """Name in folders and JSON, e.g. ``v1-noise0.01-256-farthest``."""
        return f"v{self.views}-noise{self.noise:g}-{self.points}-{self.sampling}"

    @property
    def title(self) -> str:
        """Title in words, e.g. ``1 view, 1 % noise, 256 points``."""
        noise = f"{100 * self.noise:g} % noise" if self.noise else "no noise"
        points = f"{self.points} {'random ' * (self.sampling == 'random')}points"
        return f"{counted(self.views, 'view')}, {noise}, {points}"

    def settings(self, samples: int) -> ScanSettings:
        """Scan settings: a camera aimed at the object, which is turned at random before every scan."""
        return ScanSettings(
            target="solid",
            scale=1.0,
            samples=samples,
            views=Range(self.views),
            points=Range(self.points),
            sampling=self.sampling,
            pattern="grid",
            rays=1600,
            distance=Range(2, 3),
            noise=Range(self.noise),
            grazing=80.0,
            pose_error=0.0,
            rotate=True,
            seed=SEED,
        )


VIEWS = (1, 3)
MAIN = tuple(Condition(views, 0.01, 256) for views in VIEWS)
"""The conditions by which methods are ranked."""
CONDITIONS = tuple(
    condition
    for views in VIEWS
    for condition in (
        *(Condition(views, noise, points) for noise in (0.0, 0.01, 0.03) for points in (128, 256, 512)),
        Condition(views, 0.01, 256, "random"),
    )
)


def recorded(condition: Condition, scan: ScanSettings, graph: GraphSettings) -> dict[str, Any]:
    """Settings as the data sets of the benchmark record them, unchanged since the first edition."""
    return {
        "target": scan.target,
        "scale": scan.scale,
        "samples": scan.samples,
        "views": condition.views,
        "points": condition.points,
        "noise": condition.noise,
        "sampling": condition.sampling,
        "seed": scan.seed,
        "k": graph.k,
        "normalise": graph.normalise,
        "pattern": scan.pattern,
        "num_rays": scan.rays,
        "distance": [float(scan.distance.low), float(scan.distance.high)],
        "dropout_grazing": math.radians(scan.grazing),
        "pose_error": [math.radians(scan.pose_error), scan.pose_error / 100],
        "rotate": scan.rotate,
        "edge_attr": graph.edge_attr,
        "sh_degree": graph.sh_degree,
        "scancom": EDITION,
    }
