import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_evaluators.segmentation.surfels import CORNERS, areas, codes, shares

spacings = st.tuples(*[st.floats(0.2, 5)] * 3)


def code_of(inside):
    return sum(1 << bit for bit, corner in enumerate(CORNERS) if corner in inside)


def inside_of(code):
    return {corner for bit, corner in enumerate(CORNERS) if code >> bit & 1}


def test_codes_say_which_corners_are_inside():
    mask = np.random.default_rng(0).random((3, 4, 2)) < 0.5
    padded = np.pad(mask, 1)
    found = codes(mask)
    assert found.shape == (4, 5, 3)
    for index in np.ndindex(found.shape):
        expected = {corner for corner in CORNERS if padded[tuple(np.add(index, corner))]}
        assert inside_of(found[index]) == expected


def test_areas_of_simple_shapes():
    table = areas(np.eye(3))
    assert table[0] == table[255] == 0
    one, face = {(0, 0, 0)}, {corner for corner in CORNERS if corner[0] == 0}
    edge = {(0, 0, 0), (0, 0, 1)}
    assert table[code_of(one)] == pytest.approx(math.sqrt(3) / 8)  # an eighth of an octahedron
    assert table[code_of(face)] == pytest.approx(1)  # the middle plane
    assert table[code_of(edge)] == pytest.approx(math.sqrt(0.5))  # a bevel
    assert table[code_of({(0, 0, 0), (1, 1, 1)})] == pytest.approx(math.sqrt(3) / 4)  # two corners apart
    assert table[code_of({(0, 0, 0), (0, 1, 1)})] == pytest.approx(math.sqrt(3) / 4)  # also on one face
    half = {corner for corner in CORNERS if sum(corner) <= 1}
    assert table[code_of(half)] == pytest.approx(1.5 * math.sqrt(3) / 2)  # a regular hexagon of side sqrt(1/2)


@given(spacings)
@settings(max_examples=15, deadline=None)
def test_inside_and_outside_have_one_surface(spacing):
    table = areas(np.diag(spacing))
    unequal = [c for c in range(256) if bin(c).count("1") != 4]
    for code in unequal:
        assert table[code] == pytest.approx(table[255 - code])
    assert (table[1:255] > 0).all()


@given(spacings, st.sampled_from(list(permutations(range(3)))), st.tuples(*[st.booleans()] * 3))
@settings(max_examples=15, deadline=None)
def test_turning_and_mirroring_a_shape_keeps_its_area(spacing, axes, mirrored):
    table, turned = areas(np.diag(spacing)), areas(np.diag([spacing[a] for a in axes]))
    for code in range(256):
        moved = {tuple(corner[a] ^ mirrored[a] for a in axes) for corner in inside_of(code)}
        assert turned[code_of(moved)] == pytest.approx(table[code])


def test_a_rotated_grid_has_the_same_areas():
    spacing = np.diag([0.7, 1.3, 2.9])
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    np.testing.assert_allclose(areas(rotation @ spacing), areas(spacing))


def test_a_sheared_plane_has_the_area_of_its_parallelogram():
    axes = np.array([[2.0, 0, 0], [0, 3.0, 1.0], [0, 0, 1.5]])
    plane = {(0, j, k) for j, k in product((0, 1), repeat=2)}
    assert areas(axes)[code_of(plane)] == pytest.approx(np.linalg.norm(np.cross(axes[:, 1], axes[:, 2])))


def test_the_surface_of_a_box_nears_its_true_area():
    mask = np.ones((30, 40, 20), dtype=bool)
    spacing = np.array([1.0, 0.5, 2.0])
    a, b, c = np.array(mask.shape) * spacing
    found = areas(np.diag(spacing))[codes(mask)].sum()
    true = 2 * (a * b + b * c + a * c)
    assert 0.95 * true < found < true  # edges and corners are bevelled


def test_what_is_inside_a_cube():
    table = shares()
    assert table[0] == 0
    uneven = [code for code in range(256) if code.bit_count() != 4]  # of four each the inside is cut apart both ways
    np.testing.assert_allclose((table + table[::-1])[uneven], 1)  # what one set of corners leaves is the other's
    np.testing.assert_allclose([table[0b1], table[0b11], table[0b1111], table[0b1001]], [1 / 48, 1 / 8, 1 / 2, 1 / 24])


def test_the_volume_inside_a_surface():
    voxel = np.bincount(codes(np.ones((1, 1, 1), dtype=bool)).ravel(), minlength=256)
    assert np.isclose(voxel @ shares(), 1 / 6)  # an octahedron
    ball = ((np.indices((40, 40, 40)) - 19.5) ** 2).sum(axis=0) < 15.2**2
    found = np.bincount(codes(ball).ravel(), minlength=256) @ shares()
    assert np.isclose(found, 14801.666666666666, rtol=1e-12)  # MeshVolume of pyradiomics 3.0.1
