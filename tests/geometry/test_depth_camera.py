"""The virtual depth camera: each loss and error alone against its own law, and all of them together."""

import math
from functools import cache

import numpy as np
import pytest

from plumbline.geometry import depth_camera, scans
from plumbline.geometry.depth_camera import DepthCamera
from plumbline.geometry.graphs import build_sample
from plumbline.geometry.meshes import make_solid_record
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rest_poses import RestPoses, rest_poses
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import make_solid
from tests.geometry.test_meshes import BOX, BOX_FACES, lathe, plane_box
from tests.helpers.scans import scan_settings

NONE = RestPoses(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
ANGLES = np.linspace(0, np.pi, 49)[1:-1]
BALL = make_solid_record(
    "ball", *lathe([(0, -1), *zip(np.sin(ANGLES), -np.cos(ANGLES), strict=True), (0, 1)], 96)
)
CUBE = make_solid_record("box", *plane_box((0, 0, 0), (1, 1, 1)))
OFF = {
    "_EDGE_LOSS": (0.0, 0.0),
    "_GRAZING": (),
    "_OCCLUDED": 0.0,
    "_HOLES": 0.0,
    "_PATCHED": 0.0,
    "_NOISE": (0.0, 0.0),
    "_WAVES": (0.0, 0.0),
    "_STEP": (0.0, 0.0),
    "_FLYING": (0.0, 0.0),
    "_MISPLACED": (0.0, 0.0),
}
"""Values with which nothing is lost or wrong."""


@pytest.fixture
def only(monkeypatch):
    """Call it to switch off all losses and errors but the given ones."""

    def switch(**on):
        for name, value in (OFF | on).items():
            monkeypatch.setattr(depth_camera, name, value)

    return switch


@cache
def caster_of(name):
    solid = {"ball": BALL, "box": CUBE}[name]
    return Caster(solid.vertices, solid.faces)


def photograph(solid=BALL, seed=0, views=1, points=300, rest=NONE):
    camera = DepthCamera(np.random.default_rng(seed), rest)
    return camera.photograph(solid, caster_of(solid.name), views, points)


def in_image(solid, taken):
    """Points of one view from the centre, (across, down, forward) in radii, and the camera's distance."""
    forward = solid.bounding_centre - taken.sensors[0]
    away = float(np.linalg.norm(forward))
    forward = forward / away
    right = np.cross(forward, np.eye(3)[np.abs(forward).argmin()])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward])
    return (
        taken.points - solid.bounding_centre
    ) @ axes.T / solid.bounding_radius, away / solid.bounding_radius


def test_without_losses_and_errors_it_sees_what_rays_hit(only):
    only()
    taken = photograph()
    local, away = in_image(BALL, taken)
    assert 3 <= away <= 14
    radius = np.linalg.norm(local, axis=1)
    assert 1 - 2e-3 < radius.min() <= radius.max() < 1 + 1e-9, "on the surface"
    # Of a ball, one sees what is nearer than the horizon.
    assert local[:, 2].max() == pytest.approx(-1 / away, abs=0.03)
    # Pixels are a square grid that the ball's disc fills: pi / 4 of them.
    assert len(taken.points) == pytest.approx(math.pi / 4 * depth_camera.SIDE**2, rel=0.03)


def test_pixels_near_the_outline_are_lost_by_the_law(only):
    """The ball's image has a radius of 43 pixels, so that a computed pixel is about one of the camera."""
    size = {"_FOCAL": (600.0, 600.0), "_RADIUS": (0.05, 0.05), "_DISTANCE": (0.7, 0.7)}
    edges = np.array([0, 2, 4, 7, 10, 20])
    kept, sent = np.zeros(5), np.zeros(5)
    fine = (np.arange(2000) + 0.5) / 100
    law = 1 - 0.6 * np.exp(-np.maximum(fine - 1, 0) / 4)
    law = np.histogram(fine, edges, weights=law)[0] / np.histogram(fine, edges)[0]
    for seed in range(20):
        for loss, count in (({}, sent), ({"_EDGE_LOSS": (0.6, 0.6), "_EDGE_WIDTH": (4.0, 4.0)}, kept)):
            only(**size, **loss)
            local, away = in_image(BALL, photograph(seed=seed))
            across = 600 * np.linalg.norm(local[:, :2], axis=1) / (local[:, 2] + away)
            count += np.histogram(600 / math.sqrt(away**2 - 1) - across, edges)[0]
    np.testing.assert_allclose(kept / sent, law, atol=0.06)


