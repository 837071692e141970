"""Laws that hold for every map, alone and in chains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog import Affine, BSpline, Chain, Displacement, ThinPlate, carry_back, invert
from homolog.errors import BadInput, SpaceMismatch
from homolog.space.transforms import chain
from tests.geometry import oblique_grid, some_affine, some_displacement, some_spline

GRID = oblique_grid()
CENTRE = GRID.points().mean(axis=0)


def some_plate(seed=5):
    rng = np.random.default_rng(seed)
    centres = CENTRE + rng.uniform(-12, 12, (7, 3))
    return ThinPlate(centres, 0.004 * rng.normal(size=(7, 3)), some_affine(6, about_mm=CENTRE).matrix)


MAPS = {
    "affine": lambda: some_affine(about_mm=CENTRE),
    "displacement": lambda: some_displacement(GRID),
    "spline": lambda: some_spline(around=GRID),
    "plate": some_plate,
    "chain": lambda: chain([MAPS[name]() for name in list(MAPS)[:4]], fixed="a", moving="b"),
}


@pytest.fixture(params=MAPS)
def some_map(request):
    return MAPS[request.param]()


def places(n=200, seed=0, reach=9.0):
    return CENTRE + np.random.default_rng(seed).uniform(-reach, reach, (n, 3))


def test_carried_there_and_back_a_point_is_where_it_was(some_map):
    points = places(reach=30)
    solved = carry_back(some_map, some_map.apply(points))
    assert solved.error_mm.max() < 1e-3
    np.testing.assert_allclose(solved.points, points, atol=2e-3)


def test_a_tensor_gives_the_same_answer_and_a_gradient(some_map):
    points = places()
    expected = some_map.apply(points)
    np.testing.assert_allclose(some_map.apply(torch.from_numpy(points)).numpy(), expected, atol=1e-9)
    tracked = torch.from_numpy(points).requires_grad_()
    found = some_map.apply(tracked)
    # torch's own interpolation runs in the field's float32
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-4)
    (gradient,) = torch.autograd.grad(found[:, 1].sum(), tracked)
    np.testing.assert_allclose(gradient.numpy(), some_map.jacobian(points)[:, 1], atol=2e-3)


def test_the_jacobian_is_the_derivative(some_map):
    points, h = places(60), 1e-4
    jacobian = some_map.jacobian(points)
    for axis in range(3):
        step = h * np.eye(3)[axis]
        quotient = (some_map.apply(points + step) - some_map.apply(points - step)) / (2 * h)
        # a displacement's derivative jumps between cells: a handful of quotients straddle one
        wrong = np.abs(jacobian[:, :, axis] - quotient).max(axis=1) > 2e-3
        assert wrong.mean() < 0.05


def test_points_far_outside_are_carried_somewhere_finite(some_map):
    assert np.isfinite(some_map.apply(np.array([[1e5, -1e5, 3e4]]))).all()


def test_no_points_are_carried_nowhere(some_map):
    assert some_map.apply(np.empty((0, 3))).shape == (0, 3)


def test_the_names_say_what_cancels():
    c_from_b = some_affine(1).renamed(fixed="b", moving="c")
    b_from_a = some_affine(2).renamed(fixed="a", moving="b")
    c_from_a = c_from_b @ b_from_a
    assert (c_from_a.moving, c_from_a.fixed) == ("c", "a")
    np.testing.assert_allclose(c_from_a.apply(places()), c_from_b.apply(b_from_a.apply(places())), atol=1e-10)
    with pytest.raises(SpaceMismatch, match="'a' is not 'c'"):
        b_from_a @ c_from_b
    back = c_from_a.inverse()
    assert (back.moving, back.fixed) == ("a", "c")


def test_composition_is_associative_for_every_kind():
    parts = [MAPS[name]().renamed(moving=m, fixed=f) for name, m, f in zip(MAPS, "bcde", "cdef")]
    left = ((parts[0] @ parts[1]) @ parts[2]) @ parts[3]
    right = parts[0] @ (parts[1] @ (parts[2] @ parts[3]))
    assert (left.moving, left.fixed) == ("b", "f")
    assert isinstance(left, Chain)
    assert [type(p) for p in left.parts] == [type(p) for p in right.parts] == [Affine, Displacement, BSpline, ThinPlate]
    np.testing.assert_array_equal(left.apply(places()), right.apply(places()))


def test_neighbouring_affine_maps_become_one():
    merged = chain([some_affine(1), some_affine(2), some_displacement(GRID)], fixed="a", moving="b")
    assert [type(part) for part in merged.parts] == [Affine, Displacement]


def test_a_chain_whose_links_do_not_meet_is_refused():
    with pytest.raises(SpaceMismatch, match="cannot follow"):
        Chain((some_affine().renamed(fixed="x"), some_affine().renamed(moving="y")))


def test_a_displacement_continues_by_its_edge_value():
    displacement = some_displacement(GRID)
    corner, beyond = GRID.world(np.array([[0.0, 0, 0], [-20, -20, -20]]))
    moved = displacement.apply(np.stack((corner, beyond))) - np.stack((corner, beyond))
    np.testing.assert_allclose(moved[1], displacement.vectors[0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 6.0))
def test_an_inverse_says_how_good_it_is(seed, height_mm):
    displacement = some_displacement(GRID, seed, height_mm)
    inversion = invert(displacement)
    points = inversion.transform.grid.points()
    if inversion.missing == 0:
        there_and_back = np.linalg.norm(displacement.apply(inversion.transform.apply(points)) - points, axis=1)
        assert there_and_back.max() <= inversion.max_mm + 1e-4
        assert inversion.mean_mm <= inversion.p95_mm <= inversion.max_mm


@pytest.mark.parametrize("name", ["spline", "plate", "displacement", "chain"])
def test_every_map_has_a_gridded_inverse(name):
    forward = MAPS[name]().renamed(fixed="a", moving="b")
    inversion = invert(forward)
    assert (inversion.transform.fixed, inversion.transform.moving) == ("b", "a")
    assert inversion.missing == 0
    points = forward.apply(places())
    # the grid's own interpolation: cells of 2 mm, and of a quarter of the control spacing
    np.testing.assert_allclose(inversion.transform.apply(points), places(), atol=0.25)


def test_a_fold_is_reported_where_it_is():
    # d = -3 sin(x) along i turns planes 4..8 around: the map folds there and nowhere else
    vectors = np.zeros((*GRID.shape, 3), np.float32)
    profile = np.zeros(GRID.shape[0])
    profile[5:9] = [3.0, 1.0, -1.0, -3.0]
    vectors[:] = (profile[:, None] * GRID.axes[:, 0]).astype(np.float32)[:, None, None]
    inversion = invert(Displacement(vectors, GRID, "a", "b"), GRID)
    assert inversion.missing > 0
    folded_planes = np.flatnonzero(inversion.missing_mask.numpy().any(axis=(1, 2)))
    assert folded_planes.min() >= 3
    assert folded_planes.max() <= 10
    assert inversion.missing_mask.space == "b"


def test_a_fold_inside_a_chain_is_reported_where_it_comes_out():
    vectors = np.zeros((*GRID.shape, 3), np.float32)
    vectors[5:9] = (np.array([3.0, 1.0, -1.0, -3.0])[:, None] * GRID.axes[:, 0])[:, None, None]
    shift = np.eye(4)
    shift[:3, 3] = (1000.0, 0, 0)
    folded = chain([Affine(shift), Displacement(vectors, GRID), some_spline(around=GRID)], fixed="a", moving="b")
    inversion = invert(folded)
    assert 0 < inversion.missing < 0.9
    assert inversion.missing_mask.space == "b"
    found = inversion.missing_mask.grid.points()[inversion.missing_mask.numpy().ravel() > 0]
    planes = GRID.voxel(found - shift[:3, 3])[:, 0]
    assert planes.min() >= 2
    assert planes.max() <= 11
    # where it is not lost, there and back is where it was
    assert inversion.p95_mm < 0.3


def test_the_inverse_does_not_depend_on_the_number_of_threads():
    from homolog.kernels.threads import using_threads

    displacement = some_displacement(oblique_grid((40, 41, 42)))
    with using_threads(1):
        one = invert(displacement).transform.vectors
    with using_threads(3):
        three = invert(displacement).transform.vectors
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Affine(np.zeros((4, 4))),
        lambda: Affine(np.full((4, 4), np.nan)),
        lambda: Affine(np.diag([1.0, 1, 0, 1])),
        lambda: Displacement(np.zeros((2, 2, 2, 3)), GRID),
        lambda: Displacement(np.full((*GRID.shape, 3), np.nan), GRID),
        lambda: BSpline(np.full((*GRID.shape, 3), np.inf), GRID),
        lambda: some_affine().apply(np.zeros(3)),
    ],
)
def test_a_map_that_cannot_be_one_is_refused(make):
    with pytest.raises(BadInput):
        make()


def test_a_chain_of_affine_maps_has_an_exact_inverse():
    links = Chain((some_affine(1).renamed(fixed="b", moving="c"), some_affine(2).renamed(fixed="a", moving="b")))
    inversion = invert(links)
    assert isinstance(inversion.transform, Affine)
    assert inversion.max_mm == 0
    np.testing.assert_allclose(inversion.transform.apply(links.apply(places())), places(), atol=1e-9)
