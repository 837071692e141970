"""The options of this room: one frozen Config a method, below each option its unit.

Only the standard library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal[
    "ncc",
    "patch_ncc",
    "mncc",
    "gradient_ncc",
    "patch_gradient_ncc",
    "mgradient_ncc",
    "mixed",
    "gradient_orientation",
    "gradient_difference",
    "prost_gradient_ncc",
    "mi",
]
# Of the measures over patches, which fit both bones and whole bodies.
USUAL: Measure = "patch_gradient_ncc"
Refine = Literal["none", "source", "principal", "both"]
Rig = Literal["known", "loose"]


@dataclass(frozen=True)
class Stage:
    """How finely a search looks.

    size_px     px along the longer side of an X-ray
    spacing_mm  mm of the volume's voxels; never finer than the volume itself
    sigma_px    px, the standard deviation by which pictures are smoothed
    radius_px   px, half of a patch, of the measures that have patches
    """

    size_px: int
    spacing_mm: float
    sigma_px: float = 0.0
    radius_px: int = 9

    @property
    def name(self) -> str:
        smoothed = f", smoothed by {self.sigma_px:g}" if self.sigma_px else ""
        return f"{self.size_px} px{smoothed}"


@dataclass(frozen=True)
class GradientConfig:
    """From a start to the nearest best pose, coarse to fine, by Levenberg and Marquardt's steps or plain ascent."""

    similarity: Measure = USUAL
    """How alike the X-ray and the projection are."""
    steps: Literal["marquardt", "ascent"] = "marquardt"
    """How it goes uphill: by second-order steps, or along the gradient."""
    sizes_px: tuple[int, ...] = (64, 64, 128)
    """px along the longer side of an X-ray, stage by stage."""
    spacings_mm: tuple[float, ...] = (4.0, 4.0, 2.0)
    """mm of the volume's voxels, stage by stage; never finer than the volume itself."""
    sigmas_px: tuple[float, ...] = (3.0, 1.0, 1.0)
    """px by which pictures are smoothed (standard deviation), stage by stage."""
    radii_px: tuple[int, ...] = (16, 9, 9)
    """px, half of a patch, stage by stage."""
    most_steps: int = 60
    """Steps of a stage at most."""
    starts: int = 1
    """Poses to start from: the given one, and others drawn around it."""
    spread_degrees: float = 10.0
    """Degrees about each axis by which further starts are drawn (one standard deviation)."""
    spread_mm: float = 20.0
    """mm along each axis by which further starts are drawn; twice as much along the rays."""
    refine: Refine = "none"
    """What of the camera is sought too: the source's distance, the principal point, or both."""
    rig: Rig = "known"
    """Whether the X-rays' places among each other are exact, or may be off by a degree and some mm."""
    seed: int = 0
    """Of the drawn starts."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(map(Stage, self.sizes_px, self.spacings_mm, self.sigmas_px, self.radii_px))


@dataclass(frozen=True)
class CmaesConfig:
    """Evolution of a swarm of poses about the start (CMA-ES), then the gradient's last millimetre."""

    similarity: Measure = "gradient_ncc"
    """How alike the X-ray and the projection are."""
    size_px: int = 48
    """px along the longer side of an X-ray."""
    spacing_mm: float = 4.0
    """mm of the volume's voxels; never finer than the volume itself."""
    sigma_px: float = 0.0
    """px by which pictures are smoothed (standard deviation)."""
    radius_px: int = 9
    """px, half of a patch, of the measures that have patches."""
    population: int = 60
    """Poses of a generation."""
    generations: int = 60
    """Generations at most."""
    sigma_degrees: float = 12.0
    """Degrees about each axis in which the first generation is drawn."""
    sigma_mm: float = 30.0
    """mm across the rays in which the first generation is drawn."""
    sigma_depth_mm: float = 40.0
    """mm along the rays in which the first generation is drawn."""
    polish: bool = True
    """Go on with the gradient's method, at its last stages."""
    seed: int = 0
    """Of the draws."""

    @property
    def stage(self) -> Stage:
        return Stage(self.size_px, self.spacing_mm, self.sigma_px, self.radius_px)


@dataclass(frozen=True)
class ProstConfig:
    """A learned similarity that is convex about the right pose (ProST), descended; then the gradient's method."""

    weights: str = "prost"
    """The name of shipped weights, or a file of a training's weights."""
    most_steps: int = 200
    """Steps down the learned similarity at most."""
    then: Literal["gradient", "cmaes", "none"] = "gradient"
    """What refines the network's pose."""
    seed: int = 0
    """Of the draws of what follows."""


@dataclass(frozen=True)
class AutoConfig:
    """Several searches from coarse to fine, of which the one that agrees best with the X-rays is kept and doubted."""

    effort: Literal["fast", "usual", "thorough"] = "usual"
    """How many poses are tried."""
    similarity: Measure = USUAL
    """How alike the X-ray and the projection are."""
    spread_degrees: float = 15.0
    """Degrees about each axis within which the start is trusted (one standard deviation)."""
    spread_mm: float = 32.0
    """mm along each axis within which the start is trusted."""
    refine: Refine = "none"
    """What of the camera is sought too: the source's distance, the principal point, or both."""
    rig: Rig = "known"
    """Whether the X-rays' places among each other are exact, or may be off by a degree and some mm."""
    seed: int = 0
    """Of the draws."""
