"""The options of the recipes: one frozen Config a recipe, below each option its unit. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ProstConfig:
    """How ProST's network is trained."""

    net: Literal["light", "paper"] = "light"
    """The network: as published, or a smaller one that a processor can train."""
    patients: int = 120
    """Virtual patients to train on."""
    first_patient: int = 1000
    """The seed of the first of them; seeds from 10000 on are kept for tests."""
    at_first: int = 24
    """Of these patients, those that training begins with."""
    growth: int = 40
    """Steps after which one more patient is drawn, so that training can begin at once."""
    volumes_a_step: int = 2
    """Volumes that one step looks at."""
    truths: int = 8
    """True poses of each of them, an X-ray each."""
    starts: int = 1
    """Poses drawn for each X-ray."""
    volume_every: int = 4
    """One step in so many trains the 3D branch too, if there is one; published: 1."""
    slopes_every: int = 6
    """One step in so many looks at the similarity's gradient too, where the network has coordinates to be taught."""
    rate: float = 1.5e-3
    """The optimiser's first rate."""
    warm_steps: int = 50
    """Steps until that rate is reached."""
    calm_steps: int = 2500
    """Steps after which the rate falls, as their number grows."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or as published: stochastic gradient descent with momentum 0.9."""
    length: float = 0.5
    """How much the gradient's length counts beside its direction; published: 0."""
    value: float = 0.2
    """How much the similarity's own value counts, that it grows as the squared distance; published: 0."""
    given: float = 0.5
    """Share of the steps' volumes that are taken of the given ones, where there are any."""
    turn_degrees: float = 9.45
    """Degrees about each axis, the standard deviation of true and of compared poses about the nominal view."""
    shift_mm: float = 22.4
    """mm along each axis, likewise."""
    places: float = 5.0
    """How much the places that the network looks for count, that they are ends of the bones."""
    maps: float = 0.3
    """How much it counts that their maps have one peak there, and no other."""
    slopes: float = 0.2
    """How much the similarity's gradient counts, where the network has coordinates to be taught."""
    view_degrees: float = 5.0
    """Degrees of the C-arm's primary angle, the standard deviation of the nominal view about the one from the front."""


@dataclass(frozen=True)
class PoseConfig:
    """How a network is trained that finds one volume's points in X-rays of it."""

    view: Literal["front", "back", "left", "right", "around", "any"] = "around"
    """Where the source stands: in front of the patient, behind, on a side, anywhere around the long axis, or anywhere
    at all."""
    spread_degrees: float = 12.0
    """Degrees about each axis, the standard deviation of how the patient is turned away from that."""
    near: tuple[float, float] = (0.55, 0.9)
    """Shares of the way from the source to the detector between which the body is."""
    points: int = 32
    """Points of the volume that the network finds."""
    pixels: int = 64
    """Pixels along the longer side of the X-ray that it is shown."""
    xrays: int = 16
    """X-rays that one step looks at."""
    rate: float = 2e-3
    """The optimiser's first rate."""
    warm_steps: int = 50
    """Steps until that rate is reached."""
    calm_steps: int = 1000
    """Steps after which the rate falls, as their number grows."""
    places: float = 1.0
    """How much the means of the network's maps count, that they are where the points are."""
    maps: float = 1.0
    """How much the maps themselves count, that they have one peak there, and none for points that are not seen."""
