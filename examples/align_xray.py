"""One pelvis, two X-rays: where the bone lies in them, from a start that is wrong, and how far to believe it.

A drawn patient is X-rayed from the front and obliquely, with noise, scatter and a collimator. Looked for is only the
pelvis, cut out by its labels, in pictures that show everything. A search finds it in the first; from there one climb
fits both, and the depth is determined. The true pose is known, so that both can be measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import homolog
from homolog.metrics.poses import pose_error
from homolog.projective.configs import AutoConfig, GradientConfig
from homolog.report import png
from homolog.space import se3
from homolog.space.camera_poses import PlacedCamera, from_carm
from homolog.synth.xray_config import XrayConfig
from homolog.synth.xray_film import film
from homolog.synth.xrays import expose

PELVIS = (31, 32, 33)  # sacrum, right hip, left hip
CAMERA = homolog.Camera.centred(focal_mm=1200.0, size_px=(192, 192), pitch_mm=2.2)
ANGLES = {"front": (0.0, 0.0), "oblique": (35.0, -10.0)}
TAKEN = XrayConfig(photons=500_000, blur_mm=0.5, scatter=0.2, collimator="circle", opening=0.95)

# One fine stage: what is already near needs no wide look, and soft tissue would lead it astray.
FINE = GradientConfig(sizes_px=(128,), spacings_mm=(2.0,), sigmas_px=(1.0,), radii_px=(9,))


def views(middle_mm: np.ndarray) -> list[PlacedCamera]:
    """Cameras of a C-arm that turns about the pelvis."""
    return [
        PlacedCamera(CAMERA, from_carm(*angles, source_isocentre_mm=900.0, isocentre_mm=middle_mm), name)
        for name, angles in ANGLES.items()
    ]


def taken(everything: homolog.Volume, view: PlacedCamera, rng: np.random.Generator) -> homolog.Projection:
    """An X-ray of the whole patient."""
    paths = homolog.project(everything, view.camera, view.camera_from_world)
    seen = expose(paths, view.camera, TAKEN, rng)
    return homolog.Projection(seen.data, view.camera, view.camera_from_world, view.name, seen.mask)


def moved(middle_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A start (4, 4) as wrong as a table's position and a guess leave it: some 12 degrees and 30 mm."""
    turn, shift = rng.normal(size=3), rng.normal(size=3)
    turn, shift = np.radians(12.0) * turn / np.linalg.norm(turn), 30.0 * shift / np.linalg.norm(shift)
    return se3.about(middle_mm, np.concatenate((turn, shift)))


def off_mm(found: homolog.Alignment, points_mm: np.ndarray, true: list[PlacedCamera]) -> float:
    """mm: how far points of the bone are from where they truly are, on average."""
    said = [PlacedCamera(*each) for each in zip(found.cameras, found.camera_from_patient)]
    return pose_error(points_mm, said, true).target_mean_mm


def pictured(bone: homolog.Volume, xray: homolog.Projection, poses: list[np.ndarray]) -> np.ndarray:
    """(rows, columns, 3): an X-ray, and the bone's projection over it at each pose."""
    grey = (255 * film(xray.data, xray.mask)).astype(np.uint8)
    panels = [png.overlay(grey, grey)]
    for pose in poses:
        shadow = homolog.project(bone, xray.camera, xray.camera_from_rig @ pose)
        panels.append(png.overlay(grey, (255 * film(shadow)).astype(np.uint8)))
    return np.hstack([np.kron(panel, np.ones((2, 2, 1), np.uint8)) for panel in panels])


def told(name: str, found: homolog.Alignment, away_mm: float) -> None:
    print(f"{name:12}  {away_mm:5.1f} mm off, judged {found.judgement}")
    if found.covariance is not None:
        across, down, depth = np.sqrt(np.diag(found.covariance))[3:]
        print(f"              it says: uncertain by {across:.1f} mm across, {down:.1f} down, {depth:.1f} in depth")
    for doubt in found.doubts:
        print(f"              it says: {doubt}")


def main(out: Path) -> None:
    rng = np.random.default_rng(7)
    patient = homolog.draw_patient(20_000)
    grid = patient.grid(4.0, region="pelvis")
    ct, labels = patient.both(grid)
    pelvis = np.isin(labels.numpy(), PELVIS)

    # what the X-rays see, and what of a bone is seen within soft tissue
    everything, bone = homolog.attenuation(ct), homolog.excess_attenuation(ct, mask=pelvis)
    points_mm = grid.world(np.argwhere(pelvis)[::40])
    middle_mm = points_mm.mean(axis=0)

    # the cameras stand in the patient's own frame here, so the pose that is to be found is the identity
    true = views(middle_mm)
    xrays = [taken(everything, view, rng) for view in true]
    start = moved(middle_mm, rng)
    away_mm = np.linalg.norm(points_mm @ (start[:3, :3] - np.eye(3)).T + start[:3, 3], axis=1).mean()
    print(f"the start     {away_mm:5.1f} mm off")

    alone = homolog.align(bone, xrays[:1], start, AutoConfig(effort="fast"))
    told("one X-ray", alone, off_mm(alone, points_mm, true[:1]))
    both = homolog.align(bone, xrays, alone.rig_from_patient, FINE)
    told("both X-rays", both, off_mm(both, points_mm, true))

    out.mkdir(parents=True, exist_ok=True)
    homolog.write(ct, out / "ct.nii.gz")
    homolog.write(labels, out / "labels.nii.gz")
    for xray, view in zip(xrays, true):
        homolog.write_xray(out / f"{xray.name}.tif", xray.data)
        homolog.write_cameras(out / f"{xray.name}.json", [view])
    poses = [start, alone.rig_from_patient, both.rig_from_patient]
    (out / "poses.png").write_bytes(png.encode(pictured(bone, xrays[0], poses)))
    print(f"written to {out}/, look at poses.png: the X-ray, the start, and by one X-ray and by both")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    main(parser.parse_args().out)
