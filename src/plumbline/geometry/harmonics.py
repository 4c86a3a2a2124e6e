"""Real spherical harmonics in numpy, in the convention of equivariant networks."""

import math

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Float

_SHORTEST = 1e-12
"""Vectors shorter than this are not normalised to length 1 (as in e3nn)."""


def spherical_harmonics(vectors: Float, degree: int) -> Float:
    """Compute real spherical harmonics of the directions of vectors, for degrees 0 to ``degree``.

    Equal to ``e3nn.o3.spherical_harmonics(range(degree + 1), vectors, normalize=True,
    normalization="component")``: the polar axis is y, the columns of degree l run from order -l to l (so
    degree 1 is ``sqrt(3) * (x, y, z)``), there is no Condon-Shortley phase, and the squares of each degree
    sum to 2l + 1. Rotating the vectors rotates each degree by its Wigner matrix; inversion through the origin
    multiplies degree l by (-1)^l. For a zero vector degree 0 is 1 and all others are 0.

    Args:
        vectors: ``[E, 3]``.
        degree: highest degree, at least 0.

    Returns:
        ``[E, (degree + 1)**2]`` float64.

    Raises:
        InputError: ``degree`` is negative.

    Source: the associated Legendre recursion in l (e.g. Press et al., Numerical Recipes, 6.8), written for
    homogeneous polynomials so that it needs no angles and has no poles.
    """
    if degree < 0:
        raise InputError(f"spherical harmonics of degree {degree}: the degree must be at least 0")
    vectors = np.asarray(vectors, dtype=np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    x, y, z = (vectors / np.maximum(length, _SHORTEST)[:, None]).T
    square = x * x + y * y + z * z
    rows = np.empty(((degree + 1) ** 2, len(vectors)))
    # Sine and cosine parts: sin(theta)^m * (sin(m phi), cos(m phi)) with z + i x = sin(theta) exp(i phi).
    sine, cosine = np.zeros_like(x), np.ones_like(x)
    sectoral = 1.0
    for m in range(degree + 1):
        before, legendre = np.zeros_like(x), np.full_like(x, sectoral)
        for order in range(m, degree + 1):
            scale = (2 * order + 1) * math.factorial(order - m) / math.factorial(order + m)
            weighted = legendre * math.sqrt(scale if m == 0 else 2 * scale)
            middle = order * order + order
            rows[middle + m] = weighted * cosine
            if m > 0:
                rows[middle - m] = weighted * sine
            following = (2 * order + 1) * y * legendre - (order + m) * square * before
            before, legendre = legendre, following / (order + 1 - m)
        sine, cosine = sine * z + cosine * x, cosine * z - sine * x
        sectoral *= 2 * m + 1
    return rows.T
