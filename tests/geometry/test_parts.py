"""Parts of built-in solids: no volume counts twice or never, and the label is that of their densities."""

from inspect import signature
from itertools import combinations

import numpy as np
import pytest
from manifold3d import Manifold

from plumbline.geometry.solids import FAMILIES, draw_member, draw_solid, make_solid, parts
from plumbline.geometry.solids.materials import DENSITY
from plumbline.geometry.solids.parts import Composite, Part, body_of, divide, draw_bodies
from plumbline.geometry.solids.primitives import ball, box, largest
from plumbline.geometry.spheres import bounding_sphere
from plumbline.geometry.surfaces import mass_properties, solid_inertia, solid_properties

SEEDS = range(5)
ONE_MATERIAL = [name for name, family in FAMILIES.items() if signature(family).return_annotation is Manifold]


def member(family, seed):
    drawn = draw_member(family, np.random.default_rng([seed, 11]))
    return Composite(largest(drawn.whole), drawn.parts)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(ONE_MATERIAL)))
def test_each_bit_of_volume_belongs_to_exactly_one_part(family, monkeypatch):
    monkeypatch.setattr(parts, "DENSITY", dict.fromkeys(DENSITY, 2.5))
    for seed in SEEDS:
        solid = member(family, seed)
        whole = body_of(solid.whole, 2.5)
        volume, com = solid_properties(whole.vertices, whole.faces)
        radius = bounding_sphere(whole.vertices)[1]
        pieces = divide(solid)
        assert sum(piece.shape.volume() for piece in pieces) == pytest.approx(volume, rel=1e-9)
        for one, other in combinations(pieces, 2):
            assert (one.shape ^ other.shape).volume() < 1e-9 * volume, (one.part.name, other.part.name)
        assert len({piece.part.name for piece in pieces}) == len(pieces)
        mass, centre, inertia = mass_properties(draw_bodies(pieces, np.random.default_rng(seed)))
        assert mass == pytest.approx(2.5 * volume, rel=1e-9)
        np.testing.assert_allclose(centre, com, rtol=0, atol=1e-12 * radius)
        expected = solid_inertia(whole.vertices, whole.faces, com)
        np.testing.assert_allclose(inertia, expected, rtol=0, atol=1e-11 * radius**2)
    assert any(len(divide(member(family, seed))) > 1 for seed in range(60)), "no member has parts"


@pytest.mark.parametrize("family", ONE_MATERIAL)
def test_families_of_one_material_have_no_parts(family):
    assert member(family, 0).parts == ()


def test_a_part_that_cannot_be_cut_off_exactly_is_moved_or_left():
    """Recorded: an axe whose faces coincide with those of its blade, a lamp with a folded stem."""
    for seed, index, name, num in ((5, 350, "axe", 2), (5, 3071, "rocket", 3), (9, 155, "lamp", 1)):
        family, solid = draw_solid(seed, index)
        pieces = divide(solid)
        assert family == name
        assert len(pieces) == num
        assert sum(piece.shape.volume() for piece in pieces) == pytest.approx(solid.whole.volume(), rel=1e-9)


def test_the_earlier_part_has_the_overlap():
    first, second = box(2, 1, 1), box(2, 1, 1, (1, 0, 0))
    whole = first + second
    named = (Part("first", {"steel": 1.0}, first), Part("second", {"pine": 1.0}))
    pieces = divide(Composite(whole, named))
    assert {piece.part.name: piece.shape.volume() for piece in pieces} == pytest.approx(
        {"first": 2.0, "second": 1.0}
    )
    mass, com, _ = mass_properties(draw_bodies(pieces, np.random.default_rng(0)))
    steel, pine = DENSITY["steel"], DENSITY["pine"]
    assert mass == pytest.approx(2 * steel + pine)
    np.testing.assert_allclose(com, [1.5 * pine / mass, 0, 0.5], atol=1e-12)


def test_what_is_poured_lies_under_air():
    cavity = box(1, 1, 2, (0, 0, 1))
    named = (Part("content", {"sand": 1.0}, cavity, poured=True), Part("wall", {"glass": 1.0}))
    pieces = divide(Composite(box(3, 3, 4), named))
    levels = []
    for seed in range(20):
        air, content, wall = draw_bodies(pieces, np.random.default_rng(seed))
        assert [body.density for body in (air, content, wall)] == [
            DENSITY[m] for m in ("air", "sand", "glass")
        ]
        level = content.vertices[:, 2].max()
        assert content.vertices[:, 2].min() == pytest.approx(1)
        assert air.vertices[:, 2].min() == pytest.approx(level)
        assert air.vertices[:, 2].max() == pytest.approx(3)
        assert solid_properties(*content[1:])[0] == pytest.approx(level - 1)
        assert solid_properties(*wall[1:])[0] == pytest.approx(36 - 2)
        levels.append(level)
    assert 1 < min(levels) < 1.4
    assert 2.6 < max(levels) < 3