@pytest.mark.parametrize("alike", [True, False])
def test_pixels_are_lost_over_stretches_of_the_outline(only, monkeypatch, alike):
    """Sectors of the rim differ by more than chance; pixels lost one by one, the control, do not."""
    if not alike:
        monkeypatch.setattr(DepthCamera, "_luck", lambda camera, inside, _: camera._rng.random(inside.shape))
    size = {"_FOCAL": (600.0, 600.0), "_RADIUS": (0.05, 0.05), "_DISTANCE": (0.7, 0.7)}
    excess = []
    for seed in range(20):
        counts = []
        for loss in ({}, {"_EDGE_LOSS": (0.6, 0.6), "_EDGE_WIDTH": (4.0, 4.0)}):
            only(**size, **loss, _STRETCH=(20.0, 20.0))
            local, away = in_image(BALL, photograph(seed=seed))
            rim = (
                600 / math.sqrt(away**2 - 1)
                - 600 * np.linalg.norm(local[:, :2], axis=1) / (local[:, 2] + away)
                < 4
            )
            angle = np.arctan2(local[rim, 1], local[rim, 0])
            counts.append(np.histogram(angle, 12, (-math.pi, math.pi))[0])
        sent, kept = counts
        share = kept.sum() / sent.sum()
        excess.append(((kept - sent * share) ** 2 / (sent * share * (1 - share))).mean())
    assert (np.mean(excess) > 4) == alike
    assert alike or np.mean(excess) == pytest.approx(1, abs=0.4)


def test_what_is_seen_at_a_flat_angle_is_lost(only):
    law = ((60.0, 0.2, 0.2), (70.0, 0.45, 0.45), (80.0, 0.85, 0.85))
    kept, sent = np.zeros(7), np.zeros(7)
    for seed in range(20):
        for losses, count in ((law, kept), ((), sent)):
            only(_GRAZING=losses)
            taken = photograph(seed=seed)
            ray = taken.points - taken.sensors[0]
            normal = taken.points / np.linalg.norm(taken.points, axis=1, keepdims=True)
            cosine = -np.einsum("nd,nd->n", ray / np.linalg.norm(ray, axis=1, keepdims=True), normal)
            count += np.histogram(np.degrees(np.arccos(cosine)), [0, 57, 63, 67, 73, 77, 83, 90])[0]
    np.testing.assert_allclose((kept / sent)[::2], [1, 0.8, 0.55, 0.15], atol=0.04)


@pytest.mark.parametrize(("switch", "share"), [("_OCCLUDED", 0.3), ("_PATCHED", 0.2)])
def test_occluders_and_patches_hide_their_share_in_one_piece(only, switch, share):
    extent = {"_OCCLUDED": "_OCCLUSION", "_PATCHED": "_PATCH"}[switch]
    for seed in range(5):
        only()
        whole = len(photograph(seed=seed).points)
        only(**{switch: 1.0, extent: (share, share)})
        taken = photograph(seed=seed)
        assert len(taken.points) == pytest.approx((1 - share) * whole, rel=0.02)
        local, _ = in_image(BALL, taken)
        filled = np.histogram2d(*local[:, :2].T, bins=10, range=[[-0.6, 0.6]] * 2)[0]
        assert (filled == 0).sum() >= 2, "the hidden pixels lie together"


def test_an_occluder_stands_on_one_side(only):
    only(_OCCLUDED=1.0, _OCCLUSION=(0.4, 0.4))
    for seed in range(5):
        local, _ = in_image(BALL, photograph(seed=seed))
        assert np.linalg.norm(local[:, :2].mean(axis=0)) > 0.2


def test_holes_are_round_and_of_their_size(only):
    """Half axes of Gamma(4, 1) pixels cover 16 pi each; several overlap, and some lie over the outline."""
    lost = expected = 0.0
    for seed in range(20):
        only(_FOCAL=(600.0, 600.0))
        before = photograph(seed=seed)
        only(_HOLES=20.0, _FOCAL=(600.0, 600.0))
        lost += len(before.points) - len(photograph(seed=seed).points)
        _, away = in_image(BALL, before)
        expected += len(before.points) * (1 - math.exp(-20 * 16 * (away**2 - 1) / 600**2))
    assert lost == pytest.approx(expected, rel=0.2)


