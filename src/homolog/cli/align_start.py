"""The pose that an alignment starts from: of a file, a header, landmarks, or where the cameras look."""

from __future__ import annotations

import logging
from itertools import product
from pathlib import Path

import numpy as np

from homolog.cli.align_config import Align
from homolog.cli.align_inputs import ISOCENTRE, PATIENT, UNKNOWN, Case, Shot
from homolog.errors import BadInput
from homolog.io import keypoints
from homolog.io.pixel_points import read_pixel_points
from homolog.space import se3
from homolog.space.camera_poses import from_axes

log = logging.getLogger("homolog")

# Of the way from the source to the detector: where a body lies when nobody says it. Fluoroscopes magnify by about a
# quarter to a third.
DEPTH = 0.77


def start_of(case: Case, config: Align) -> tuple[np.ndarray | None, str]:
    """rig_from_patient (4, 4), or None where poses are to be searched for; and in words, where it is from."""
    start, begun = config.start, case.shots[0].begun
    if config.start_network is not None:
        return _of_network(case, config.start_network)
    if begun is not None:
        pose, said = se3.inverse(case.cameras_from_rig[0]) @ begun.camera_from_world, f"from {start}"
    elif start == "landmarks" or (start is None and config.landmarks):
        pose, said = _of_landmarks(case, config), "from landmarks"
    elif start == "header" or (start is None and _world(case) in (PATIENT, ISOCENTRE)):
        pose, said = _of_header(case), "from the cameras' own poses"
    elif start == "centre":
        pose, said = centred(case), "the body upright, seen from the front, where the cameras look"
    else:
        return None, "searched for where the cameras look"
    _require_seen(case, pose, said)
    return pose, said


def near_of(case: Case, config: Align) -> np.ndarray | None:
    """(3,) mm in the rig: where the body is said to be."""
    if config.near_mm is None:
        return None
    if len(case.shots) > 1:
        return np.array(config.near_mm)
    world = np.array(case.shots[0].camera.camera_from_world) if case.shots[0].stands else np.eye(4)
    return se3.carried(world, np.array(config.near_mm))


def centred(case: Case) -> np.ndarray:
    """The body's middle where the cameras look, the patient upright and seen from the front by the first of them."""
    first = case.cameras_from_rig[0]
    camera_from_patient = from_axes((0, 0, 0), (0, 1, 0), (0, 0, 1))
    place = (first @ (*_looked_at(case), 1))[:3]
    camera_from_patient[:3, 3] = place - camera_from_patient[:3, :3] @ case.middle_mm
    return np.asarray(se3.inverse(first) @ camera_from_patient)


# ---------------------------------------------------------------------------------------------------------------------
# Where from


def _world(case: Case) -> str:
    return case.shots[0].camera.world if case.shots[0].stands else UNKNOWN


def _of_header(case: Case) -> np.ndarray:
    world = _world(case)
    if world not in (PATIENT, ISOCENTRE):
        raise BadInput(
            f"the cameras stand in a world called '{world}', and nothing says how the patient lies in it"
            if case.shots[0].stands
            else f"nothing says from where {case.shots[0].path} was taken",
            "--start grid",
        )
    alone = len(case.shots) == 1
    rig_from_world = np.array(case.shots[0].camera.camera_from_world) if alone else np.eye(4)
    if world == ISOCENTRE:
        # where in the patient the isocentre was, no header says: people are laid so that what matters is near to it
        rig_from_world = rig_from_world @ _shift(-case.middle_mm)
    return rig_from_world


def _of_landmarks(case: Case, config: Align) -> np.ndarray:
    from homolog.projective.landmarks import pose_from_landmarks

    if config.landmarks is None or len(config.landmarks_px) != len(case.shots):
        raise BadInput(
            f"a start from landmarks needs those of the volume and a table for each of {len(case.shots)} X-rays",
            "--landmarks POINTS.mrk.json --landmarks-px TABLE.csv",
        )
    marks = keypoints.read_keypoints(
        config.landmarks, space=case.patient.space, frame=config.points_space, grid=case.patient.grid
    )
    if marks.name is None:
        raise BadInput(f"{config.landmarks} has no names, by which landmarks in X-rays are told apart", "name them")
    places = dict(zip(marks.name, marks.position))
    seen = [_seen(path, shot, places) for path, shot in zip(config.landmarks_px, case.shots)]
    cameras = [shot.camera.camera for shot in case.shots]
    return pose_from_landmarks(seen, cameras, case.cameras_from_rig).rig_from_patient


