"""A pose from a network that was trained to find the points of this very volume in X-rays of it.

Where it finds them, they are landmarks like any others: the pose that most of them agree on is the network's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from homolog.errors import BadInput
from homolog.nets.place_maps import positions, spreads
from homolog.nets.points import PointsNet
from homolog.projective.landmarks import LandmarkPose, Seen, pose_from_landmarks
from homolog.projective.leaning import pixels_of, places_of, width_of
from homolog.projective.resizing import resized
from homolog.space.camera import Camera
from homolog.space.projection import Projection

# A map whose deviation is more than this share of the picture's width has no one peak: the point was not found.
SPREAD = 0.12
# With fewer points in all, nothing is believed.
LEAST = 6
# Points agree with a pose that puts them within so many of the network's pixels, as large as these are at a body that
# magnifies by a third.
AGREEING_PX, NEARER = 3.0, 0.75


def pose_by_points(network: PointsNet, points_mm: np.ndarray, projections: Sequence[Projection]) -> LandmarkPose:
    """Where the volume lies whose points (M, 3), LPS mm, the network knows."""
    seen, cameras = list[Seen](), list[Camera]()
    for projection in projections:
        small = resized(projection, network.config.pixels)
        where, sure = found_in(network, small)
        seen.append((points_mm[sure], pixels_of(where[sure], small.camera)))
        cameras.append(small.camera)
    count = sum(len(points) for points, _ in seen)
    if count < LEAST:
        raise BadInput(
            f"the network finds {count} of the volume's {len(points_mm)} points in these X-rays, too few for a pose",
            "--start grid; or train it longer, on views like these",
        )
    agreeing_mm = AGREEING_PX * NEARER * max(max(camera.pitch_mm) for camera in cameras)
    return pose_from_landmarks(seen, cameras, [one.camera_from_rig for one in projections], agreeing_mm=agreeing_mm)


def found_in(network: PointsNet, small: Projection) -> tuple[np.ndarray, np.ndarray]:
    """Places (M, 2) of the points as `leaning.places_of` gives them, and whether they were found (M,) bool.

    small  an X-ray as large as the network is shown
    """
    device = next(network.parameters()).device
    places = places_of(small.camera, small.mask).to(device)
    with torch.no_grad():
        maps = network(torch.as_tensor(small.data, device=device)[None, None], places)
        where = positions(maps, places)
        apart = spreads(maps, where, places).clamp_min(0).sqrt()
    return where[0].double().cpu().numpy(), (apart[0] < SPREAD * width_of(places)).cpu().numpy()
