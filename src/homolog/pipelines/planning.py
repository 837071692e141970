"""What a group will take before any of it is computed: tasks, minutes, memory and room on disk, from headers alone.

Costs were measured on one machine and are kept in yardsticks: one is what scipy's gaussian_filter of 256^3 float32 at
sigma 2 takes. A short run of the same filter says how long that is here. What nobody knows before, such as how many
keypoints there are or how soon maps converge, is set to what was usual on virtual patients. CPU minutes of such groups
were right to a factor of 1.5, so a factor of two is a fair guess for others; minutes until the end hold on a machine
that does nothing else, and leave out the seconds in which processes begin.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from homolog.errors import BadInput
from homolog.groupwise.configs import FrogConfig
from homolog.kernels.threads import thread_count
from homolog.matching.configs import MatchConfig
from homolog.pipelines import planning_costs as costs
from homolog.pipelines.planning_facts import Described, Done, Wanted

SMALL, SMALL_RUNS = 128, 3
# The yardstick's volume is eight times as large and leaves the cache: 9.2 times the time.
YARDSTICK_OF_SMALL = 9.2
MINUTE, GB = 60.0, 1e9


@dataclass(frozen=True)
class Stage:
    """A part of the work, as far as it is not done.

    tasks, done   all, and how many of them are done
    cpu_minutes   of all processors together
    wall_minutes  until it is finished
    task_bytes    of memory, in the process of the largest task
    disk_bytes    of all its files, those that are there already included
    """

    name: str
    tasks: int
    done: int
    cpu_minutes: float
    wall_minutes: float
    task_bytes: float
    disk_bytes: float


@dataclass(frozen=True)
class Plan:
    """Stages, one after the other.

    yardstick_s  how fast this machine was taken to be
    """

    stages: tuple[Stage, ...]
    images: int
    pairs: int
    jobs: int
    threads: int
    yardstick_s: float

    @property
    def cpu_minutes(self) -> float:
        return sum(stage.cpu_minutes for stage in self.stages)

    @property
    def wall_minutes(self) -> float:
        return sum(stage.wall_minutes for stage in self.stages)

    @property
    def disk_bytes(self) -> float:
        return sum(stage.disk_bytes for stage in self.stages)

    @property
    def memory_bytes(self) -> float:
        """Of all processes that are at work at once, at the peak."""
        return max(stage.task_bytes * max(1, min(self.jobs, stage.tasks - stage.done)) for stage in self.stages)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Names of columns, and a row a stage and one for all together."""
        columns = ["stage", "tasks", "done", "CPU min", "minutes", "GB a task", "GB on disk"]
        rows = [[one.name, str(one.tasks), str(one.done), *_figures(one)] for one in self.stages]
        sums = [self.cpu_minutes, self.wall_minutes, None, self.disk_bytes / GB]
        return columns, [*rows, ["all", "", "", *(_short(value) for value in sums)]]


def plan(
    images: Sequence[Described],
    wanted: Wanted = Wanted(),
    *,
    done: Done = Done(),
    pairs_a_task: int = 1,
    jobs: int = 1,
    threads: int | None = None,
    yardstick_s: float | None = None,
) -> Plan:
    """What is left to do for a group of these images, and what it takes.

    pairs_a_task  how many pairs of one image are matched as one task, at most
    jobs          tasks at once, which share the threads; those of this process unless said
    yardstick_s   how fast the machine is; measured where it is not said, in 0.2 s
    """
    _require_sensible(images, wanted, jobs)
    machine = _Machine(jobs, threads or thread_count(), yardstick_s or yardstick_seconds())
    numbers = [_keypoints(one, wanted) for one in images]
    later = partners_after(len(images), wanted.partners)
    stages = (
        _finding(images, numbers, wanted, machine),
        _matching(numbers, later, wanted, done, pairs_a_task, machine),
        _drawing(images, numbers, later, wanted, done, machine),
        _ways_back(images, wanted, done, machine),
        _pictures(images, wanted, done, machine),
    )
    return Plan(stages, len(images), round(float(later.sum())), jobs, machine.threads, machine.yardstick_s)