def test_depths_are_wrong_by_millimetres_that_grow_with_the_square_of_the_distance(only):
    for name, size in (("_NOISE", 0.8), ("_WAVES", 2.0)):
        for away in (0.5, 1.0):
            only(**{name: (size, size)}, _RADIUS=(0.08, 0.08), _DISTANCE=(away, away))
            taken = photograph()
            ray = taken.points - taken.sensors[0]
            length = np.linalg.norm(ray, axis=1)
            middle = -ray @ taken.sensors[0] / length
            reach = middle - np.sqrt(np.maximum(middle**2 - (taken.sensors[0] @ taken.sensors[0] - 1), 0))
            facing = np.linalg.norm(taken.points, axis=1) > 0
            error = (length - reach)[facing & (middle**2 > taken.sensors[0] @ taken.sensors[0] - 0.7)] * 80
            expected = size * ((away / 0.7) ** 2 if name == "_NOISE" else 1)
            assert np.std(error) == pytest.approx(expected, rel=0.35 if name == "_WAVES" else 0.1)


def test_depths_are_rounded_to_steps(only):
    only(_STEP=(1.0, 1.0), _RADIUS=(0.1, 0.1), _DISTANCE=(0.6, 0.6))
    taken = photograph(CUBE)
    forward = CUBE.bounding_centre - taken.sensors[0]
    depth = (taken.points - taken.sensors[0]) @ forward / np.linalg.norm(forward)
    steps = depth / CUBE.bounding_radius * 0.1 / 1e-3
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)


def test_flying_pixels_lie_behind_the_outline(only):
    only()
    still = photograph()
    only(_FLYING=(1.0, 1.0))
    taken = photograph()
    ray = still.points - still.sensors[0]
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    behind = np.einsum("nd,nd->n", taken.points - still.points, ray)
    np.testing.assert_allclose(still.points + behind[:, None] * ray, taken.points, atol=1e-12)
    local, away = in_image(BALL, still)
    across = np.linalg.norm(local[:, :2], axis=1) / (local[:, 2] + away) * math.sqrt(away**2 - 1)
    assert behind.min() > -1e-12
    assert np.mean(behind[across > 0.98] > 0) > 0.7
    assert (np.abs(behind[across < 0.95]) < 1e-12).all()


def test_the_sensor_is_assumed_up_to_a_tenth_of_its_distance_aside(only):
    only()
    true = np.stack([photograph(seed=seed).sensors[0] for seed in range(50)])
    only(_MISPLACED=(0.0, 0.1))
    assumed = np.stack([photograph(seed=seed).sensors[0] for seed in range(50)])
    aside = np.linalg.norm(assumed - true, axis=1) / np.linalg.norm(true, axis=1)
    assert aside.max() < 0.1
    assert aside.mean() == pytest.approx(0.05, abs=0.01)


def test_an_object_on_a_table_is_seen_from_above(only):
    only()
    up = np.array([0.0, 0.6, 0.8])
    rest = RestPoses(up[None], np.ones(1), np.ones(1))
    angles = []
    for seed in range(200):
        sensor = photograph(seed=seed, rest=rest, points=20).sensors[0]
        angles.append(math.degrees(math.asin(sensor @ up / np.linalg.norm(sensor))))
    above = [20 <= angle <= 75 for angle in angles]
    # Four fifths, and of the others those that happen to be there: (sin 75 - sin 20) / 2.
    assert np.mean(above) == pytest.approx(0.8 + 0.2 * 0.312, abs=0.06)
    assert np.std([angle for angle in angles if 20 <= angle <= 75]) > 10


# ---------------------------------------------------------------------------------------- rest poses


def test_a_box_lies_on_its_faces_as_they_are_seen_from_its_centre():
    rest = rest_poses(make_solid_record("box", BOX * [1, 2, 3], BOX_FACES))
    place = np.abs(rest.up) @ [0, 1, 2]
    np.testing.assert_allclose(rest.height, np.array([0.5, 1.0, 1.5])[np.round(place).astype(int)])
    assert rest.chance.sum() == pytest.approx(1)
    # Solid angle of a rectangle 2a x 2b at distance d: 4 arcsin(ab / sqrt((a^2 + d^2)(b^2 + d^2))).
    a, b, d = 1.0, 1.5, 0.5
    angle = 4 * math.asin(a * b / math.sqrt((a**2 + d**2) * (b**2 + d**2)))
    np.testing.assert_allclose(rest.chance[np.abs(rest.up[:, 0]) > 0.5], angle / (4 * math.pi))


