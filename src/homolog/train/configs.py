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


@dataclass(frozen=True)
class PairsConfig:
    """Which pairs of volumes are drawn, and what of them is held."""

    patients: int = 4000
    """Virtual patients to draw from."""
    first_patient: int = 2000
    """The seed of the first of them; seeds from 9000 on are kept for landmarks and tests."""
    given: float = 0.3
    """Share of the pairs that are made of the given CTs, where there are any."""
    between: float | None = None
    """Share of the virtual pairs that are two different patients; published: 0."""
    local: float | None = None
    """Share of the warps that are drawn as patients differ around landmarks, which is much; published: 1. The others
    turn, stretch and shift by as much as people lie and are built differently."""
    spacing_mm: float = 2.0
    """mm, the voxels of the virtual scans."""
    box_mm: tuple[float, float, float] = (260.0, 220.0, 260.0)
    """mm, the part of a scan that is looked at."""
    held: int = 32
    """Pairs of volumes that are held at a time."""
    at_first: int = 3
    """Of these, those that training begins with."""
    refresh: int = 40
    """Steps after which another pair comes, and the oldest goes."""
    sampling_mm: float = 1.0
    """mm, the voxels on which keypoints are detected."""
    keypoints: int = 4000
    """Keypoints of each volume at most, the strongest."""
    half: bool = False
    """Whether the network works in half precision (bfloat16): nearly twice as fast where the processor or the GPU
    has it. Losses and weights are whole ones."""


@dataclass(frozen=True)
class TripletConfig(PairsConfig):
    """How the patch descriptor is trained. What is None depends on the network."""

    net: Literal["paper", "best"] = "best"
    """The network: as published, or a modern one."""
    begin: str | None = None
    """Weights of this network to begin from: a name, a file or the folder of a training."""
    within_mm: float = 8.0
    """mm, how near to each other corresponding keypoints are."""
    between_mm: float = 3.0
    """mm, the same of two patients: each has a grain of its own, so that what is farther apart is mostly chance."""
    most: int = 1500
    """Corresponding keypoints of a pair of volumes at most."""
    batch: int = 1000
    """Patches that one step looks at, half of them corresponding to the others."""
    volumes_a_batch: int = 4
    """Pairs of volumes that they are taken of."""
    apart_mm: float = 16.0
    """mm, how far apart places of one patient are to be different ones."""
    loss: Literal["triplet", "infonce"] | None = None
    """The paper's triplet loss, or each patch finding its own among all others."""
    margin: float = 0.2
    """Of the triplet loss, of squared distances."""
    hard_after: int | None = None
    """Steps after which the triplet loss takes the hardest negatives; default never."""
    temperature: float = 0.07
    """Of InfoNCE."""
    rate: float | None = None
    """The optimiser's first rate: 0.1 for stochastic gradient descent as published, 1e-3 for AdamW."""
    warm_steps: int = 50
    """Steps until that rate is reached."""
    calm_steps: int = 2000
    """Steps after which the rate falls, as their number grows."""
    remapped: float | None = None
    """Share of the patches whose greys are bent and made noisy, as another scanner or an MR would show them."""
    bend: float = 0.5
    """How far greys are bent, as a part of what would reverse their order."""
    noise: float = 0.2
    """How strong that noise is beside a patch's own deviation, at most."""


@dataclass(frozen=True)
class Sp3dConfig(PairsConfig):
    """How SP3D is trained."""

    between: float | None = 0.0
    """Share of the virtual pairs that are two different patients."""
    local: float | None = 0.0
    """Share of the warps that are drawn as patients differ around landmarks, which is much. The others turn, stretch
    and shift by as much as people lie and are built differently."""
    net: Literal["full", "light"] = "light"
    """The network: widths as published, or fewer, for a processor."""
    stage: Literal["shapes", "volumes"] = "volumes"
    """shapes: to find corners, ends and junctions of solids; volumes: to find and describe what CTs show again."""
    begin: str | None = None
    """Weights to begin from: a name, a file or the folder of a training; of stage volumes, those of stage shapes."""
    teacher: Literal["surf3d", "adapted", "both"] = "surf3d"
    """Of volumes, which points are to be found: those of 3D-SURF that are found in both volumes of a pair; or what the
    weights that training begins with find again under many warps; or both."""
    warps: int = 8
    """Of adaptation: warps that points are looked for in."""
    solids: int = 16
    """Of shapes: pictures that one step looks at."""
    solids_vox: int = 32
    """Of shapes: voxels along the side of these pictures."""
    pictures: int = 2
    """Of volumes: pairs of parts that one step looks at."""
    side_vox: int = 64
    """Voxels along the side of these parts."""
    voxel_mm: float = 1.5
    """mm, the size of these voxels."""
    points_mm: float = 3.0
    """mm, how near to each other points of both volumes are to be one that is found again."""
    blur_vox: float = 0.8
    """Voxels, the standard deviation of the spot that marks a point; published: 0, its voxel alone."""
    dustbin: float = 0.2
    """How much cells without a point count beside those with one; published: 1."""
    places: int = 768
    """Places of each pair whose descriptors are compared, half of them at points."""
    describe: float = 1.0
    """How much descriptors count beside detections; 0: they are not trained."""
    apart_mm: float = 8.0
    """mm, how far apart places are to be different ones."""
    likeness: Literal["infonce", "hinge"] = "infonce"
    """What descriptors are taught by: each place finds its own among all, or, as published, hinges on products."""
    temperature: float = 0.07
    """Of InfoNCE."""
    attract: float = 1.0
    """Of hinges: the descriptors' product of the same place is to be no less."""
    repel: float = 0.2
    """Of hinges: the descriptors' product of different places is to be no more."""
    repeat: float = 0.0
    """How much it counts that points drawn of both pictures are found again: a reward (policy gradient)."""
    repeat_mm: float = 2.0
    """mm, how near they are then to each other."""
    rate: float = 2e-3
    """AdamW's first rate."""
    warm_steps: int = 100
    """Steps until that rate is reached."""
    calm_steps: int = 1500
    """Steps after which the rate falls, as their number grows."""
    bend: float = 0.3
    """How far greys of pictures are bent, as a part of what would reverse their order."""
    noise: float = 0.03
    """The standard deviation of noise that is added to pictures, of their range of 1, at most."""
