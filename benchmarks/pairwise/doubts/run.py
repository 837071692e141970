"""Whether the linear registration knows when not to be believed: right pairs, mirrored ones, and wrong anatomy.

Virtual patients of seeds 10 to 19, on which nothing was chosen, and with --data the real scans.

python benchmarks/pairwise/doubts/run.py --data DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, write_ours

import homolog
from homolog.pairwise.linear import register
from homolog.synth.patients import draw_patient

Pair = tuple[homolog.Volume, homolog.Volume]
SPACING_MM = 4.0
RIGHT = (
    (10, "chest", 11, "chest-abdomen-pelvis"), (12, "abdomen", 13, "abdomen"), (14, "abdomen-pelvis", 15, "neck-thigh"),
    (16, "pelvis", 17, "abdomen-pelvis"), (18, "neck-thigh", 19, "chest-abdomen-pelvis"), (11, "chest", 12, "chest"),
    (13, "abdomen", 14, "chest-abdomen-pelvis"), (15, "pelvis", 16, "pelvis"),
)  # fmt: skip
WRONG = (
    (10, "chest", 11, "pelvis"), (12, "pelvis", 13, "chest"), (14, "chest", 15, "pelvis"), (16, "pelvis", 17, "chest"),
)  # fmt: skip


def main() -> None:
    data = arguments(__doc__).data
    right, wrong = [scans(*row) for row in RIGHT], [scans(*row) for row in WRONG]
    figures = {
        "virtual_right": told(right),
        "virtual_mirrored": told([(fixed, turned(moving, 0)) for fixed, moving in right]),
        "virtual_upside_down": told([(fixed, turned(moving, 2)) for fixed, moving in right]),
        "virtual_other_region": told(wrong),
    }
    if data is not None:
        figures |= real(data)
    write_ours(Path(__file__).parent, figures)


def scans(one: int, region: str, other: int, other_region: str) -> Pair:
    patients = draw_patient(one), draw_patient(other)
    grids = patients[0].grid(SPACING_MM, region=region), patients[1].grid(SPACING_MM, region=other_region)
    return patients[0].scan(grids[0]), patients[1].scan(grids[1])


def turned(volume: homolog.Volume, axis: int) -> homolog.Volume:
    """The picture the other way round, as in a file whose header is wrong."""
    return volume.with_data(np.ascontiguousarray(np.flip(volume.numpy(), axis)))


def real(data: Path) -> dict[str, dict[str, float]]:
    def read(name: str) -> homolog.Volume:
        return homolog.read(data / name, space=name)

    one, other = read("chest-a/lidc-idri-0001_2mm.nii.gz"), read("chest-b/cmb-crc-msb-01068_2mm.nii.gz")
    heart, belly = read("heart-aorta/ct_cropped.nii.gz"), read("abdomen-pelvis/example_ct.nii.gz")
    before = read("lung-pair/3DCT_lung_baseline_small.mha")
    after = read("lung-pair/derived_followup_unregistered_approx.nii.gz")
    skull = read("skull-phantom/philips_plastic_head_S2020_1mm.nii.gz")
    right = [
        (one, other),
        (other, one),
        (one, heart),
        (before, after),
        (belly, read("abdomen-pelvis/example_ct_sm.nii.gz")),
    ]
    return {
        "real_right": told(right),
        "real_mirrored": told([(one, turned(other, 0)), (before, turned(after, 0)), (belly, moved(turned(belly, 0)))]),
        "real_wrong": told([(one, moved(turned(one, 2))), (other, belly), (one, skull), (belly, skull)]),
    }


def moved(volume: homolog.Volume) -> homolog.Volume:
    return volume.in_space("another")


def told(pairs: list[Pair]) -> dict[str, float]:
    """How many pairs, how many of them called poor and how many mirrored, and the range of their similarity."""
    results = [register(*pair) for pair in pairs]
    return {
        "pairs": len(pairs),
        "called_poor": sum(result.is_poor for result in results),
        "called_mirrored": sum(any("mirrored" in doubt for doubt in result.doubts) for result in results),
        "least_similarity": min(result.similarity_after for result in results),
        "most_similarity": max(result.similarity_after for result in results),
    }


if __name__ == "__main__":
    main()
