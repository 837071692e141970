"""Training SP3D: what it is shown, what it is taught by, and going on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from homolog import Grid, Keypoints, Volume, weights
from homolog.errors import BadInput
from homolog.nets.configs import SP3D_LIGHT, Sp3dNetConfig, of_record
from homolog.nets.sp3d import CELL, DUSTBIN, Sp3dNet, log_shuffled
from homolog.space.transforms import Affine
from homolog.train import sp3d, sp3d_data, sp3d_losses
from homolog.train.configs import Sp3dConfig
from homolog.train.loop import Plan
from homolog.train.sp3d_data import Seen
from homolog.train.volume_pairs import VolumePair
from tests.geometry import oblique_grid

SMALL = Sp3dConfig(
    stage="volumes", side_vox=32, pictures=1, places=40, voxel_mm=3.0, sampling_mm=2.0, held=1, at_first=1, refresh=99,
    spacing_mm=3.0, box_mm=(150.0, 130.0, 150.0), between=0.0, local=0.0, patients=1,
)  # fmt: skip
TINY = Sp3dNetConfig(
    widths=(4, 4, 4, 4, 8, 8, 8, 8), detector=8, descriptor_middle=(8, 8, 8), descriptor=8, norm="batch"
)


def scan_grid() -> Grid:
    return oblique_grid((46, 44, 48), (3.1, 2.9, 3.0), seed=4)


@cache
def places() -> np.ndarray:
    return scan_grid().corners().mean(axis=0) + np.random.default_rng(3).uniform(-60, 60, (150, 3))


@cache
def moved_pair() -> VolumePair:
    """A scan of blobs on an oblique grid, and the same patient turned and shifted, on another grid."""
    grid = scan_grid()
    middle = grid.corners().mean(axis=0)
    angle = 0.15
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, middle - turn @ middle + (6.0, -4.0, 5.0)
    to_moving = Affine(matrix, fixed="one", moving="other")
    fixed = Volume(blobs(grid, places()), grid, "one")
    other = Grid.regular((52, 50, 50), 3.0, middle - 75.0)
    return VolumePair(fixed, Volume(blobs(other, to_moving.apply(places())), other, "other"), to_moving, False)


def blobs(grid: Grid, places: np.ndarray) -> np.ndarray:
    points = grid.points()
    hu = np.zeros(len(points), np.float32)
    for n, place in enumerate(places):
        hu += (-1) ** n * 400 * np.exp(-((points - place) ** 2).sum(1) / (2 * 5.0**2)).astype(np.float32)
    return hu.reshape(grid.shape)


def known(volume: Volume) -> Keypoints:
    """Where the blobs are."""
    return Keypoints(
        places() if volume.space == "one" else moved_pair().moving_from_fixed.apply(places()), volume.space
    )


@cache
def seen() -> Seen:
    found = sp3d_data.seen_of(SMALL, SP3D_LIGHT, [known], moved_pair())
    assert found is not None
    return found


# ---------------------------------------------------------------------------------------------------------------------
# What it is shown


def test_a_cell_names_the_voxel_of_its_point_as_the_detectors_channels_do():
    points = np.array([[3.2, 9.0, 14.6], [20.0, 0.0, 31.0], [40.0, 3.0, 3.0]])
    wanted = torch.from_numpy(sp3d_losses.wanted_of(points, 32, blur_vox=0.0))
    found = (log_shuffled(wanted[None].log().clamp_min(-50))[0].exp() > 0.5).nonzero().tolist()
    # the third lies outside
    assert sorted(found) == [[3, 9, 15], [20, 0, 31]]


def test_a_point_is_a_spot_round_its_place_over_all_cells_that_it_reaches():
    point = np.array([[15.3, 10.8, 20.1]])
    wanted = sp3d_losses.wanted_of(point, 32, blur_vox=0.8)
    assert wanted.sum(axis=0) == pytest.approx(np.ones((4, 4, 4)), abs=1e-6)
    spot = log_shuffled(torch.from_numpy(wanted)[None].log().clamp_min(-50))[0].exp().numpy().astype(float)
    assert spot.sum() == pytest.approx(1, abs=1e-5)
    where = np.stack(np.meshgrid(*3 * [np.arange(32)], indexing="ij"), axis=-1)
    mean = (spot[..., None] * where).sum(axis=(0, 1, 2))
    assert mean == pytest.approx(point[0], abs=0.03)
    spread = (spot[..., None] * (where - mean) ** 2).sum(axis=(0, 1, 2)) ** 0.5
    assert spread == pytest.approx([0.8] * 3, rel=0.05)
    # two cells share it along x; a crowd in a cell is one point
    assert (wanted[DUSTBIN] < 1).sum() == 2
    crowd = sp3d_losses.wanted_of(np.array([[12.0, 12, 12], [13, 12, 12], [12, 11, 11]]), 32, blur_vox=0.8)
    assert crowd[DUSTBIN, 1, 1, 1] == pytest.approx(0, abs=1e-6)
    assert crowd.sum(axis=0) == pytest.approx(np.ones((4, 4, 4)), abs=1e-6)


def test_points_are_found_in_both_volumes_and_lie_where_the_map_says():
    pair = seen()
    there = pair.moving_from_fixed.apply(pair.fixed.points)
    assert len(there) >= sp3d_data.LEAST_POINTS
    assert pair.moving.points == pytest.approx(there, abs=1e-6)


def test_points_of_another_patient_are_where_they_were_found():
    pair = moved_pair()
    aside = np.array([1.5, -1.0, 0.5])

    def found_aside(volume: Volume) -> Keypoints:
        points = known(volume)
        return points if volume.space == "one" else points.moved_to(points.position + aside, volume.space)

    for of_two, off in ((True, aside), (False, np.zeros(3))):
        found = sp3d_data.seen_of(SMALL, SP3D_LIGHT, [found_aside], replace(pair, of_two=of_two))
        assert found is not None
        there = pair.moving_from_fixed.apply(found.fixed.points)
        assert found.moving.points == pytest.approx(there + off, abs=1e-6)


def test_corresponding_parts_show_the_same_places():
    config = replace(SMALL, bend=0.0, noise=0.0, places=400)
    one, rng = seen(), np.random.default_rng(0)
    parts = sp3d_data.parts(one, config, rng)
    fixed, moving = parts.pictures[:, 0].numpy()
    here = fixed[tuple(np.rint(parts.places.numpy()).astype(int).T)]
    there = moving[tuple(np.rint(parts.others.numpy()).astype(int).T)]
    assert len(here) > 20
    assert np.corrcoef(here, there)[0, 1] > 0.8
    carried = sp3d_data.carried(parts, parts.places.numpy().astype(float))
    assert carried == pytest.approx(parts.others.numpy(), abs=1e-3)


def test_points_of_the_parts_are_in_their_cells():
    parts = sp3d_data.parts(seen(), replace(SMALL, blur_vox=0.0), np.random.default_rng(1))
    for n, side in enumerate((parts.seen.fixed, parts.seen.moving)):
        voxels = np.rint(side.grid.voxel(side.points) - parts.low[n]).astype(int)
        inside = voxels[((voxels >= 0) & (voxels < 32)).all(axis=1)]
        cells = {tuple(cell) for cell in inside // CELL}
        assert {tuple(c) for c in (parts.wanted[n, DUSTBIN] == 0).nonzero().tolist()} == cells


def test_places_are_apart_in_other_volumes_and_far_away_in_the_same():
    rng = np.random.default_rng(0)
    one, again = (sp3d_data.parts(seen(), SMALL, rng) for _ in range(2))
    other = sp3d_data.parts(replace(seen()), SMALL, rng)
    apart = sp3d_data.apart([one, again, other], 8.0)
    count = [len(each.place_mm) for each in (one, again, other)]
    assert apart.shape == (sum(count), sum(count))
    place_mm = np.concatenate((one.place_mm, again.place_mm))
    far = np.linalg.norm(place_mm[:, None] - place_mm[None], axis=2) > 8
    together = count[0] + count[1]
    assert (apart[:together, :together] == far).all() and not far.all()
    assert apart[:together, together:].all() and apart[together:, :together].all()


def test_volumes_that_share_hardly_any_points_are_left_out():
    few = lambda volume: known(volume)[: sp3d_data.LEAST_POINTS - 1]  # noqa: E731
    assert sp3d_data.seen_of(SMALL, SP3D_LIGHT, [few], moved_pair()) is None


# ---------------------------------------------------------------------------------------------------------------------
# What it is taught by


def test_answers_that_are_right_cost_nothing_and_cells_count_as_they_are_weighed():
    wanted = torch.zeros((1, DUSTBIN + 1, 2, 1, 1))
    wanted[0, DUSTBIN, 0], wanted[0, 5, 1] = 1.0, 1.0
    logits = 60 * wanted - 30
    assert float(sp3d_losses.detection(logits, wanted, 1.0)) == pytest.approx(0, abs=1e-6)
    wrong = logits.clone()
    wrong[0, :, 0] = 0.0
    every = float(np.log(DUSTBIN + 1))
    assert float(sp3d_losses.detection(wrong, wanted, 1.0)) == pytest.approx(every / 2, rel=1e-5)
    assert float(sp3d_losses.detection(wrong, wanted, 0.25)) == pytest.approx(0.25 * every / 1.25, rel=1e-5)


def test_points_are_placed_where_the_likeliest_voxel_is_near_them():
    wanted = torch.zeros((1, DUSTBIN + 1, 3, 1, 1))
    wanted[0, DUSTBIN, 0], wanted[0, 73, 1], wanted[0, 146, 2] = 1.0, 1.0, 1.0
    logits = wanted.clone()
    # however likely it is that there is none, and whatever is said where there is none
    logits[0, DUSTBIN], logits[0, 300, 0] = 5.0, 3.0
    assert sp3d_losses.placed(logits, wanted) == 1
    logits[0, 146 + 9, 2], logits[0, 73 + 2, 1] = 2.0, 2.0
    assert sp3d_losses.placed(logits, wanted) == 0.5
    assert sp3d_losses.placed(logits[:, :, :1], wanted[:, :, :1]) == 0


def test_descriptors_of_the_same_place_attract_and_of_others_repel_beyond_a_margin():
    apart = ~torch.eye(3, dtype=torch.bool)
    unit = torch.eye(3)
    assert float(sp3d_losses.description(unit, unit, apart, 1.0, 0.2)) == 0
    same = torch.ones(3, 3) / 3**0.5
    assert float(sp3d_losses.description(same, same, apart, 1.0, 0.2)) == pytest.approx(0.8)
    assert float(sp3d_losses.description(unit, unit.roll(1, 0), apart, 1.0, 0.2)) == pytest.approx(1 + 0.8 / 2)
    assert float(sp3d_losses.description(same, same, ~apart & apart, 1.0, 0.2)) == pytest.approx(0, abs=1e-6)


def test_points_are_drawn_as_likely_as_the_detector_says():
    logits = torch.full((1, DUSTBIN + 1, 4, 4, 4), -30.0)
    logits[:, DUSTBIN], logits[:, 73] = 1.0, 2.0
    generator = torch.Generator().manual_seed(0)
    counts = []
    for _ in range(40):
        voxels, likely = sp3d_losses.drawn_points(logits, generator)
        # channel 73 is voxel (1, 1, 1) of a cell
        assert (voxels % CELL == 1).all()
        assert likely.exp().tolist() == pytest.approx([np.e / (1 + np.e)] * len(voxels), rel=1e-4)
        counts.append(len(voxels))
    # 2560 draws: four standard deviations
    assert np.sum(counts) / 2560 == pytest.approx(np.e / (1 + np.e), abs=4 * 0.0088)


def test_points_that_are_found_again_become_likelier_and_others_rarer():
    likely = torch.tensor([-1.0, -1.0], requires_grad=True)
    sp3d_losses.repeating(likely, np.array([True, False]), 0.25).backward()
    assert likely.grad is not None
    assert likely.grad[0] < 0 < likely.grad[1]
    assert sp3d_losses.repeating(likely[:0], np.zeros(0, bool), 0.25).item() == 0


# ---------------------------------------------------------------------------------------------------------------------
# Training


@pytest.fixture
def tiny(monkeypatch):
    for module in (sp3d,):
        monkeypatch.setitem(module.SP3D_NETS, "light", TINY)


def test_solids_are_learnt(tiny, tmp_path):
    logs: list[float] = []
    config = Sp3dConfig(stage="shapes", rate=1e-2, warm_steps=5, solids=2)
    sp3d.train(tmp_path, Plan(steps=40), config, on_step=lambda n, s, log: logs.append(log["loss"]))
    assert np.mean(logs[-10:]) < 0.95 * np.mean(logs[:5])
    card = weights.card(tmp_path)
    assert of_record(Sp3dNetConfig, card["network"]) == TINY and card["recipe"] == "homolog train sp3d"


@pytest.mark.parametrize(("likeness", "half"), [("infonce", False), ("hinge", False), ("infonce", True)])
def test_pairs_are_learnt_to_be_found_and_described(likeness, half):
    torch.manual_seed(0)
    network, config = Sp3dNet(TINY), replace(SMALL, rate=1e-2, repeat=0.1, likeness=likeness, half=half)
    optimiser = sp3d.AdamW(network.parameters(), config.rate)
    logs = []
    for n in range(30):
        rng = np.random.default_rng(n)
        logs.append(sp3d.volumes_step(network, [sp3d_data.parts(seen(), config, rng)], config, rng))
        optimiser.step()
        optimiser.zero_grad()
    for name in ("detection", "description"):
        assert np.mean([log[name] for log in logs[-6:]]) < 0.95 * np.mean([log[name] for log in logs[:3]]), name


def test_half_precision_sees_the_same_and_whole_weights_are_trained():
    losses = []
    for half in (False, True):
        torch.manual_seed(0)
        network, config, rng = Sp3dNet(TINY), replace(SMALL, half=half), np.random.default_rng(0)
        losses.append(sp3d.volumes_step(network, [sp3d_data.parts(seen(), config, rng)], config, rng)["loss"])
        gradients = [each.grad for each in network.parameters() if each.grad is not None]
        assert {each.dtype for each in gradients} == {torch.float32}
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_training_that_goes_on_ends_like_one_that_did_not_stop(tiny, tmp_path):
    config = Sp3dConfig(stage="shapes", solids=2)
    whole = sp3d.train(tmp_path / "whole", Plan(steps=4), config)
    sp3d.train(tmp_path / "parts", Plan(steps=2), config)
    parts = sp3d.train(tmp_path / "parts", Plan(steps=4), config)
    assert all(torch.equal(parts.averaged[name], value) for name, value in whole.averaged.items())


def test_a_stage_begins_from_weights_and_only_from_those_of_its_network(tiny, tmp_path):
    shapes = Sp3dConfig(stage="shapes", solids=2)
    state = sp3d.train(tmp_path / "pt", Plan(steps=1), shapes)
    begun = sp3d.begun(replace(SMALL, begin=str(tmp_path / "pt")), 5)
    assert all(torch.equal(begun.state_dict()[name], value) for name, value in state.averaged.items())
    with pytest.raises(BadInput, match="another network"):
        sp3d.begun(replace(SMALL, net="full", begin=str(tmp_path / "pt")), 5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"side_vox": 60}, "whole cells"),
        ({"solids_vox": 36}, "whole cells"),
        ({"first_patient": 8500, "patients": 4000}, "kept for landmarks and tests"),
        ({"teacher": "adapted"}, "weights to begin from"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, said, tmp_path):
    with pytest.raises(BadInput, match=said):
        sp3d.train(tmp_path / "new", Plan(steps=1), replace(SMALL, **changes))
    assert not (tmp_path / "new").exists()