def _of_network(case: Case, path: Path) -> tuple[np.ndarray | None, str]:
    """What a network finds that was trained for this volume; None where it does not find enough."""
    from homolog import weights
    from homolog.nets import points
    from homolog.nets.configs import PointsNetConfig, of_record
    from homolog.projective.pointing import pose_by_points

    state, card = weights.load(path), weights.card(path)
    if "points_mm" not in card:
        raise BadInput(f"{path} holds weights of {card.get('recipe')}, not of homolog train pose")
    if card["volume"]["hash"] != case.patient.content_hash:
        raise BadInput(
            f"{path} was trained for another volume ({card['volume']['path']})",
            f"homolog train pose {case.patient.path} --out DIR",
        )
    network = points.built(of_record(PointsNetConfig, card["network"]), state)
    try:
        found = pose_by_points(network, np.array(card["points_mm"]), case.projections)
    except BadInput as error:
        log.warning("%s; it is searched for in all orientations", error)
        return None, f"searched for where the cameras look, since {error}"
    agreeing, count = (sum(int(each.sum()) if agree else len(each) for each in found.agreeing) for agree in (1, 0))
    return found.rig_from_patient, f"from the network of {path}: {agreeing} of the {count} points it finds agree"


def _seen(path: Path, shot: Shot, places: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) LPS mm and (N, 2) pixels (column, row) of the landmarks that both know, as seen from the source."""
    table = read_pixel_points(path)
    both = [name for name in table if name in places]
    if not both:
        raise BadInput(
            f"{path} and the volume share no landmark: {', '.join(list(table)[:4])} and {', '.join(list(places)[:4])}",
            "call the same landmark alike in both",
        )
    middle = (np.array(shot.stored_picture.shape[::-1]) - 1) / 2
    pixels = (np.array([table[name] for name in both]) - middle) @ shot.turn.matrix.T
    return np.array([places[name] for name in both]), pixels + (np.array(shot.picture.shape[::-1]) - 1) / 2


def _looked_at(case: Case) -> np.ndarray:
    """(3,) rig mm: the point nearest to all optical axes; of one camera, a point on its axis."""
    poses = case.cameras_from_rig
    if len(poses) == 1:
        return np.array((0.0, 0.0, DEPTH * case.shots[0].camera.camera.focal_mm))
    across = [np.eye(3) - np.outer(pose[2, :3], pose[2, :3]) for pose in poses]
    sources = [se3.inverse(pose)[:3, 3] for pose in poses]
    wanted = sum(each @ source for each, source in zip(across, sources))
    return np.asarray(np.linalg.lstsq(sum(across), wanted, rcond=1e-9)[0])


def _shift(vector: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, 3] = vector
    return out


# ---------------------------------------------------------------------------------------------------------------------
# Whether anything is seen


def _require_seen(case: Case, start: np.ndarray, said: str) -> None:
    """At least one place of the body is in front of a source and on its detector."""
    corners = case.body_mm
    thirds = np.array(list(product((0.0, 0.5, 1.0), repeat=3)))
    edges = corners[[4, 2, 1]] - corners[0]
    places = corners[0] + thirds @ edges
    for projection in case.projections:
        pixels = projection.camera.project(places, projection.camera_from_rig @ start)
        rows, columns = projection.camera.size_px
        within = (pixels >= -0.5) & (pixels <= (columns - 0.5, rows - 0.5))
        if within.all(axis=1).any():
            return
    first = case.projections[0]
    depth = float((first.camera_from_rig @ start @ (*case.middle_mm, 1))[2])
    where = f"{-depth:.0f} mm behind the source" if depth <= 0 else f"{depth:.0f} mm in front of the source, beside it"
    raise BadInput(f"at the start ({said}) the body falls on no detector: its middle is {where}", "--start grid")
