"""`homolog train sp3d`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from homolog.cli.configs import Common
from homolog.cli.options import FLAGS, CommonFlags
from homolog.cli.train import Folder, told, trained
from homolog.cli.train_triplet import TrainPairs, landmarks_of
from homolog.train.configs import Sp3dConfig

if TYPE_CHECKING:
    from homolog.train.loop import OnStep, Plan, State

RecipeFlags = Annotated[Sp3dConfig, Parameter(name="*", group=Group("The recipe", sort_key=8))]


def sp3d(
    *,
    out: Folder,
    config: Annotated[TrainPairs, FLAGS] = TrainPairs(),
    recipe: RecipeFlags = Sp3dConfig(),
    common: CommonFlags = Common(),
) -> None:
    """Trains the network that homolog keypoints --method sp3d finds points by.

    First on solids, whose corners, ends and junctions are known; then on pairs of
    volumes, whose every place is known to correspond: virtual patients, and CTs
    that are given. The folder gets weights.safetensors with its card, log.csv,
    training.html and checkpoint.pt, from which the same line goes on, with the same
    result as if it had never stopped. A longer --minutes goes on further.

      homolog train sp3d --stage shapes --minutes 40 --out sp3d-pt
      homolog train sp3d --begin sp3d-pt --minutes 80 --out sp3d
      homolog keypoints ct.nii.gz --method sp3d --weights sp3d -o keys
    """
    from homolog.train import sp3d as training

    marks = landmarks_of(config)

    def work(plan: Plan, on_step: OnStep) -> State:
        return training.train(
            out, plan, recipe, volumes=config.volumes, landmarks=marks, device=config.device, on_step=on_step
        )

    told(out, trained(config, work), config, recipe)
