"""Stray points of real scans: what is left out, and that the choice moves with the scan."""

import csv

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from plumbline.geometry import cleaning
from plumbline.geometry.cleaning import clean_scan, object_components, stray_reason
from plumbline.geometry.cleaning import object_points as clean_points
from plumbline.geometry.meshes import load_mesh
from plumbline.geometry.rotations import random_rotation
from plumbline.records import Scan

RNG = np.random.default_rng(5)


def patch(num: int, centre=(0.0, 0.0, 0.0), size: float = 1.0, seed: int = 0) -> np.ndarray:
    """Points of a square, a little rough, that faces the z axis."""
    rng = np.random.default_rng(seed)
    flat = rng.uniform(-size / 2, size / 2, (num, 2))
    return np.column_stack([flat, 0.01 * size * rng.standard_normal(num)]) + centre


def object_points(points: np.ndarray, view: np.ndarray) -> np.ndarray:
    """What is kept of points whose sensor does not matter, as it does only for mask bleed."""
    return clean_points(points, np.broadcast_to([0.0, 0, -1e3], points.shape), view)


@pytest.fixture(autouse=True)
def no_bleed(monkeypatch):
    """These points are not all in sight of one sensor; see test_mask_bleed.py."""
    monkeypatch.setattr(cleaning, "without_bleed", lambda away, component, large, pixel: large)


def one_view(points: np.ndarray) -> np.ndarray:
    return np.zeros(len(points), np.int64)


def test_what_lies_behind_the_object_is_left_out():
    body, wall = patch(2000), patch(60, (0.7, 0, 1.5))
    kept = object_points(np.concatenate([wall[:30], body, wall[30:]]), one_view(np.zeros(2060)))
    assert kept[30:-30].mean() > 0.995, "a sparse corner may be lost"
    assert not kept[:30].any()
    assert not kept[-30:].any()


def test_points_between_object_and_wall_are_left_out_although_the_wall_is_near():
    body = patch(3000)
    flying = np.array([0.5, 0, 0]) + np.linspace(0.1, 0.6, 12)[:, None] * [0.05, 0, 1]
    kept = object_points(np.concatenate([body, flying]), one_view(np.zeros(3012)))
    assert not kept[3000:].any()


@pytest.mark.parametrize(("num", "is_kept"), [(230, True), (150, False)])
def test_a_second_part_is_kept_from_a_tenth_of_the_points_on(num, is_kept):
    """The far wall of a vessel is not connected to the near one."""
    points = np.concatenate([patch(2000), patch(num, (0, 0, 2), size=np.sqrt(num / 2000), seed=1)])
    kept = object_points(points, one_view(points))
    assert kept[2000:].mean() > 0.9 if is_kept else not kept[2000:].any()


def test_exactly_a_tenth_is_kept():
    for size, wanted in ((10, True), (9, False)):
        points = np.concatenate([patch(100), patch(size, (0, 0, 9))])
        kept = object_components(points, np.repeat([0, 1], [100, size]))
        assert kept[:100].all()
        assert (kept[100:] == wanted).all()


def test_a_small_part_near_the_hull_is_kept():
    """A leg of a table: hidden in part, a twentieth of the points, but not far outside the rest."""
    body = patch(2000) * [1, 1, 10]
    size = np.sqrt(((body - body.mean(axis=0)) ** 2).sum(axis=1).mean())
    leg = patch(40, size=0.1) + [0, 0, 0]
    for away, wanted in ((0.45, True), (0.75, False)):
        points = np.concatenate([body, leg + [0, 0, body[:, 2].max() + away * size]])
        kept = object_points(points, one_view(points))
        assert kept[:2000].mean() > 0.99
        assert (kept[2000:] == wanted).mean() > 0.9


