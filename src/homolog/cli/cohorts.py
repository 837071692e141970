"""What `homolog patients` does: each patient drawn and written whole, one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from homolog import __version__
from homolog.cli.configs import Patients
from homolog.cli.resources import require_memory, require_room
from homolog.errors import BadInput
from homolog.io import points, transforms, volumes
from homolog.io.files import content_hash, writing
from homolog.io.records import End, Record
from homolog.io.results import LEDGER, Results, key_of
from homolog.synth.anatomy.structures import STRUCTURES
from homolog.synth.configs import PatientConfig
from homolog.synth.patients import Patient, draw_patient

# Bytes a voxel at the peak of drawing one patient.
BYTES_PER_VOXEL = 120


def drawn(
    output: Path, number: int, config: Patients, patient_config: PatientConfig, on_step: Callable[[str, float], None]
) -> Iterator[Path]:
    """Draws the cohort, and tells of each patient that was not there yet."""
    _require_sensible(number, config)
    results = _claimed(output)
    seeds = range(config.first, config.first + number)
    listed = []
    for n, seed in enumerate(seeds):
        on_step("patients", n / number)
        patient = draw_patient(seed, patient_config)
        name = patient.name
        asked = {"config": asdict(patient_config), "spacing": config.spacing, "region": config.region}
        key = key_of(seed=seed, version=__version__, **asked)
        new = not results.is_done(name, key)
        facts = results.stage(name, key, lambda p=patient: _written(p, output, config))  # type: ignore[misc]
        listed.append({"name": name, "seed": seed, **facts})
        if new:
            yield output / name
    _write_cohort(output, config, patient_config, listed)


def _require_sensible(number: int, config: Patients) -> None:
    if number < 1:
        raise BadInput(f"-n {number}: at least one patient is wanted", "-n 3")
    if config.first < 0:
        raise BadInput(f"--first {config.first}: seeds are 0 or more", "--first 0")


def _claimed(output: Path) -> Results:
    require_room(output / "cohort.json")
    there = sorted(path.name for path in output.iterdir()) if output.is_dir() else []
    if there and LEDGER not in there:
        raise BadInput(f"{output} holds other files ({', '.join(there[:3])})", f"-o {output}_2")
    output.mkdir(parents=True, exist_ok=True)
    return Results(output)


def _written(patient: Patient, output: Path, config: Patients) -> tuple[list[Path], dict[str, Any]]:
    grid = patient.grid(config.spacing, region=config.region)
    require_memory(BYTES_PER_VOXEL * grid.size, f"{patient.name} at {config.spacing:g} mm", "--spacing 4")
    scan, labels = patient.both(grid)
    folder = output / patient.name
    picture = folder / f"{patient.config.modality}.nii.gz"
    files = [picture, folder / "labels.nii.gz", folder / "landmarks.mrk.json", folder / "canonical_from_patient.h5"]
    volumes.write(scan, files[0], dtype="int16")
    volumes.write(labels, files[1])
    landmarks = patient.landmarks()
    # a reader could not place what the scan does not show
    points.write_points(landmarks[grid.contains(landmarks.position)], files[2])
    # the file's numbers are rounded to whole ones: the record's hash is of what a reader will find
    end = End(patient.name, grid, picture.resolve(), content_hash(volumes.read(picture, space=patient.name)))
    record = Record(end, End("canonical"))
    transforms.write_transform(patient.canonical_from_patient, files[3], like=grid, record=record)
    files.append(files[3].with_name(files[3].name + ".json"))
    names = [str(path.relative_to(output)) for path in files[:4]]
    facts = {"phase": patient.phase, "shape": list(grid.shape), "files": names}
    return files, facts


def _write_cohort(output: Path, config: Patients, patient_config: PatientConfig, listed: list[dict[str, Any]]) -> None:
    cohort = {
        "version": __version__,
        "spacing_mm": config.spacing,
        "region": config.region,
        "config": asdict(patient_config),
        "structures": {str(number): name for number, name in STRUCTURES.items()},
        "patients": listed,
    }
    with writing(output / "cohort.json") as part:
        part.write_text(json.dumps(cohort, indent=1))
