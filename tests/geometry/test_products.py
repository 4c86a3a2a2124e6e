"""Tests of dot and cross products."""

import numpy as np
import pytest

from plumbline.geometry.products import cross, dot


@pytest.mark.parametrize("shape", [(3,), (3, 200), (3, 3, 50)])
def test_products_are_those_of_numpy(shape):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, *shape))
    wanted = np.cross(a, b, axis=0)
    np.testing.assert_array_equal(cross(a, b), wanted)
    np.testing.assert_allclose(dot(a, b), np.einsum("i...,i...->...", a, b), rtol=0, atol=1e-14)
    np.testing.assert_allclose(dot(a, wanted), 0, rtol=0, atol=1e-14)
