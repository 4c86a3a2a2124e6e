"""Simulated scans in a line."""

from typing import Any

import numpy as np

from plumbline.geometry.raycast import Caster
from plumbline.geometry.scans import scan_solid
from plumbline.records import Range, Scan, ScanSettings, Solid


def scan_settings(**changed: Any) -> ScanSettings:
    """The settings, whose ranges may be given as numbers or as pairs."""
    for name in ("views", "points", "distance", "noise"):
        value = changed.get(name)
        if value is not None and not isinstance(value, Range):
            changed[name] = Range(*value) if isinstance(value, tuple) else Range(value)
    return ScanSettings(**changed)


def scan_of(solid: Solid, seed: int, *, backend: str | None = None, **changed: Any) -> Scan:
    """What sensors see of a solid; ``changed`` as for :func:`scan_settings`."""
    caster = Caster(solid.vertices, solid.faces, *([backend] if backend else []))
    return scan_solid(solid, caster, scan_settings(**changed), rng=np.random.default_rng(seed))
