"""What people do with a finished group: mean pictures, maps turned round, swelling, a sharper mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homolog import Affine, Displacement, Grid, Volume
from homolog.errors import BadInput, SpaceMismatch
from homolog.groupwise import atlas, carrying
from homolog.groupwise.atlas import Shown
from homolog.pipelines import template
from homolog.space.registration import Registration
from homolog.space.transforms import Chain, Transform, chain
from tests.geometry import blob, centroid_mm, oblique_grid, smooth_volume, some_affine, some_displacement, some_spline

GRID = oblique_grid((20, 18, 16), (2.0, 2.6, 2.2))
MIDDLE = GRID.corners().mean(axis=0)


def still(space: str = "image") -> Affine:
    return Affine.identity("common", space)


def some_group_map(seed: int = 0, layers: int = 4, space: str = "image", height: float = 0.35) -> Chain:
    """An oblique affine map, then splines on lattices that get finer, none of which can fold."""
    first = some_affine(seed, size=0.25, shift_mm=20.0, about_mm=MIDDLE)
    splines = [
        some_spline(10 * seed + n, height_mm=height * spacing, spacing_mm=spacing, around=GRID)
        for n, spacing in enumerate(np.linspace(40.0, 16.0, layers))
    ]
    whole = chain([*reversed(splines), first], fixed=space, moving="common")
    assert isinstance(whole, Chain)
    return whole


# ---------------------------------------------------------------------------------------------------------------------
# The mean picture


def test_the_mean_of_one_picture_is_that_picture():
    picture = smooth_volume(GRID, "image")
    made = atlas.mean([(picture, still())], GRID, outside=-1000)
    np.testing.assert_allclose(made.mean.numpy(), picture.numpy(), atol=1e-3)
    assert (made.count.numpy() == 1).all()
    assert not made.deviation.numpy().any()
    assert made.mean.space == made.count.space == made.deviation.space == "common"


def test_pictures_of_one_body_under_their_true_maps_have_it_as_mean_and_no_deviation():
    """The same ball, seen by images that lie elsewhere and are turned, squeezed and stretched."""
    maps = [some_affine(seed, size=0.2, shift_mm=40.0, about_mm=MIDDLE) for seed in range(4)]
    pictures = []
    for n, image_from_common in enumerate(maps):
        image_from_common = image_from_common.renamed(fixed="common", moving=f"image {n}")
        lattice = Grid(GRID.shape, image_from_common.matrix @ GRID.world_from_voxel).padded(2).with_spacing(1.0)
        points = image_from_common.inverse().apply(lattice.points())
        data = 100 * np.exp(-((points - MIDDLE) ** 2).sum(axis=1) / (2 * 8.0**2)).reshape(lattice.shape)
        pictures.append((Volume(data.astype(np.float32), lattice, f"image {n}"), image_from_common))
    made = atlas.mean(pictures, GRID, outside=-1000)
    truth = 100 * blob(GRID, MIDDLE, 8.0, "common").numpy()
    # linear interpolation of a ball of 8 mm between voxels of 1 mm: 100 * 3 * 1 / (8 * 64) = 0.6
    np.testing.assert_allclose(made.mean.numpy(), truth, atol=0.6)
    assert made.deviation.numpy().max() < 0.6
    assert (made.count.numpy() == 4).all()


def test_mean_and_deviation_are_those_of_the_values_that_are_shown():
    parts = [GRID, GRID.cropped((0, 0, 0), (10, 18, 16)), GRID.cropped((4, 5, 0), (20, 18, 9))]
    pictures = [smooth_volume(part, f"image {n}", seed=n) for n, part in enumerate(parts)]
    stacked = np.full((3, *GRID.shape), np.nan)
    for slot, picture, start in zip(stacked, pictures, ((0, 0, 0), (0, 0, 0), (4, 5, 0))):
        slot[tuple(slice(a, a + n) for a, n in zip(start, picture.grid.shape))] = picture.numpy()
    made = atlas.mean([(one, still(one.space)) for one in pictures], GRID, outside=-1000)
    np.testing.assert_array_equal(made.count.numpy(), np.isfinite(stacked).sum(axis=0))
    np.testing.assert_allclose(made.mean.numpy(), np.nanmean(stacked, axis=0), atol=0.01)
    np.testing.assert_allclose(made.deviation.numpy(), np.nanstd(stacked, axis=0), atol=0.01)


def test_where_nothing_is_shown_the_mean_is_what_the_caller_states():
    small = GRID.cropped((0, 0, 0), (5, 18, 16))
    made = atlas.mean([(smooth_volume(small, "image"), still())], GRID, outside=-777)
    assert (made.mean.numpy()[5:] == -777).all()
    assert (made.count.numpy()[5:] == 0).all()
    assert (made.count.numpy()[:5] == 1).all()


def test_a_masked_place_does_not_count():
    picture, other = smooth_volume(GRID, "a", 1), smooth_volume(GRID, "b", 2)
    keep = np.ones(GRID.shape, np.uint8)
    keep[:7] = 0
    mask = Volume(keep, GRID, "a", "labels")
    made = atlas.mean([Shown(picture, still("a"), mask), Shown(other, still("b"))], GRID, outside=0)
    np.testing.assert_allclose(made.mean.numpy()[:7], other.numpy()[:7], atol=1e-3)
    assert (made.count.numpy()[:7] == 1).all()
    assert (made.count.numpy()[7:] == 2).all()


def test_the_order_of_the_pictures_does_not_matter():
    pictures = [(smooth_volume(GRID, f"{n}", seed=n), still(f"{n}")) for n in range(6)]
    one, other = atlas.mean(iter(pictures), GRID, outside=0), atlas.mean(iter(pictures[::-1]), GRID, outside=0)
    # 400 in float32, six times
    np.testing.assert_allclose(one.mean.numpy(), other.mean.numpy(), atol=3e-4)
    np.testing.assert_allclose(one.deviation.numpy(), other.deviation.numpy(), atol=3e-3)


def test_normalised_pictures_differ_by_no_scale_of_grey():
    ball = blob(GRID, MIDDLE, 9.0, "a")
    other = Volume(30 * ball.numpy() + 500, GRID, "b")
    made = atlas.mean([(ball, still("a")), (other, still("b"))], GRID, outside=0, normalise=True)
    assert made.deviation.numpy().max() < 1e-3
    assert atlas.mean([(ball, still("a")), (other, still("b"))], GRID, outside=0).deviation.numpy().max() > 200


def test_what_has_no_mean_is_refused():
    with pytest.raises(BadInput, match="at least one picture"):
        atlas.mean([], GRID, outside=0)
    labels = Volume(np.ones(GRID.shape, np.uint8), GRID, "image", "labels")
    with pytest.raises(BadInput, match="labels of 'image'"):
        atlas.mean([(labels, still())], GRID, outside=0)
    picture = smooth_volume(GRID, "image")
    with pytest.raises(SpaceMismatch, match="'common'"):
        atlas.mean([(picture, still()), (picture, Affine.identity("else", "image"))], GRID, outside=0)


# ---------------------------------------------------------------------------------------------------------------------
# The common grid


def test_the_common_grid_holds_every_corner_at_share_0():
    boxes = [(GRID, some_group_map(seed)) for seed in range(3)]
    grid = atlas.common_grid(boxes, 3.0, share=0)
    for image, common_from_image in boxes:
        assert grid.contains(common_from_image.apply(image.corners()), 0.5 + 1e-6).all()
    np.testing.assert_allclose(grid.spacing_mm, 3.0)
    np.testing.assert_allclose(grid.axes, np.eye(3))


def test_one_image_astray_does_not_make_the_common_grid_larger():
    near = [(GRID, Affine.identity("image", "common")) for _ in range(4)]
    far = Affine(np.eye(4) + np.diag([500.0, 500, 500], 1) * 0 + np.eye(4, k=3) * 900, "image", "common")
    one = atlas.common_grid(near, 2.0)
    other = atlas.common_grid([*near, (GRID, far)], 2.0)
    assert one.same_as(other)
    assert atlas.common_grid([*near, (GRID, far)], 2.0, share=0).shape[0] > one.shape[0] + 400


def test_images_that_share_nothing_are_all_held():
    far = Affine(np.eye(4) + np.eye(4, k=3) * 900, "image", "common")
    grid = atlas.common_grid([(GRID, Affine.identity("image", "common")), (GRID, far)], 2.0, share=1.0)
    assert grid.contains(GRID.corners(), 0.6).all()
    assert grid.contains(far.apply(GRID.corners()), 0.6).all()


# ---------------------------------------------------------------------------------------------------------------------
# Maps turned round and merged


def lattice_around(common_from_image: Transform, spacing_mm: float = 5.0) -> Grid:
    return atlas.common_grid([(GRID, common_from_image)], spacing_mm, share=0)


@pytest.mark.parametrize("seed", range(3))
def test_the_inverse_brings_points_back_to_a_hundredth_of_a_millimetre(seed):
    common_from_image = some_group_map(seed)
    found = carrying.inverse_on(common_from_image, lattice_around(common_from_image))
    points = GRID.world(np.random.default_rng(seed).uniform(0, np.array(GRID.shape) - 1, (3000, 3)))
    there = common_from_image.apply(points)
    again = common_from_image.apply(found.transform.apply(there))
    error = np.linalg.norm(again - there, axis=1)
    assert error.mean() < 0.05
    assert found.mean_mm < 0.05
    # what it says of itself is what is found between its nodes
    assert error.mean() < 2 * found.mean_mm + 0.01
    assert found.missing == 0
    assert (found.transform.fixed, found.transform.moving) == ("common", "image")


def test_the_affine_part_is_kept_apart_and_exact():
    """Far beyond the lattice the displacement goes on by its edge, and the affine map as it is."""
    common_from_image = some_group_map(1)
    inverse = carrying.inverse_on(common_from_image, lattice_around(common_from_image)).transform
    assert isinstance(inverse, Chain)
    affine, first = inverse.parts[0], common_from_image.parts[-1]
    assert isinstance(affine, Affine)
    assert isinstance(first, Affine)
    np.testing.assert_allclose(affine.matrix, np.linalg.inv(first.matrix), atol=1e-12)
    far = MIDDLE + 1e5
    back = inverse.apply(common_from_image.apply(far[None]))
    assert np.linalg.norm(back - far) < 200


def test_an_affine_map_is_inverted_in_closed_form():
    only = some_affine(4).renamed(fixed="image", moving="common")
    found = carrying.inverse_on(only, GRID)
    np.testing.assert_allclose(found.transform.matrix, np.linalg.inv(only.matrix))
    assert found.max_mm == 0


def test_affine_maps_at_both_ends_of_the_splines_are_inverted_too():
    inner = some_group_map(2)
    last = some_affine(7, size=0.3, shift_mm=200.0).renamed(fixed="common", moving="elsewhere")
    whole = last @ inner
    found = carrying.inverse_on(whole, lattice_around(whole))
    there = whole.apply(GRID.points()[::7])
    assert np.linalg.norm(whole.apply(found.transform.apply(there)) - there, axis=1).mean() < 0.05
    assert (found.transform.fixed, found.transform.moving) == ("elsewhere", "image")


def test_a_displacement_among_the_parts_is_inverted_too():
    field = some_displacement(GRID, height_mm=2.0).renamed(fixed="image", moving="common")
    found = carrying.inverse_on(field, GRID)
    inner = GRID.world(np.random.default_rng(0).uniform(3, np.array(GRID.shape) - 4, (2000, 3)))
    # a field with an edge at each of its nodes, followed by a smooth spline
    assert np.linalg.norm(field.apply(found.transform.apply(inner)) - inner, axis=1).mean() < 0.05


def test_a_map_that_folds_says_where():
    spline = some_spline(height_mm=2.0, spacing_mm=20.0, around=GRID).renamed(fixed="image", moving="common")
    middle = tuple(np.array(spline.grid.shape) // 2)
    pushed = np.array(spline.coefficients)
    pushed[middle] += 60.0
    folded = replace(spline, coefficients=pushed)
    places = spline.grid.with_spacing(2.0).points()
    onto = folded.apply(places[np.linalg.det(folded.jacobian(places)) <= 0])
    found = carrying.inverse_on(folded, lattice_around(folded))
    assert 0 < found.missing < 0.5
    assert found.missing_mask is not None
    mask = found.missing_mask
    there = mask.grid.points()[mask.numpy().ravel() > 0]
    # every node that is said to be lost lies where the fold comes to, to a node's distance
    apart = np.linalg.norm(there[:, None] - onto[None, ::5], axis=2).min(axis=1)
    assert apart.max() < 4 * mask.grid.spacing_mm.max()
    assert carrying.inverse_on(spline, lattice_around(spline)).missing == 0


def test_a_merged_map_carries_points_as_all_its_layers_do():
    common_from_image = some_group_map(3, layers=6)
    merged = carrying.merged_on(common_from_image, GRID)
    points = GRID.world(np.random.default_rng(0).uniform(0, np.array(GRID.shape) - 1, (3000, 3)))
    error = np.linalg.norm(merged.apply(points) - common_from_image.apply(points), axis=1)
    assert error.mean() < 0.05
    assert len(merged.parts) == 2
    assert (merged.fixed, merged.moving) == ("image", "common")


def test_the_jacobian_map_is_the_product_of_all_layers_slopes():
    common_from_image = some_group_map(1)
    found = carrying.jacobian_map(common_from_image, GRID)
    exact = np.linalg.det(common_from_image.jacobian(GRID.points())).reshape(GRID.shape)
    assert exact.std() > 0.1
    assert np.abs(found.numpy() - exact).mean() < 0.01
    assert found.space == "image"


def test_an_affine_maps_swelling_is_its_determinant_everywhere():
    only = some_affine(4).renamed(fixed="image", moving="common")
    np.testing.assert_allclose(carrying.jacobian_map(only, GRID).numpy(), np.linalg.det(only.matrix), rtol=1e-6)


def test_moving_the_common_space_changes_no_swelling():
    common_from_image = some_group_map(2)
    turn = np.eye(4)
    turn[:3, :3] = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn[:3, :3] *= np.linalg.det(turn[:3, :3])
    turn[:3, 3] = 70
    moved = Affine(turn, "common", "elsewhere") @ common_from_image
    one, other = carrying.jacobian_map(common_from_image, GRID), carrying.jacobian_map(moved, GRID)
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# A sharper mean


BALLS = [MIDDLE + np.array(shift) for shift in ((4.0, 0, 0), (-4.0, 0, 0), (0, 3.0, -2.0), (0, 0, 5.0))]


def balls() -> list[Volume]:
    """The same ball in four images whose maps, the identity, do not bring it together."""
    return [Volume(200 * blob(GRID, at, 6.0).numpy(), GRID, f"image {n}") for n, at in enumerate(BALLS)]


def towards(fixed: Volume, moving: Volume, config: object = None, **_: object) -> Registration:
    """An engine that knows balls: a shift, or a bend, from one's middle to the other's."""
    shift = np.eye(4)
    shift[:3, 3] = centroid_mm(moving) - centroid_mm(fixed)
    found: Transform = Affine(shift, fixed.space, moving.space)
    if config == "bends":
        lattice = fixed.grid
        near = blob(lattice, MIDDLE, 15.0).numpy()[..., None]
        found = Displacement((near * shift[:3, 3]).astype(np.float32), lattice, fixed.space, moving.space)
    doubts = ("it does not look alike",) if config == "doubtful" and moving.space.endswith("0") else ()
    return Registration(found, (), 0.0, "converged", 0.0, 1.0, 1.0, doubts)


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setitem(template.register.__globals__["PAIRWISE"], "towards", f"{__name__}:towards")
    return "towards"


def refine(pictures: list[Volume], **options) -> template.Refined:
    back = [still(picture.space) for picture in pictures]
    forth = [one.inverse() for one in back]
    return template.refined(lambda n: pictures[n], forth, back, GRID, outside=0.0, **options)


@pytest.mark.parametrize("config", [None, "bends"])
def test_each_round_makes_the_mean_sharper(engine, config):
    done = refine(balls(), method=engine, config=config, rounds=2)
    assert done.sharpness[0] < done.sharpness[1]
    assert len(done.sharpness) == 3
    assert (
        done.atlas.deviation.numpy().max()
        < 0.5 * refine(balls(), method=engine, rounds=0).atlas.deviation.numpy().max()
    )


@pytest.mark.parametrize("config", [None, "bends"])
def test_the_template_does_not_drift(engine, config):
    """All images together move nothing: the mean of their displacements is none, at every place of the common space."""
    done = refine(balls(), method=engine, config=config, rounds=1)
    places = GRID.points()[::11]
    mean = np.mean([one.apply(places) for one in done.image_from_common], axis=0)
    moved = np.max([np.linalg.norm(one.apply(places) - places, axis=1).max() for one in done.image_from_common])
    assert moved > 3
    np.testing.assert_allclose(mean, places, atol=0.05)


@pytest.mark.parametrize("config", [None, "bends"])
def test_maps_there_and_back_stay_each_others_inverse(engine, config):
    done = refine(balls(), method=engine, config=config, rounds=2)
    places = GRID.points()[::11]
    for there, back in zip(done.common_from_image, done.image_from_common):
        assert (there.fixed, there.moving) == (back.moving, back.fixed)
        error = np.linalg.norm(there.apply(back.apply(places)) - places, axis=1)
        assert error.mean() < 0.05


def test_a_picture_whose_registration_is_in_doubt_stays_where_it_was(engine):
    done = refine(balls(), method=engine, config="doubtful", rounds=1)
    assert done.doubts == (1, 0, 0, 0)
    # only the drift of all is taken from it
    others = np.mean([one.apply(MIDDLE[None])[0] for one in done.image_from_common], axis=0)
    np.testing.assert_allclose(others, MIDDLE, atol=1e-6)


def test_no_round_changes_nothing(engine):
    done = refine(balls(), method=engine, rounds=0)
    places = GRID.points()[::11]
    for there, back in zip(done.common_from_image, done.image_from_common):
        np.testing.assert_allclose(there.apply(places), places, atol=1e-9)
        np.testing.assert_allclose(back.apply(places), places, atol=1e-9)


def test_maps_and_pictures_that_do_not_count_alike_are_refused(engine):
    with pytest.raises(BadInput, match="a map there and back"):
        template.refined(lambda n: balls()[n], [], [still()], GRID, method=engine, outside=0)
    with pytest.raises(BadInput, match="no method is called"):
        refine(balls(), method="nonsense", rounds=1)


def test_a_mean_that_hides_places_is_refined_where_it_is_shown(engine):
    pictures = balls()
    pictures[1] = replace(pictures[1], data=pictures[1].numpy()[:15].copy(), grid=GRID.cropped((0, 0, 0), (15, 18, 16)))
    done = refine(pictures, method=engine, rounds=1)
    assert done.atlas.count.numpy().min() < 4
    assert done.sharpness[1] > done.sharpness[0]
