"""`homolog patients`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from homolog.cli import terminal
from homolog.cli.configs import Common, Patients
from homolog.cli.options import FLAGS, CommonFlags
from homolog.synth.configs import PatientConfig

Folder = Annotated[Path, Parameter(name=("--output", "-o"), help="The folder to write to.")]
Number = Annotated[int, Parameter(name=("--number", "-n"), help="How many patients.")]
PatientFlags = Annotated[PatientConfig, Parameter(name="*", group=Group("How patients are drawn", sort_key=8))]


def patients(
    *,
    output: Folder,
    number: Number = 3,
    config: Annotated[Patients, FLAGS] = Patients(),
    patient: PatientFlags = PatientConfig(),
    common: CommonFlags = Common(),
) -> None:
    """Draws virtual patients: scans as different as people are, with the truth.

    Each gets a folder with ct.nii.gz (or mr.nii.gz), labels.nii.gz, the labels'
    names in labels.json, landmarks.mrk.json and canonical_from_patient.h5, the map that says where each
    of its points lies in the one body that all are drawn from; so the exact map
    between any two is known. cohort.json lists them.

    The same seeds give the same patients. A drawing that was interrupted goes on,
    and more patients are added with a larger -n or another --first.

      homolog patients -n 3 --spacing 2.5 -o cohort
      homolog patients -n 50 --first 50 --jobs 8 -o cohort
    """
    from homolog.cli import cohorts

    count = 0
    with terminal.Progress() as progress:
        for one in cohorts.drawn(output, number, config, patient, progress.on_step):
            left = f", about {terminal.duration(one.seconds_left)} left" if one.count < one.of else ""
            terminal.note(f"drew {one.folder} ({one.count} of {one.of}{left})")
            count += 1
    if count < number:
        terminal.note(f"{number - count} of {number} were there already")
    terminal.result(output / "cohort.json")
