"""Mask bleed in a depth image: the rim of a mask that is too wide shows what lies behind the object.

Around a thin object such a rim has more than a tenth of the pixels, as the far wall of a vessel has. It
differs in its shape: all of it follows the outline of something nearer.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from plumbline.records import Float, Int

_WIDTH = 8
"""Pixels by which a mask may be too wide. Parts of the object that are seen behind others and are narrower
count as bleed too; they are still kept where they lie near the hull of the rest."""
_SHARE = 0.8
"""A part is bleed if this share of its pixels are that near to nearer ones of another part."""


def without_bleed(
    depth: Float, row: Int, column: Int, component: Int, large: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tell which of the large components of a masked object are not mask bleed.

    Args:
        depth: ``[N]`` distances of the pixels along the optical axis.
        row, column: ``[N]`` their places.
        component: ``[N]`` number of the connected component of each pixel.
        large: ``[C]`` the components that may be parts of the object; the others are ignored.

    Returns:
        ``[C]`` bool; all that are large if none would remain.
    """
    row, column = row - row.min(), column - column.min()
    shape = row.max() + 1, column.max() + 1
    remaining = large.copy()
    for number in np.flatnonzero(large):
        mine = component == number
        others = large[component] & ~mine
        image = np.full(shape, np.inf)
        image[row[others], column[others]] = depth[others]
        nearest = minimum_filter(image, 2 * _WIDTH + 1, mode="constant", cval=np.inf)
        behind = nearest[row[mine], column[mine]] < depth[mine]
        remaining[number] = behind.mean() < _SHARE
    return remaining if remaining.any() else large
