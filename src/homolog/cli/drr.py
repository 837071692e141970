"""`homolog drr`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from homolog.cli import terminal
from homolog.cli.configs import Common
from homolog.cli.drr_config import Drr, View
from homolog.cli.options import FLAGS, CommonFlags
from homolog.synth.xray_config import XrayConfig

Source = Annotated[Path, Parameter(help="The CT: a file, or a folder of DICOM slices.")]
Image = Annotated[
    Path, Parameter(name=("--output", "-o"), help="The picture: .png, .tif, .nii.gz, .mha, .nrrd or .dcm (XA).")
]
ViewFlags = Annotated[View, Parameter(name="*", group=Group("The view", sort_key=6))]
ExposureFlags = Annotated[XrayConfig, Parameter(name="*", group=Group("How the X-ray is taken", sort_key=7))]


def drr(
    source: Source,
    /,
    *,
    output: Image,
    view: ViewFlags = View(),
    config: Annotated[Drr, FLAGS] = Drr(),
    exposure: ExposureFlags = XrayConfig(),
    common: CommonFlags = Common(),
) -> None:
    """Makes an X-ray of a CT: a digitally reconstructed radiograph.

    Unless told otherwise it is seen from the front, upright, the patient's left on
    the right of the picture. Beside each picture NAME.png lies NAME.json, its
    camera, which homolog align and homolog camera read. Several angles make
    several pictures, NAME_1.png, NAME_2.png, ...

    A .png is shown as a radiograph; other files hold line integrals of attenuation,
    bone larger than air. With --photons, --scatter, --kilovolts and the like they are what
    a detector would have measured.

      homolog drr ct.nii.gz -o chest.png
      homolog drr ct.nii.gz -o carm.dcm --primary 0 90 --focal-mm 1020 --source-isocentre-mm 620
      homolog drr ct.nii.gz -o noisy.nii.gz --photons 5000 --scatter 0.3 --collimator circle
      homolog drr ct.nii.gz -o pelvis.png --labels organs.nii.gz --floor 200
    """
    import numpy as np

    from homolog.cli import drr_pictures, drr_views

    drr_pictures.require_format(output, config)
    patient = drr_pictures.read(source, config, exposure)
    cameras = drr_views.placed(view, patient.whole)
    names = drr_pictures.names_of(output, len(cameras), patient.named)
    given = [path for path in (source, config.mask, config.labels, view.camera) if path is not None]
    drr_pictures.require_targets(tuple(given), names)
    generator, written = np.random.default_rng(config.seed), []
    for placed, (whole, *parts) in zip(cameras, names):
        taken = drr_pictures.exposed(patient, placed, config, exposure, generator)
        written.append(drr_pictures.write(whole, taken.data, placed, config, taken.mask))
        for path, (_, data) in zip(parts, drr_pictures.of_labels(patient, placed)):
            written.append(drr_pictures.write(path, data, placed, config, None))
    if config.json:
        terminal.result_json({"written": written})