def test_a_body_that_would_tip_over_is_not_at_rest():
    """A sheared box, whose centre of mass is not above its bottom."""
    vertices = BOX * [1, 1, 3]
    vertices = vertices + vertices[:, 2:] * [0.5, 0, 0]
    rest = rest_poses(make_solid_record("leaning", vertices, BOX_FACES))
    assert len(rest.up) == 4
    assert np.abs(rest.up[:, 2]).max() < 0.9
    assert len(rest_poses(make_solid_record("box", BOX * [1, 1, 3], BOX_FACES)).up) == 6


def test_rest_poses_turn_with_the_body():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    solid = make_solid(0, 3)
    before, after = (
        rest_poses(solid),
        rest_poses(make_solid_record("x", solid.vertices @ turn.T, solid.faces)),
    )
    order, other = np.lexsort(np.round(before.up @ turn.T, 6).T), np.lexsort(np.round(after.up, 6).T)
    np.testing.assert_allclose(after.up[other], (before.up @ turn.T)[order], atol=1e-9)
    np.testing.assert_allclose(after.height[other], before.height[order], atol=1e-9)
    np.testing.assert_allclose(after.chance[other], before.chance[order], atol=1e-9)


# ------------------------------------------------------------------------------------------ in a scan


def scan(seed=0, sensor_model="depth", **settings):
    solid = make_solid(0, 5)
    caster = Caster(solid.vertices, solid.faces)
    changed = scan_settings(sensor_model=sensor_model, **settings)
    return solid, scan_solid(solid, caster, changed, rng=np.random.default_rng(seed))


def test_a_share_of_the_scans_is_taken_with_the_camera():
    """Its distances are 3 to 14 radii, those of the others 2."""
    for share in (0.25, 1.0):
        far = []
        for seed in range(120):
            solid, seen = scan(seed, sensor_share=share, distance=(2, 2), rotate=False, points=32)
            away = np.linalg.norm(seen.sensor[0] - solid.bounding_centre) / solid.bounding_radius
            far.append(away > 2.2)
        assert np.mean(far) == pytest.approx(share, abs=0.12)


def test_a_scan_depends_on_the_seed_alone():
    first, again, other = (scan(seed, sensor_share=1.0, views=(2, 2))[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(first.sensor, again.sensor)
    assert set(first.view.tolist()) == {0, 1}
    assert not np.array_equal(first.points, other.points)


def test_both_ray_casters_give_the_same_scan():
    solid = make_solid(0, 5)
    settings = scan_settings(sensor_model="depth", sensor_share=1.0)
    scans = [
        scan_solid(solid, Caster(solid.vertices, solid.faces, name), settings, rng=np.random.default_rng(0))
        for name in ("embree", "numpy")
    ]
    np.testing.assert_allclose(scans[0].points, scans[1].points, atol=1e-9)


def test_the_scan_turns_with_the_object():
    """The label, the points and the sensor are in one frame: turned back, they are those of the mesh."""
    solid, seen = scan(sensor_share=1.0, rotate=True)
    _, still = scan(sensor_share=1.0, rotate=False)
    assert np.linalg.norm(still.com - solid.com) == 0
    assert not np.allclose(seen.com, solid.com)
    assert np.linalg.norm(seen.points - seen.com, axis=1).max() < 2.5 * solid.bounding_radius


def test_volume_and_inertia_are_those_of_the_object_in_the_frame_of_the_scan(monkeypatch):
    """Through scan and graph: in stored units, turned as the points are."""
    turn = random_rotation(np.random.default_rng(7))
    monkeypatch.setattr(scans, "random_rotation", lambda rng: turn)
    for model in ("none", "depth"):
        solid, seen = scan(sensor_model=model, sensor_share=1.0, rotate=True)
        np.testing.assert_allclose(seen.com, turn @ solid.com, atol=1e-15)
        sample = build_sample(seen, k=6, edge_attr="none", sh_degree=0, normalise="unit", object_name="a")
        assert sample.scale != 1
        assert sample.volume * sample.scale**3 == pytest.approx(solid.volume, rel=1e-12)
        expected = turn @ solid.inertia @ turn.T
        np.testing.assert_allclose(sample.inertia * sample.scale**2, expected, atol=1e-12)
        assert not np.allclose(expected, solid.inertia)