def yardstick_seconds() -> float:
    """How long a yardstick takes on this machine, told by an eighth of it."""
    from scipy.ndimage import gaussian_filter

    volume = np.random.default_rng(0).normal(size=(SMALL,) * 3).astype(np.float32)
    clock = [time.thread_time()]
    for _ in range(SMALL_RUNS):
        gaussian_filter(volume, 2)
        clock.append(time.thread_time())
    # the quickest: others were disturbed
    return YARDSTICK_OF_SMALL * min(after - before for before, after in pairwise(clock))


def partners_after(count: int, partners: int | None) -> np.ndarray:
    """(N,) how many of each image's partners come after it, in all pairs or about so with chosen ones."""
    after = np.arange(count - 1, -1, -1, dtype=np.float64)
    if partners is None or partners >= count - 1:
        return after
    return after * min(1.0, costs.ONE_SIDED * partners / (count - 1))


# ---------------------------------------------------------------------------------------------------------------------
# Stages


@dataclass(frozen=True)
class _Machine:
    jobs: int
    threads: int
    yardstick_s: float

    def stage(
        self,
        name: str,
        yardsticks: Sequence[float] | np.ndarray,
        task_bytes: float,
        disk_bytes: float,
        done: int = 0,
        tasks: int | None = None,
    ) -> Stage:
        """The costs of tasks that are left as a stage; `tasks` where there are others than those and the done ones."""
        seconds = np.asarray(yardsticks, np.float64) * self.yardstick_s
        total = len(seconds) + done if tasks is None else tasks
        wall = self._wall_seconds(seconds, total - done)
        return Stage(name, total, done, seconds.sum() / MINUTE, wall / MINUTE, costs.PROCESS + task_bytes, disk_bytes)

    def _wall_seconds(self, seconds: np.ndarray, left: int) -> float:
        """Tasks side by side, each on its process's share of the threads; none is finished before the longest."""
        workers = max(1, min(self.jobs, left))
        alone = 1 - costs.SHARED + costs.SHARED / max(1, self.threads // self.jobs)
        crowded = max(1.0, workers / self.threads)
        longest = float(seconds.max()) if len(seconds) and len(seconds) == left else 0.0
        return alone * crowded * max(float(seconds.sum()) / workers, longest)


def _finding(images: Sequence[Described], numbers: Sequence[float], wanted: Wanted, machine: _Machine) -> Stage:
    left = [(one, number) for one, number in zip(images, numbers) if one.keypoints is None]
    each = [_cost_of_finding(one, number, wanted) for one, number in left]
    most = max((_bytes_of_finding(one, wanted) for one, _ in left), default=0.0)
    written = _keypoint_bytes(wanted) * sum(numbers)
    return machine.stage("keypoints", each, most, written, done=len(images) - len(left))


def _cost_of_finding(image: Described, number: float, wanted: Wanted) -> float:
    looked, smoothed = image.voxels_at(_looked_mm(wanted)), _smoothed_voxels(image, wanted)
    read = costs.READ * image.voxels + costs.SMOOTH * smoothed
    return read + costs.LOOK[wanted.method] * looked + _describing(wanted) * number


def _bytes_of_finding(image: Described, wanted: Wanted) -> float:
    held = costs.IMAGE_VOXEL * image.voxels + costs.SMOOTHED_VOXEL * _smoothed_voxels(image, wanted)
    return held + costs.LOOKED_VOXEL[wanted.method] * image.voxels_at(_looked_mm(wanted))


def _smoothed_voxels(image: Described, wanted: Wanted) -> float:
    """All of an image that is looked at on coarser voxels, or none."""
    return image.voxels if image.voxels_at(_looked_mm(wanted)) < image.voxels else 0.0


def _matching(
    numbers: Sequence[float], later: np.ndarray, wanted: Wanted, done: Done, pairs_a_task: int, machine: _Machine
) -> Stage:
    usual = float(np.mean(numbers))
    pairs = float(later.sum())
    compared = costs.COMPARE * _numbers(wanted) * usual**2 * _alike(wanted.matching)
    tasks = int(np.ceil(later / pairs_a_task).sum())
    left = max(0.0, pairs - done.pairs)
    each = left / max(1, tasks - done.tasks)
    tasks_left = np.full(max(0, tasks - done.tasks), each * (compared + 2 * costs.OPEN))
    in_memory = 2 * max(numbers) * (_keypoint_bytes(wanted) + 8 * _numbers(wanted))
    written = costs.MATCH * pairs * usual * _matched(wanted.matching)
    return machine.stage("matches", tasks_left, in_memory, written, done=min(tasks, done.tasks))


def _drawing(
    images: Sequence[Described],
    numbers: Sequence[float],
    later: np.ndarray,
    wanted: Wanted,
    done: Done,
    machine: _Machine,
) -> Stage:
    """One task of this process; which reads all matches first."""
    config, pairs = wanted.drawing.chosen(), float(later.sum())
    share = _matched(wanted.matching)
    points, matches = sum(numbers), pairs * float(np.mean(numbers)) * share
    # a step passes by points that no other image has
    moved = points * (1 - (1 - share) ** (2 * pairs / len(images)))
    steps = config.levels * config.steps + min(config.linear_steps, costs.LINEAR_STEPS if config.tolerance else np.inf)
    looked = min(pairs, costs.LOOKED_AT * len(images)) if config.start == "agreement" else 0.0
    cost = (
        costs.OPEN * (pairs + len(images))
        + costs.AGREE * looked
        + steps * (costs.STEP_OF_POINT * moved + costs.STEP_OF_MATCH * matches)
    )
    maps = costs.CONTROL * len(images) * _controls(images, config)
    in_memory = costs.DRAWN_POINT * points + costs.DRAWN_MATCH * matches + maps
    alone = _Machine(1, machine.threads, machine.yardstick_s)
    return alone.stage("maps", [] if done.maps else [cost], in_memory, maps, done=int(done.maps))


def _ways_back(images: Sequence[Described], wanted: Wanted, done: Done, machine: _Machine) -> Stage:
    nodes = [costs.WIDER * one.voxels_at(costs.LATTICE_MM) for one in images]
    layers = costs.LAYERS * wanted.drawing.chosen().levels
    each = [costs.BACK * layers * n + costs.FOLD * one.voxels_at(costs.FOLDS_MM) for n, one in zip(nodes, images)]
    left = each[done.backs :]
    return machine.stage(
        "ways back", left, costs.SOLVED_NODE * max(nodes), costs.BACK_NODE * sum(nodes), done=done.backs
    )


def _pictures(images: Sequence[Described], wanted: Wanted, done: Done, machine: _Machine) -> Stage:
    """The mean, of this process; and labels, an image a task."""
    mean_mm = wanted.spacing_mm or float(np.median([np.prod(one.spacing_mm) for one in images])) ** (1 / 3)
    voxels = float(np.median([one.voxels_at(mean_mm) for one in images])) * costs.LARGER
    mean = sum(costs.READ * one.voxels + costs.MEAN * voxels for one in images) + 3 * costs.WRITE * voxels
    targets = list(images)[wanted.annotated :] if wanted.annotated else []
    votes = [(wanted.annotated * (costs.VOTE + costs.READ) + costs.READ + costs.WRITE) * one.voxels for one in targets]
    largest = max(one.voxels for one in images)
    in_memory = max(
        costs.MEAN_VOXEL * voxels + costs.IMAGE_VOXEL * largest, costs.VOTED_VOXEL * largest if targets else 0.0
    )
    written = costs.MEAN_WRITTEN * voxels + costs.VOTED_WRITTEN * sum(one.voxels for one in targets)
    if done.pictures:
        return machine.stage("pictures", [], in_memory, written, done=1 + len(targets))
    alone = _Machine(1, machine.threads, machine.yardstick_s).stage("", [mean], 0.0, 0.0)
    labels = machine.stage("", votes, 0.0, 0.0)
    return Stage(
        "pictures",
        1 + len(targets),
        0,
        alone.cpu_minutes + labels.cpu_minutes,
        alone.wall_minutes + labels.wall_minutes,
        costs.PROCESS + in_memory,
        written,
    )


# ---------------------------------------------------------------------------------------------------------------------
# What they are made of


def _keypoints(image: Described, wanted: Wanted) -> float:
    """How many there are, or may be."""
    if image.keypoints is not None:
        return image.keypoints
    found = costs.FOUND[wanted.method] * image.voxels_at(_looked_mm(wanted))
    return min(found, wanted.most or np.inf)


def _looked_mm(wanted: Wanted) -> float | None:
    """What the detector's voxels are made, where that can be said."""
    return wanted.sampling_mm if wanted.method in costs.RESAMPLED else None


def _keypoint_bytes(wanted: Wanted) -> float:
    return costs.KEYPOINT[wanted.method] + 4 * _numbers(wanted)


def _numbers(wanted: Wanted) -> int:
    """Of a descriptor."""
    return costs.NUMBERS[wanted.method] if wanted.numbers is None else wanted.numbers


def _describing(wanted: Wanted) -> float:
    """Of a keypoint."""
    return costs.DESCRIBE[wanted.method] if wanted.numbers is None else costs.LEARNED


def _alike(matching: MatchConfig) -> float:
    """The share of pairs of keypoints that are compared at all: the more, the larger a ratio of scales is allowed."""
    if matching.scale_ratio is None:
        return 1.0
    return min(1.0, costs.ALIKE * (0.5 + 0.5 * np.log(max(1.0, matching.scale_ratio)) / np.log(costs.USUAL_RATIO)))


def _matched(matching: MatchConfig) -> float:
    """Matches of two images, as a share of a keypoints' number; where one side alone looks, each of its points is."""
    return costs.MATCHED if matching.mutual else 1.0


def _controls(images: Sequence[Described], config: FrogConfig) -> float:
    """Of one image in all layers of all levels."""
    box_mm = costs.LARGER * np.max([np.multiply(one.shape, one.spacing_mm) for one in images], axis=0)
    spacings = [config.spacing_mm / 2**level for level in range(config.levels)]
    return costs.LAYERS * float(sum(np.prod(box_mm / spacing + 3) for spacing in spacings))


def _require_sensible(images: Sequence[Described], wanted: Wanted, jobs: int) -> None:
    if len(images) < 2:
        raise BadInput(f"a group has at least two images, got {len(images)}", "name more volumes")
    if wanted.method not in costs.LOOK:
        raise BadInput(f"nobody has measured the detector {wanted.method!r}", f"--keypoints {' or '.join(costs.LOOK)}")
    if wanted.partners is not None and wanted.partners < 2:
        raise BadInput(f"{wanted.partners} partners of each image leave a group in pieces", "--partners 20")
    if jobs < 1:
        raise BadInput(f"--jobs is at least 1, got {jobs}", "--jobs 1")


def _figures(stage: Stage) -> list[str]:
    values = (stage.cpu_minutes, stage.wall_minutes, stage.task_bytes / GB, stage.disk_bytes / GB)
    return [_short(value) for value in values]


def _short(value: float | None) -> str:
    """Two digits: more would promise what nobody knows."""
    if value is None:
        return ""
    return f"{value:.2g}" if value < 100 else f"{round(value, 1 - int(np.log10(value))):.0f}"