def test_materials_are_drawn_as_often_as_their_shares_say():
    pieces = divide(Composite(ball(1), (Part("head", {"steel": 3.0, "beech": 1.0}),)))
    rng = np.random.default_rng(0)
    drawn = [draw_bodies(pieces, rng)[0].density for _ in range(400)]
    assert set(drawn) == {DENSITY["steel"], DENSITY["beech"]}
    assert 0.68 < np.mean(np.array(drawn) == DENSITY["steel"]) < 0.82


def test_all_materials_are_known_and_used():
    named = [part for family in FAMILIES for seed in range(12) for part in member(family, seed).parts]
    used = {name for part in named for name in part.materials}
    assert used | {"air"} == set(DENSITY)
    assert min(share for part in named for share in part.materials.values()) > 0


def test_densities_move_the_label_and_nothing_else():
    moved = {}
    for index in range(150):
        uniform, solid = make_solid(4, index), make_solid(4, index, "parts")
        family = solid.name.split("/")[1]
        for name in ("name", "bounding_radius", "volume"):
            assert getattr(solid, name) == getattr(uniform, name)
        for name in ("vertices", "faces", "bounding_centre"):
            np.testing.assert_array_equal(getattr(solid, name), getattr(uniform, name))
        away = np.linalg.norm(solid.com - uniform.com) / solid.bounding_radius
        assert away < 1
        if family in ONE_MATERIAL:
            assert away == 0
        else:
            moved.setdefault(family, []).append(away)
        np.testing.assert_array_equal(make_solid(4, index, "parts").com, solid.com)
    assert len(moved) > 20
    assert np.mean([max(each) > 0.01 for each in moved.values()]) > 0.8


def test_the_label_of_a_hammer_lies_near_its_head():
    for index in range(400):
        family, drawn = draw_solid(9, index)
        if family != "hammer":
            continue
        solid, uniform = make_solid(9, index, "parts"), make_solid(9, index)
        head = body_of(divide(drawn)[0].shape, 1.0)
        centre = solid_properties(head.vertices, head.faces)[1]
        nearer = np.linalg.norm(solid.com - centre) / np.linalg.norm(uniform.com - centre)
        # Steel, or a mallet of rubber or wood; a handle is never heavier than a head of steel.
        assert nearer < 1.2
        if nearer < 0.5:
            return
    raise AssertionError("no hammer with a heavy head")


def test_parts_are_stretched_with_the_whole(monkeypatch):
    def two_boxes(rng):
        first = box(1, 1, 1, (0.5, 0, 0))
        whole = first + box(1, 1, 1, (1.5, 0, 0))
        return Composite(whole, (Part("first", {"steel": 1.0}, first), Part("second", {"pine": 1.0})))

    monkeypatch.setattr("plumbline.geometry.solids.FAMILIES", {"boxes": two_boxes})
    steel, pine = DENSITY["steel"], DENSITY["pine"]
    lengths = set()
    for index in range(8):
        solid = make_solid(0, index, "parts")
        length = np.ptp(solid.vertices[:, 0])
        assert solid.com[0] / length == pytest.approx((0.5 * steel + 1.5 * pine) / (2 * (steel + pine)))
        lengths.add(round(length, 6))
    assert len(lengths) > 3


def test_masses_weigh_centres():
    def cube(density, at):
        return body_of(box(1, 1, 1, at), density)

    mass, com, inertia = mass_properties([cube(1.0, (0, 0, 0)), cube(3.0, (4, 0, 0))])
    assert mass == pytest.approx(4)
    np.testing.assert_allclose(com, [3, 0, 0.5], atol=1e-14)
    # Each cube has 1/6 about its centre, and the centres lie 3 and 1 away from the common one along x.
    apart = (1 * 9 + 3 * 1) / 4
    np.testing.assert_allclose(inertia, np.diag([1 / 6, 1 / 6 + apart, 1 / 6 + apart]), atol=1e-13)
