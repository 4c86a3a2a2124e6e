"""Stretched solids: the truth goes along exactly, and the factors are as spread as they should be."""

import numpy as np
import pytest

from plumbline.data.preparation import Source, make_samples
from plumbline.geometry.meshes import solid_properties
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rotations import random_directions
from plumbline.geometry.solids import make_solid
from plumbline.geometry.spheres import bounding_sphere
from plumbline.geometry.stretching import StretchedCaster, draw_stretch, stretch_solid

SETTINGS = {
    "target": "solid", "scale": 1.0, "views": (1, 1), "points": (48, 48), "noise": (0.01, 0.01),
    "sampling": "farthest", "k": 6, "normalise": "none", "seed": 0, "pattern": "grid", "num_rays": 400,
}  # fmt: skip


def stretched(seed, stretch=0.4):
    solid = make_solid(0, seed)
    return solid, stretch_solid(solid, draw_stretch(stretch, np.random.default_rng(seed)))


@pytest.mark.parametrize("seed", range(4))
def test_the_truth_is_that_of_the_stretched_mesh(seed):
    solid, longer = stretched(seed)
    volume, com = solid_properties(longer.vertices, longer.faces)
    radius = longer.bounding_radius
    assert np.linalg.norm(longer.com - com) <= 1e-12 * radius
    assert longer.volume == pytest.approx(volume, rel=1e-12)
    centre, expected = bounding_sphere(longer.vertices)
    assert radius == expected
    assert np.array_equal(longer.bounding_centre, centre)
    # It is another shape, not the old one turned or scaled.
    ratio = radius / solid.bounding_radius
    assert abs(longer.volume / (solid.volume * ratio**3) - 1) > 0.01
    assert (longer.name, longer.faces is solid.faces) == (solid.name, True)


def test_factors_are_log_normal_along_axes_that_point_anywhere():
    logs, longest = [], []
    for seed in range(2000):
        linear = draw_stretch(0.25, np.random.default_rng(seed))
        assert np.allclose(linear, linear.T, rtol=0, atol=1e-12)
        factors, axes = np.linalg.eigh(linear)
        logs.append(np.log(factors))
        longest.append(axes[:, -1])
    assert np.mean(logs) == pytest.approx(0, abs=0.01)
    assert np.std(logs) == pytest.approx(0.25, abs=0.01)
    # Axes without a favourite: the mean of their dyads is a third of the identity.
    assert np.allclose(np.einsum("ni,nj->ij", longest, longest) / 2000, np.eye(3) / 3, rtol=0, atol=0.03)


def test_rays_meet_the_stretched_mesh_where_a_caster_of_its_own_meets_it():
    solid, linear = make_solid(0, 1), draw_stretch(0.4, np.random.default_rng(5))
    longer = stretch_solid(solid, linear)
    own = Caster(longer.vertices, longer.faces)
    taken_back = StretchedCaster(Caster(solid.vertices, solid.faces), linear)
    rng = np.random.default_rng(0)
    origins = longer.bounding_centre + 2.5 * longer.bounding_radius * random_directions(rng, 2000)
    aims = longer.bounding_centre + 0.3 * longer.bounding_radius * rng.standard_normal((2000, 3))
    directions = (aims - origins) / np.linalg.norm(aims - origins, axis=1, keepdims=True)
    (near, face), (expected, faces) = (each.first_hits(origins, directions) for each in (taken_back, own))
    hit = faces >= 0
    assert 300 < hit.sum() < 1900
    assert np.array_equal(hit, face >= 0)
    assert np.abs(near[hit] - expected[hit]).max() <= 1e-12 * longer.bounding_radius
    assert np.abs(taken_back.face_normals(face[hit]) - own.face_normals(face[hit])).max() <= 1e-9


def test_each_scan_has_a_shape_of_its_own_and_no_stretch_changes_nothing():
    source = Source("solid", "a solid", "a solid", index=3)
    plain = make_samples(source, samples=3, stretch=0.0, **SETTINGS)
    wide = make_samples(source, samples=3, stretch=0.3, **SETTINGS)
    assert len({sample.bounding_radius for sample in plain}) == 1
    assert len({sample.bounding_radius for sample in wide}) == 3
    assert {sample.object_name for sample in wide} == {plain[0].object_name}
    again = make_samples(source, samples=2, stretch=0.3, **SETTINGS)
    for one, other in zip(wide, again, strict=False):
        assert np.array_equal(one.node_features, other.node_features)
