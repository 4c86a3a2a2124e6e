"""Mask bleed: the rim of a mask that is too wide shows what lies behind the object.

Around a thin object such a rim has more than a tenth of the points, as the far wall of a vessel has. It
differs in its shape: as the sensor sees it, all of it follows the outline of something nearer.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from plumbline.records import Float, Int

_WIDTH = 0.1
"""A mask may be too wide by this share of the square root of its area: of an object of 70 by 70 pixels by
seven. Parts of the object that are seen behind others and are narrower count as bleed too; they are still
kept where they lie near the hull of the rest."""
_SHARE = 0.8
"""A component is bleed if this share of its points are that near to nearer ones of another component."""
_LEAST = 100
"""Components with less than one ``_LEAST``-th of the points of the largest one, such as flying pixels before
the far wall of a vessel, hide nothing."""
_NEIGHBOURS = 8
"""Each point is compared with this many others, as the nearest one may be on another piece of the rim."""
_SAMPLE = 4096
"""At most this many points are looked at."""


def without_bleed(away: Float, component: Int, large: NDArray[np.bool_], pixel: float) -> NDArray[np.bool_]:
    """Tell which of the large components of one view are not mask bleed.

    Args:
        away: ``[N, 3]`` vectors from the sensor to the points.
        component: ``[N]`` number of the connected component of each point.
        large: ``[C]`` the components that may be parts of the object.
        pixel: angle in radians between points that are next to each other as the sensor sees them.

    Returns:
        ``[C]`` bool; all that are large if none would remain. Symmetry: E(3), and scale.
    """
    if np.count_nonzero(large) < 2:
        return large
    width = _WIDTH * np.sqrt(len(away)) * pixel
    count = np.bincount(component)
    mine = np.flatnonzero((_LEAST * count >= count.max())[component])
    mine = mine[:: -(-len(mine) // _SAMPLE)]
    away, component = away[mine], component[mine]
    reach = np.linalg.norm(away, axis=1)
    direction = away / np.where(reach > 0, reach, 1.0)[:, None]
    remaining = large.copy()
    for number in np.flatnonzero(large):
        own = component == number
        tree = cKDTree(direction[~own])
        _, other = tree.query(direction[own], k=_NEIGHBOURS, distance_upper_bound=width)
        nearer = np.append(reach[~own], np.inf)[other].min(axis=1) < reach[own]
        remaining[number] = nearer.mean() < _SHARE
    return remaining if remaining.any() else large
