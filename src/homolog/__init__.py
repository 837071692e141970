"""homolog finds the same anatomical place in different medical volumes and X-rays, and aligns the pictures by it.

Everything is in patient LPS+ millimetres; a map is named by both its ends, target first: `moving_from_fixed` carries a
point of the fixed patient to the moving one. The names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> where it lives
_HOMES = {
    "Grid": "homolog.space.grid",
    "Volume": "homolog.space.volume",
    "Keypoints": "homolog.space.keypoints",
    "Matches": "homolog.space.keypoints",
    "Transform": "homolog.space.transforms",
    "Affine": "homolog.space.transforms",
    "Displacement": "homolog.space.transforms",
    "BSpline": "homolog.space.transforms",
    "ThinPlate": "homolog.space.transforms",
    "Chain": "homolog.space.transforms",
    "invert": "homolog.space.inversion",
    "carry_back": "homolog.space.inversion",
    "apply": "homolog.space.sampling",
    "carry": "homolog.space.sampling",
    "warp": "homolog.space.sampling",
    "resample": "homolog.space.sampling",
    "pyramid": "homolog.space.sampling",
    "fit": "homolog.space.fit",
    "read": "homolog.io.volumes",
    "read_labels": "homolog.io.volumes",
    "write": "homolog.io.volumes",
    "read_points": "homolog.io.points",
    "write_points": "homolog.io.points",
    "read_keypoints": "homolog.io.keypoints",
    "write_keypoints": "homolog.io.keypoints",
    "read_frog_pairs": "homolog.io.frog_pairs",
    "read_mesh": "homolog.io.meshes",
    "write_mesh": "homolog.io.meshes",
    "read_transform": "homolog.io.transforms",
    "write_transform": "homolog.io.transforms",
    "draw_warp": "homolog.synth.deformations",
    "draw_patient": "homolog.synth.patients",
    "between": "homolog.synth.patients",
    "detect": "homolog.pipelines.detect",
    "describe": "homolog.pipelines.detect",
    "match": "homolog.matching.nearest",
    "register": "homolog.pipelines.register",
    "Registration": "homolog.space.registration",
    "group": "homolog.pipelines.group",
    "Group": "homolog.groupwise.group",
    "Camera": "homolog.space.camera",
    "PlacedCamera": "homolog.space.camera_poses",
    "Projection": "homolog.space.projection",
    "project": "homolog.space.projecting",
    "attenuation": "homolog.space.attenuation",
    "excess_attenuation": "homolog.space.attenuation",
    "read_xray": "homolog.io.xrays",
    "write_xray": "homolog.io.xrays",
    "read_cameras": "homolog.io.cameras",
    "write_cameras": "homolog.io.cameras",
    "align": "homolog.pipelines.align",
    "Alignment": "homolog.space.alignment",
    "HomologError": "homolog.errors",
}
# names that are modules themselves
_MODULES = {"fit"}

__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from homolog.errors import HomologError as HomologError
    from homolog.space import fit as fit
    from homolog.space.alignment import Alignment as Alignment
    from homolog.space.camera import Camera as Camera
    from homolog.space.camera_poses import PlacedCamera as PlacedCamera
    from homolog.space.grid import Grid as Grid
    from homolog.space.inversion import carry_back as carry_back
    from homolog.space.inversion import invert as invert
    from homolog.space.keypoints import Keypoints as Keypoints
    from homolog.space.keypoints import Matches as Matches
    from homolog.space.projection import Projection as Projection
    from homolog.space.sampling import apply as apply
    from homolog.space.sampling import carry as carry
    from homolog.space.sampling import pyramid as pyramid
    from homolog.space.sampling import resample as resample
    from homolog.space.sampling import warp as warp
    from homolog.space.transforms import Affine as Affine
    from homolog.space.transforms import BSpline as BSpline
    from homolog.space.transforms import Chain as Chain
    from homolog.space.transforms import Displacement as Displacement
    from homolog.space.transforms import ThinPlate as ThinPlate
    from homolog.space.transforms import Transform as Transform
    from homolog.space.volume import Volume as Volume


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'homolog' has no attribute {name!r}")
    module = import_module(_HOMES[name])
    return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
