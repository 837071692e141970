"""`homolog train prost`, and what all recipes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from homolog.cli import terminal
from homolog.cli.configs import Common
from homolog.cli.options import FLAGS, CommonFlags
from homolog.train.configs import ProstConfig

if TYPE_CHECKING:
    from homolog.train.loop import OnStep, Plan, State

Folder = Annotated[Path, Parameter(name=("--out", "-o"), help="The folder to write to, or to go on in.")]
RecipeFlags = Annotated[ProstConfig, Parameter(name="*", group=Group("The recipe", sort_key=8))]
# Of the chart: means over so many parts of the run, since a step's own loss is mostly chance.
CHART_PARTS = 100


@dataclass(frozen=True, kw_only=True)
class Train:
    """How long, and where."""

    minutes: float | None = None
    """Minutes to train in all, those of earlier runs into the folder included."""
    steps: int | None = None
    """Steps to train in all; whichever is over first."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the network is trained."""
    seed: int = 0
    """Of all that is drawn."""
    json: bool = False
    """What it came to, as one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class TrainProst(Train):
    """On what."""

    volumes: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = ()
    """CTs to train on besides the virtual patients."""
    labels: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = ()
    """Label maps of their bone, one a CT in the same order; else what is brighter than bone's HU."""


def prost(
    *,
    out: Folder,
    config: Annotated[TrainProst, FLAGS] = TrainProst(),
    recipe: RecipeFlags = ProstConfig(),
    common: CommonFlags = Common(),
) -> None:
    """Trains the network that homolog align --method prost compares pictures by.

    It learns from virtual patients, and from the CTs that are given, to tell from
    far away where a bone lies in an X-ray. The folder gets weights.safetensors with
    its card, log.csv, training.html and checkpoint.pt, from which the same line
    goes on, with the same result as if it had never stopped. A longer --minutes
    goes on further.

      homolog train prost --minutes 60 --out trained
      homolog train prost --minutes 600 --out trained --volumes a.nii.gz b.nii.gz
    """
    from homolog.train import prost as training

    def work(plan: Plan, on_step: OnStep) -> State:
        return training.train(
            out, plan, recipe, volumes=config.volumes, labels=config.labels, device=config.device, on_step=on_step
        )

    state = trained(config, work)
    told(out, state, config, recipe)


def trained(config: Train, work: Callable[[Plan, OnStep], State]) -> State:
    """Runs a training under a line that says how far it is."""
    import torch

    from homolog.kernels.devices import require_device
    from homolog.kernels.threads import thread_count
    from homolog.train.loop import Plan

    require_device(config.device)
    torch.set_num_threads(thread_count())
    plan = Plan(config.steps, config.minutes, config.seed)
    with terminal.Progress() as progress:
        return work(plan, lambda number, share, logged: progress.on_step("training", share, logged["loss"]))


def told(
    out: Path, state: State, config: Train, recipe: Any, numbers: dict[str, Any] | None = None, said: str = ""
) -> None:
    """Says what a training came to, and draws its log."""
    facts = {**drawn(out), "steps": state.step, "minutes": state.seconds / 60, **(numbers or {})}
    if config.json:
        terminal.result_json(facts | {"weights": str(out / "weights.safetensors"), "recipe": asdict(recipe)})
        return
    terminal.note(f"{state.step} steps in {terminal.duration(state.seconds)}{said}")
    terminal.result(out / "weights.safetensors")


def drawn(folder: Path) -> dict[str, Any]:
    """Draws the log into training.html; the means over its last tenth."""
    from homolog.io.files import writing
    from homolog.report import charts, page
    from homolog.train.loop import rows

    log = rows(folder / "log.csv")
    names = [name for name in log[0] if name not in ("step", "seconds")] if log else []
    parts = [log[n : n + max(1, len(log) // CHART_PARTS)] for n in range(0, len(log), max(1, len(log) // CHART_PARTS))]
    trace = [{"stage": name, "energy": _mean(part, name)} for name in names for part in parts]
    with writing(folder / "training.html") as part:
        part.write_text(page.page("Training", [page.section("What was logged", charts.traces(trace))]))
    return {name: _mean(log[-max(1, len(log) // 10) :], name) for name in names}


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return sum(row.get(name, 0.0) for row in rows) / len(rows)
