"""What `homolog patients` does: each patient drawn and written whole, into a folder of its own.

Every patient's folder has its own ledger and the list of all is made from them, so several processes, or several
machines with different seeds, can work in one folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from homolog import __version__
from homolog.cli.configs import Patients
from homolog.cli.resources import claim, require_memory, require_room
from homolog.errors import BadInput, UnreadableFile
from homolog.io import points, transforms, volumes
from homolog.io.files import content_hash, writing
from homolog.io.label_names import write_label_names
from homolog.io.records import End, Record
from homolog.io.results import LEDGER, Results, key_of
from homolog.parallel import map_cases
from homolog.space.grid import Grid
from homolog.synth.anatomy.structures import STRUCTURES
from homolog.synth.checks import LEAST_SPACING_MM, MOST_SPACING_MM
from homolog.synth.configs import PatientConfig
from homolog.synth.patients import Patient, draw_patient

COHORT = "cohort.json"
STAGE = "patient"
# Bytes a voxel at the peak of drawing one patient.
BYTES_PER_VOXEL = 120
# What is recorded under another name than its flag's.
FLAGS = {"spacing_mm": "spacing", "crop_mm": "crop"}


@dataclass(frozen=True)
class Drawn:
    """A patient that is there now.

    count, of     how many of those asked for are there
    seconds_left  until all are, if the others take as long
    """

    folder: Path
    count: int
    of: int
    seconds_left: float


def drawn(
    output: Path, number: int, config: Patients, patient_config: PatientConfig, on_step: Callable[[str, float], None]
) -> Iterator[Drawn]:
    """Draws the cohort, and tells of each patient that was not there yet."""
    seeds = range(config.first, config.first + number)
    if number < 1:
        raise BadInput(f"-n {number}: at least one patient is wanted", "-n 3")
    _require_sensible(seeds, config, patient_config)
    claim(output, COHORT, f"-o {output}_2")
    _require_same_cohort(output, config, patient_config)
    left = [seed for seed in seeds if not _is_there(output, seed, config, patient_config)]
    _write_cohort(output, config, patient_config)
    began, there = time.monotonic(), number - len(left)
    on_step("patients", there / number)
    work = partial(_draw, output, config, patient_config)
    with closing(map_cases(work, left, processes=config.jobs)) as done:
        for count, (_, folder) in enumerate(done, 1):
            _write_cohort(output, config, patient_config)
            on_step("patients", (there + count) / number)
            seconds_left = (time.monotonic() - began) / count * (len(left) - count)
            yield Drawn(folder, there + count, number, seconds_left)


# ---------------------------------------------------------------------------------------------------------------------
# Before


def _require_sensible(seeds: range, config: Patients, patient_config: PatientConfig) -> None:
    if config.first < 0:
        raise BadInput(f"--first {config.first}: seeds are 0 or more", "--first 0")
    if config.jobs < 1:
        raise BadInput(f"--jobs is at least 1, got {config.jobs}", "--jobs 1")
    if not LEAST_SPACING_MM <= config.spacing <= MOST_SPACING_MM:
        limits = f"from {LEAST_SPACING_MM:g} to {MOST_SPACING_MM:g} mm"
        raise BadInput(f"--spacing {config.spacing:g}: patients are drawn on voxels {limits}", "--spacing 2.5")
    if config.crop is not None:
        _require_box(config.crop, config.region)
    # where a crop lies decides who is in it; else the first patient's size speaks for all
    for seed in seeds if config.crop is not None else seeds[:1]:
        grid = _grid_or_hint(draw_patient(seed, patient_config), config)
    jobs = f", {config.jobs} at once" if config.jobs > 1 else ""
    needed = min(config.jobs, len(seeds)) * BYTES_PER_VOXEL * grid.size
    require_memory(needed, f"drawing at {config.spacing:g} mm{jobs}", "--jobs 1" if config.jobs > 1 else "--spacing 4")


def _require_box(crop: tuple[float, ...], region: str) -> None:
    if region != Patients.region:
        raise BadInput("--crop and --region both say what is shown", "leave one of them out")
    if not all(low < high for low, high in zip(crop[:3], crop[3:])):
        said = " ".join(f"{value:g}" for value in crop)
        raise BadInput(f"--crop {said}: the lowest corner comes first, then the highest", "--crop -60 -60 0 60 60 120")


def _grid_or_hint(patient: Patient, config: Patients) -> Grid:
    try:
        return _grid(patient, config)
    except BadInput as error:
        raise BadInput(error.message, "a box of LPS mm in that body; or --region, which follows each body") from error


def _grid(patient: Patient, config: Patients) -> Grid:
    if config.crop is None:
        return patient.grid(config.spacing, region=config.region)
    return patient.grid(config.spacing, (config.crop[:3], config.crop[3:]))


def _require_same_cohort(output: Path, config: Patients, patient_config: PatientConfig) -> None:
    """A folder holds patients that were all drawn in one way."""
    path = output / COHORT
    if not path.exists():
        require_room(path)
        return
    try:
        known = json.loads(path.read_text())
        before = {name: known.get(name) for name in _asked(config, patient_config)}
    except (ValueError, AttributeError) as error:
        raise UnreadableFile(f"{path} is damaged ({error})", f"remove {path}: it is written anew") from error
    now = json.loads(json.dumps(_asked(config, patient_config)))
    for name, value in _flat(now).items():
        was = _flat(before).get(name)
        if was != value:
            raise BadInput(
                f"{output} holds patients drawn with {FLAGS.get(name, name)} {was}, not {value}",
                f"-o {output}_2",
            )


def _asked(config: Patients, patient_config: PatientConfig) -> dict[str, Any]:
    """All that decides how patients are drawn, but the seed."""
    return {
        "version": __version__,
        "spacing_mm": config.spacing,
        "region": config.region,
        "crop_mm": config.crop,
        "config": asdict(patient_config),
    }


def _flat(asked: dict[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in asked.items() if k != "config"}, **(asked.get("config") or {})}


def _key(seed: int, config: Patients, patient_config: PatientConfig) -> str:
    return key_of(seed=seed, **_asked(config, patient_config))


def _is_there(output: Path, seed: int, config: Patients, patient_config: PatientConfig) -> bool:
    folder = output / draw_patient(seed, patient_config).name
    return Results(folder).is_done(STAGE, _key(seed, config, patient_config))


# ---------------------------------------------------------------------------------------------------------------------
# Drawing


def _draw(output: Path, config: Patients, patient_config: PatientConfig, seed: int) -> Path:
    patient = draw_patient(seed, patient_config)
    folder = output / patient.name
    Results(folder).stage(STAGE, _key(seed, config, patient_config), lambda: _written(patient, folder, config))
    return folder


def _written(patient: Patient, folder: Path, config: Patients) -> tuple[list[Path], dict[str, Any]]:
    picture = folder / f"{patient.config.modality}.nii.gz"
    named = [picture, folder / "labels.nii.gz", folder / "landmarks.mrk.json", folder / "canonical_from_patient.h5"]
    files = [*named, folder / "labels.json", folder / "canonical_from_patient.h5.json"]
    with _all_or_nothing(files):
        grid = _write_patient(patient, config, *named)
        write_label_names(STRUCTURES, folder / "labels.json")
    facts = {"name": patient.name, "seed": patient.seed, "phase": patient.phase, "shape": list(grid.shape)}
    return files, {**facts, "files": [f"{patient.name}/{path.name}" for path in named]}


@contextmanager
def _all_or_nothing(files: list[Path]) -> Iterator[None]:
    """Half a patient is not left behind, though each of its files be whole."""
    try:
        yield
    except BaseException:
        for path in files:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            files[0].parent.rmdir()
        raise


def _write_patient(patient: Patient, config: Patients, picture: Path, labels: Path, marks: Path, to: Path) -> Grid:
    grid = _grid(patient, config)
    scan, numbers = patient.both(grid)
    volumes.write(scan, picture, dtype="int16")
    volumes.write(numbers, labels)
    landmarks = patient.landmarks()
    # a reader could not place what the scan does not show
    points.write_points(landmarks[grid.contains(landmarks.position)], marks)
    # the file's numbers are rounded to whole ones: the record's hash is of what a reader will find
    end = End(patient.name, grid, picture.resolve(), content_hash(volumes.read(picture, space=patient.name)))
    transforms.write_transform(patient.canonical_from_patient, to, like=grid, record=Record(end, End("canonical")))
    return grid


def _write_cohort(output: Path, config: Patients, patient_config: PatientConfig) -> None:
    """The list of all patients in the folder, whoever drew them."""
    cohort = {
        **_asked(config, patient_config),
        "structures": {str(number): name for number, name in STRUCTURES.items()},
        "patients": sorted(_listed(output), key=lambda one: one["seed"]),
    }
    with writing(output / COHORT, shared=True) as part:
        part.write_text(json.dumps(cohort, indent=1))


def _listed(output: Path) -> list[dict[str, Any]]:
    ledgers = (Results(path.parent).ledger() for path in output.glob(f"*/{LEDGER}"))
    return [ledger[STAGE]["facts"] for ledger in ledgers if STAGE in ledger]