def test_each_view_is_cleaned_by_itself():
    """The stray points of one view lie on the object as another view saw it, at another spacing."""
    near, far = patch(2000), patch(120, size=1.0, seed=2) + [0, 0, 0.3]
    points = np.concatenate([near, far])
    together = object_points(points, one_view(points))
    apart = object_points(points, np.repeat([0, 1], [2000, 120]))
    assert not together[2000:].any(), "to one view they are stray points"
    assert apart[2000:].all(), "a view of few points has a spacing of its own"


def test_views_in_any_order_give_the_same():
    points = np.concatenate([patch(500), patch(20, (3, 0, 0)), patch(400, (0, 5, 0))])
    view = np.repeat([0, 0, 1], [500, 20, 400])
    order = RNG.permutation(len(points))
    assert np.array_equal(object_points(points, view)[order], object_points(points[order], view[order]))


@pytest.mark.parametrize("num", [900, 9000])
def test_the_choice_moves_and_scales_with_the_scan(num):
    body = patch(num) * [1, 1, 4]
    points = np.concatenate(
        [body, patch(num // 20, (0.3, 0.2, 0.8)), patch(num // 20, (0.6, 0, 0.1), size=0.3)]
    )
    kept = object_points(points, one_view(points))
    assert 0.9 < kept.mean() < 1
    for factor in (1e-3, 1.0, 1e4):
        turn = random_rotation(RNG) @ np.diag([1, -1, 1])
        moved = factor * points @ turn.T + factor * np.array([3, -7, 20])
        assert np.array_equal(object_points(moved, one_view(points)), kept)
    stretched = object_points(points * [1, 1, 0.01], one_view(points))
    assert not np.array_equal(stretched, kept), "the choice depends on distances"


def test_steps_of_a_regular_grid_are_not_decided_by_rounding():
    """Four spacings of a grid are exactly the distance up to which points are connected."""
    grid = np.stack(np.meshgrid(np.arange(30.0), np.arange(30.0), [0.0]), axis=-1).reshape(-1, 3)
    strip = np.array([[x, 7.0, 0] for x in range(33, 40)])
    points = np.concatenate([grid, strip])
    for factor in (1.0, 0.1, 1 / 3, 1e-3):
        for _ in range(5):
            moved = factor * points @ random_rotation(RNG).T + RNG.normal(size=3)
            assert object_points(moved, one_view(points)).all(), "one point of the strip is four steps away"
    points[900:, 0] += 0.2
    assert not object_points(points, one_view(points))[900:].any()


def test_a_stray_point_that_the_sample_of_a_large_view_misses_is_left_out():
    body, strays = (
        patch(60_000),
        np.array([[0.0, 0, 1], [0.2, 0, 0.5], [0, 3, 0], [0.6, 0.6, 0.3], [0, 0, 0.4]]),
    )
    kept = object_points(np.concatenate([body, strays]), one_view(np.zeros(60_005)))
    assert kept[:-5].mean() > 0.999
    assert not kept[-5:].any()


def test_few_points_and_repeated_ones_are_kept():
    lonely = np.array([[0.0, 0, 0], [1, 0, 0], [50, 0, 0], [0, 900, 0]])
    assert object_points(lonely, one_view(lonely)).all()
    often = np.repeat(np.concatenate([patch(300), patch(9, (0, 0, 5))]), 6, axis=0)
    kept = object_points(often, one_view(often))
    assert kept[:1800].mean() > 0.99
    assert not kept[1800:].any()
    same = np.repeat(lonely, 30, axis=0)
    assert object_points(same, one_view(same)).all()


def test_a_cleaned_scan_says_what_it_lost_and_keeps_the_rest():
    points = np.concatenate([patch(900), patch(45, (0.7, 0, 2))])
    scan = Scan(points, np.tile([0.0, 0, -3], (945, 1)), np.zeros(945, np.int64), np.ones(3), 2.0)
    cleaned = clean_scan(scan)
    kept = object_points(points, scan.view)
    assert cleaned.left_out == pytest.approx(1 - kept.mean())
    assert cleaned.left_out >= 45 / 945
    np.testing.assert_array_equal(cleaned.points, points[kept])
    assert len(cleaned.sensor) == len(cleaned.view) == len(cleaned.points)
    assert (cleaned.com is scan.com, cleaned.bounding_radius) == (True, 2.0)
    known = clean_scan(scan, np.arange(945) < 3)
    assert len(known.points) == 3


def test_a_large_share_of_stray_points_is_a_warning():
    assert stray_reason(0.15) is None
    assert stray_reason(0.17) == (
        "17 % of the points are not connected to the object and were left out; check the mask, or keep them "
        "with --clean off"
    )


def by_definition(points: np.ndarray) -> np.ndarray:
    """What :func:`object_points` keeps of one view: all pairs, and every point with the nearest one."""
    points = points - points.mean(axis=0)
    sample = points
    if len(points) > 4096:
        sample = points[np.random.default_rng(0).choice(len(points), 4096, replace=False)]
    tree = cKDTree(sample)
    near = 4 * np.median(tree.query(sample, k=[5])[0]) * (1 + 1e-9)
    one, other = tree.query_pairs(near, output_type="ndarray").T
    graph = coo_array((np.ones(len(one)), (one, other)), (len(sample), len(sample)))
    kept = object_components(sample, connected_components(graph, directed=False)[1])
    return np.append(kept, False)[tree.query(points, distance_upper_bound=near)[1]]


@pytest.mark.parametrize("num", [40, 700, 4000, 9000])
@pytest.mark.parametrize("far", [1.0, 1e9])
def test_components_are_those_of_all_pairs(num, far, monkeypatch):
    """Most are connected by nearest neighbours alone, and most points go with any point of their cube."""
    whole = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        share = rng.dirichlet(np.ones(6))
        sizes = np.maximum((share * num).astype(int), 3)
        parts = [
            patch(size, rng.uniform(-1.5, 1.5, 3), size=rng.uniform(0.2, 2), seed=seed) for size in sizes
        ]
        points = np.concatenate([*parts, [[far, 0, 0]]])
        wanted = by_definition(points)
        np.testing.assert_array_equal(object_points(points, one_view(points)), wanted)
        whole += wanted.all()
    assert whole < 8, "something was left out"
    monkeypatch.setattr(cleaning, "_MOST_CUBES", 0)
    np.testing.assert_array_equal(object_points(points, one_view(points)), wanted)


# --------------------------------------------------------------------------------------------- real scans


def real_rows(folder):
    with (folder / "manifest.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["group"] != "APC"]


def test_real_scans_lose_what_is_off_the_object(shared_meshes):
    """Measured on every tenth scan: what is left out lies off the registered mesh, and little else is."""
    folder = shared_meshes.parent / "real"
    if not folder.is_dir():
        pytest.skip("no real scans next to the meshes")
    shares, wrong, farthest = [], [], []
    for row in real_rows(folder)[::10]:
        with np.load(folder / row["scan"]) as arrays:
            points, pose, radius = arrays["points"], arrays["pose"], float(arrays["bounding_radius"])
            mesh = load_mesh(folder / str(arrays["mesh"]), name="a", target="shell")
        corners = mesh.vertices[mesh.faces]
        weights = np.random.default_rng(0).dirichlet([1, 1, 1], (40, len(corners)))
        surface = np.einsum("sfc,fcd->sfd", weights, corners).reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
        kept = object_points(points, one_view(points))
        away = cKDTree(surface).query(points)[0] / radius
        shares.append(1 - kept.mean())
        wrong.append((away[~kept] < 0.05).sum() / len(points))
        farthest.append((away[kept].max(), away.max()))
    assert max(wrong) < 0.01, "points on the object"
    assert max(shares) < 0.15
    assert np.mean([kept for kept, _ in farthest]) < 0.4 * np.mean([whole for _, whole in farthest])
