"""Training the patch descriptor: what is drawn, what it is taught by, and going on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from homolog import weights
from homolog.errors import BadInput
from homolog.nets.configs import PAPER_PATCH
from homolog.synth.patients import draw_patient
from homolog.train import triplet, triplet_data, triplet_losses
from homolog.train.configs import TripletConfig
from homolog.train.loop import Plan
from homolog.train.triplet_data import Pair
from homolog.train.volume_pairs import Stream, cohort_density

SMALL = triplet.chosen(
    TripletConfig(
        net="paper",
        box_mm=(150.0, 130.0, 150.0),
        spacing_mm=2.5,
        held=2,
        at_first=1,
        refresh=4,
        batch=60,
        keypoints=400,
    )
)


@cache
def stream(**changes: float) -> Stream[Pair]:
    return triplet_data.stream(replace(SMALL, **changes), PAPER_PATCH, cohort_density(cohort()))


@cache
def cohort() -> tuple:
    return tuple(draw_patient(seed).landmarks() for seed in (9000, 9001, 9002))


def drawn(n: int, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, 8))


# ---------------------------------------------------------------------------------------------------------------------
# Losses


def test_the_triplet_loss_is_the_papers_of_the_negatives_that_are_chosen():
    anchor, positive = drawn(12), drawn(12, seed=1)
    apart = ~torch.eye(12, dtype=torch.bool)
    found, active = triplet_losses.triplet(anchor, positive, apart, 0.2)
    terms = []
    for one, other in ((anchor, positive), (positive, anchor)):
        for n in range(12):
            right = float(((one[n] - other[n]) ** 2).sum())
            wrong = [float(((one[n] - other[m]) ** 2).sum()) for m in range(12) if m != n]
            farther = [value for value in wrong if value > right]
            terms.append(max(right - (min(farther) if farther else max(wrong)) + 0.2, 0.0))
    assert float(found) == pytest.approx(np.mean(terms), abs=1e-5)
    assert float(active) == pytest.approx(np.mean(np.array(terms) > 0), abs=1e-6)


def test_the_hardest_negatives_cost_no_less():
    anchor, positive = drawn(20), torch.nn.functional.normalize(drawn(20) + 0.5 * drawn(20, seed=2))
    apart = ~torch.eye(20, dtype=torch.bool)
    semi, hard = (triplet_losses.triplet(anchor, positive, apart, 0.2, hardest=hardest)[0] for hardest in (False, True))
    assert hard >= semi


def test_places_that_may_be_the_same_are_no_negatives():
    anchor = drawn(6)
    # rows 0 and 1 show one place: their descriptors are equal, and that costs nothing
    anchor[1] = anchor[0]
    apart = ~torch.eye(6, dtype=torch.bool)
    apart[0, 1] = apart[1, 0] = False
    loss, _ = triplet_losses.triplet(anchor, anchor, apart, 1e-3)
    assert float(loss) == 0
    wrong = triplet_losses.contrast(anchor, anchor, ~torch.eye(6, dtype=torch.bool), 0.01)
    assert float(triplet_losses.contrast(anchor, anchor, apart, 0.01)) < 0.1 * float(wrong)


def test_descriptors_that_tell_all_apart_cost_nothing_and_have_no_false_positives():
    anchor, apart = torch.eye(8), ~torch.eye(8, dtype=torch.bool)
    assert float(triplet_losses.triplet(anchor, anchor, apart, 0.2)[0]) == 0
    assert float(triplet_losses.contrast(anchor, anchor, apart, 0.05)) < 1e-6
    assert triplet_losses.false_positive_rate(anchor, anchor, apart) == 0
    assert triplet_losses.false_positive_rate(torch.ones(8, 4) / 2, torch.ones(8, 4) / 2, apart) == 1


# ---------------------------------------------------------------------------------------------------------------------
# What is drawn


# patients have a grain of their own, and share their organs only
@pytest.mark.parametrize(("between", "more"), [(0.0, 0.3), (1.0, 0.15)])
def test_patches_of_a_pair_show_the_same_places(between, more):
    pair = stream(between=between, keypoints=1500).made(3)
    assert len(pair) >= triplet_data.LEAST_PAIRS and pair.fixed.shape == pair.moving.shape
    fixed, moving = (side.reshape(len(pair), -1).astype(float) for side in (pair.fixed, pair.moving))
    fixed, moving = (side - side.mean(axis=1, keepdims=True) for side in (fixed, moving))
    alike = (fixed * moving).sum(1) / np.sqrt((fixed**2).sum(1) * (moving**2).sum(1))
    others = (fixed * np.roll(moving, 7, axis=0)).sum(1) / np.sqrt((fixed**2).sum(1) * np.roll((moving**2).sum(1), 7))
    assert np.median(alike) > np.median(others) + more


def test_a_pair_is_the_same_whenever_it_is_asked_for():
    one, other = stream().made(1), stream().made(1)
    assert np.array_equal(one.fixed, other.fixed) and np.array_equal(one.moving, other.moving)
    assert not np.array_equal(one.fixed[:5], stream().made(2).fixed[:5])


def test_pairs_come_one_by_one_and_the_oldest_goes():
    made = replace_made(stream())
    held = [made.at(step) for step in range(0, 17, 4)]
    assert held == [[0], [0, 1], [1, 2], [2, 3], [3, 4]]


def replace_made(whole: Stream[Pair]) -> Stream[int]:
    class Counting(Stream[int]):
        def made(self, number: int) -> int:
            return number

    return Counting(whole.source, lambda two, rng: 0)


def some_pair(n: int, value: float) -> Pair:
    cube = np.full((n, 10, 10, 10), value, np.float16)
    return Pair(cube, cube, np.arange(3.0 * n).reshape(n, 3) * 100)


def test_a_batch_holds_corresponding_patches_of_several_volumes():
    pairs = [some_pair(40, 1.0), some_pair(40, 2.0), some_pair(40, 3.0)]
    found = triplet_data.batch(pairs, replace(SMALL, volumes_a_batch=3), np.random.default_rng(0))
    assert found.anchor.shape == (30, 10, 10, 10)
    assert torch.equal(found.anchor, found.positive)
    assert torch.equal(found.anchor[:, 0, 0, 0].unique(), torch.tensor([1.0, 2.0, 3.0]))
    assert torch.equal(found.apart, ~torch.eye(30, dtype=torch.bool))


def test_places_near_each_other_in_one_patient_are_not_apart():
    pair = some_pair(10, 1.0)
    near = Pair(pair.fixed, pair.moving, pair.place_mm / 100)
    apart = triplet_data.batch(
        [near, pair], replace(SMALL, volumes_a_batch=2, batch=40), np.random.default_rng(0)
    ).apart
    assert apart.sum(1).max() == 19 and apart.sum(1).min() < 15


def test_bent_greys_keep_the_shape_and_leave_the_others_alone():
    rng = np.random.default_rng(0)
    pairs = [Pair(*2 * [rng.normal(size=(200, 10, 10, 10)).astype(np.float16) / 5], 100 * rng.normal(size=(200, 3)))]
    config = replace(SMALL, remapped=0.5, batch=200, volumes_a_batch=1)
    found = triplet_data.batch(pairs, config, np.random.default_rng(0))
    changed = (found.anchor != found.positive).flatten(1).any(1)
    # of pairs, three quarters have a bent side
    assert 0.6 < float(changed.float().mean()) < 0.9
    assert torch.isfinite(found.anchor).all()


# ---------------------------------------------------------------------------------------------------------------------
# Training


def test_steps_lower_the_loss_and_the_card_says_what_it_is_of(tmp_path):
    logs: list[float] = []
    config = replace(SMALL, refresh=1000, batch=120)
    triplet.train(
        tmp_path, Plan(steps=60), config, landmarks=cohort(), on_step=lambda n, s, log: logs.append(log["loss"])
    )
    assert np.mean(logs[-10:]) < 0.8 * np.mean(logs[:10])
    card = weights.card(tmp_path)
    assert card["recipe"] == "homolog train triplet" and card["steps"] == 60 and card["landmarked"] == 3
    assert set(weights.load(tmp_path)) == set(triplet.PatchNet(PAPER_PATCH).state_dict())


def test_a_training_that_goes_on_ends_like_one_that_did_not_stop(tmp_path):
    run = {"config": SMALL, "landmarks": cohort()}
    whole = triplet.train(tmp_path / "whole", Plan(steps=6), **run)
    triplet.train(tmp_path / "parts", Plan(steps=5), **run)
    parts = triplet.train(tmp_path / "parts", Plan(steps=6), **run)
    assert all(torch.equal(parts.averaged[name], value) for name, value in whole.averaged.items())


def test_a_training_begins_from_weights_and_only_from_those_of_its_network(tmp_path):
    begun = replace(SMALL, begin="patch-paper", rate=1e-9)
    state = triplet.train(tmp_path / "new", Plan(steps=1), begun, landmarks=cohort())
    known = weights.load("patch-paper")
    assert all(
        torch.allclose(value.float(), known[name].float(), atol=1e-6)
        for name, value in state.network.state_dict().items()
    )
    assert weights.card(tmp_path / "new")["config"]["begin"] == "patch-paper"
    with pytest.raises(BadInput, match="another network"):
        triplet.train(tmp_path / "other", Plan(steps=1), replace(begun, begin="patch"), landmarks=cohort())
    assert not (tmp_path / "other").exists()


def test_seeds_that_are_kept_for_tests_are_refused(tmp_path):
    with pytest.raises(BadInput, match="kept for landmarks and tests"):
        triplet.train(tmp_path / "new", Plan(steps=1), replace(SMALL, first_patient=8000))
    assert not (tmp_path / "new").exists()
