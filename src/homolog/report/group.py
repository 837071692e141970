"""The report of a group: `run.json` and the files it names to one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from homolog.io.files import writing
from homolog.report import group_pictures, group_tables, tables, verdicts
from homolog.report.group_convergence import convergence
from homolog.report.group_members import Member, members_of, worst_first
from homolog.report.group_mixtures import mixtures
from homolog.report.page import NONE, figure, page, section
from homolog.report.runs import Run, read_run
from homolog.report.verdicts import tile

# Names of images in a sentence; the others are in a table below it.
NAMED = 3


def write_group_report(folder: Path) -> Path:
    """`report.html` in a group's folder, made from its `run.json` and the files named there.

    What the record does not hold is left out, and so is an image whose own file is gone; a file of the group that is
    named and gone is an error.
    """
    run = read_run(folder)
    members = worst_first(members_of(run))
    common = group_pictures.read_common(run, members)
    sections = [
        _top(run, members),
        group_tables.doubtful(members, run),
        group_pictures.the_mean(common, _fitting(_own(members))) if common else "",
        group_pictures.explorer(common) if common else "",
        convergence(run),
        mixtures(run, members),
        group_tables.images(members),
        group_pictures.worst(common) if common else "",
        group_tables.landmarks(run),
        group_tables.overlap(run),
        group_tables.regions(run, common),
        tables.provenance(run),
        _files(members),
    ]
    path = run.folder / "report.html"
    with writing(path) as part:
        part.write_text(page(_title(members), sections), encoding="utf-8")
    return path


def _title(members: Sequence[Member]) -> str:
    return f"Group of {len(members)} images"


def _top(run: Run, members: Sequence[Member]) -> str:
    """How many, how well, and whether to worry."""
    heading = f"<h1>{len(members)} images <small>in one common space</small></h1>"
    return f"<header>{heading}{_verdict(run, members)}{_tiles(run, members)}</header>"


# ---------------------------------------------------------------------------------------------------------------------
# Whether to worry


def _verdict(run: Run, members: Sequence[Member]) -> str:
    if not members:
        return ""
    doubted, folding = [each for each in members if each.doubts], [each for each in members if each.folds]
    said = [
        f"{_names(doubted)} {'does' if len(doubted) == 1 else 'do'} not fit" if doubted else "",
        f"the map{'s' if len(folding) > 1 else ''} of {_names(folding)} fold{'' if len(folding) > 1 else 's'}"
        if folding
        else "",
        "landmarks lie farther apart than before" if _is_worse(run) else "",
    ]
    told = "; ".join(each for each in said if each)
    fit = f"{_fitting(members)} of {len(members)} images fit"
    if told:
        return verdicts.poor(fit, told)
    return verdicts.fine(fit, "Nothing measured here speaks against it. Look at the pictures before you rely on it.")


def _is_worse(run: Run) -> bool:
    before, end = (run.number("landmarks", stage, "centroid_mm") for stage in ("before", "end"))
    return before is not None and end is not None and end > before


def _names(several: Sequence[Member]) -> str:
    named = [each.name for each in several[:NAMED]]
    more = len(several) - len(named)
    listed = [*named, f"{more} more"] if more else named
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def _own(members: Sequence[Member]) -> list[Member]:
    """Those by which the group was made, without those that were placed in it later."""
    return [each for each in members if each.place is not None]


def _fitting(members: Sequence[Member]) -> int:
    return sum(not each.doubts for each in members)


# ---------------------------------------------------------------------------------------------------------------------
# Figures


def _tiles(run: Run, members: Sequence[Member]) -> str:
    return verdicts.tiles([
        tile("images", str(len(members)) if members else None, f"{_fitting(members)} fit"),
        _keypoints(members),
        _matches(members),
        _landmarks(run),
        _folds(members),
        _inverse(members),
        tile("mean Dice", _known(run.number("overlap", "mean_dice"), ".3f"), "of labels handed on"),
        tile("time", tables.duration(run), escape(str(run.value("device") or ""))),
    ])  # fmt: skip


def _keypoints(members: Sequence[Member]) -> str:
    counts = [found for each in members if (found := each.said.number("keypoints")) is not None]
    return tile("keypoints", _many(sum(counts)), f"{_many(sum(counts) / len(counts))} an image") if counts else ""


def _matches(members: Sequence[Member]) -> str:
    """Each match is counted at both of its images, but for those of images placed later."""
    pairs = [(each.counts[0], each.counts[1] or 0) for each in _own(members)]
    matches, right = sum(all_ or 0 for all_, _ in pairs), sum(right for _, right in pairs)
    share = f"{figure(100 * right / matches, '.1f')} % of them right" if matches else ""
    return tile("matches", _many(matches / 2), share) if any(all_ is not None for all_, _ in pairs) else ""


def _landmarks(run: Run) -> str:
    stages = {stage: run.number("landmarks", stage, "centroid_mm") for stage in ("before", "linear", "end")}
    end = stages.pop("end")
    if end is None:
        return ""
    was = "".join(f'<span class="was">{figure(mm, ".2f")} →</span> ' for mm in stages.values() if mm is not None)
    names = [name for name, mm in stages.items() if mm is not None]
    said = " → ".join([*names, "end"]) if names else "at the end"
    return tile("landmarks to centroid", was + figure(end, ".2f"), f"mm, {said}")


def _folds(members: Sequence[Member]) -> str:
    fractions = [found for each in members if (found := each.said.number("folding", "fraction")) is not None]
    least = [found for each in members if (found := each.said.number("folding", "least")) is not None]
    if not fractions:
        return ""
    smallest = f"smallest determinant {figure(min(least), '.2f')}" if least else ""
    return tile("maps that fold", str(sum(found > 0 for found in fractions)), smallest)


def _inverse(members: Sequence[Member]) -> str:
    means = [found for each in members if (found := each.said.number("inverse", "mean_mm")) is not None]
    most = [found for each in members if (found := each.said.number("inverse", "max_mm")) is not None]
    largest = f"largest {figure(max(most), '.2f', 'mm')}" if most else ""
    return tile("inverse error", figure(sum(means) / len(means), ".3f", "mm"), largest) if means else ""


def _known(value: float | None, pattern: str) -> str | None:
    return None if value is None else figure(value, pattern)


def _many(count: float) -> str:
    """A count, its thousands set apart."""
    return f"{count:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _files(members: Sequence[Member]) -> str:
    """What lies in the folder of each image."""
    kinds = {name: str(path) for each in members for name, path in each.said.section("outputs").items() if path}
    said = ", ".join(f"<code>{escape(Path(path).name)}</code>" for path in kinds.values())
    return section("Each image's own files", f"<p>In a folder of its name: {said or NONE}.</p>" if kinds else "")
