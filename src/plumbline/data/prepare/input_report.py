"""The report of ``prepare`` on its inputs: what was left out of them, and what was assumed."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from plumbline.console.text import counted, percent
from plumbline.geometry.cleaning import stray_reason
from plumbline.records import Sample
from plumbline.reporting import Reporter

_NUMBER = re.compile(r"\d[\d,.]*")


class InputReport(NamedTuple):
    """The report on one mesh or real scan.

    Attributes:
        title: of the input.
        left_out: share of a scan's points that are not connected to the object.
        dropped: number of a scan's rows that are missing returns.
        notes: what was left out or assumed while its file was read, a phrase each.
    """

    title: str
    left_out: float
    dropped: int
    notes: tuple[str, ...]


def input_report(title: str, sample: Sample) -> InputReport | None:
    """Report on the input that a sample was made from; None if there is nothing to say."""
    report = InputReport(title, sample.left_out, sample.dropped, sample.notes)
    return report if any(report[1:]) else None


def say_input_reports(inputs: Sequence[InputReport], report: Reporter) -> None:
    """Report what scans lost in total, each kind of note once, and a warning for each that lost much."""
    inputs = sorted(inputs)
    dropped = [one.dropped for one in inputs if one.dropped]
    if dropped:
        report.say(f"  {_scans(dropped)}: {counted(sum(dropped), 'missing return')} left out")
    shares = [one.left_out for one in inputs if one.left_out]
    if shares:
        report.say(
            f"  {_scans(shares)} lost points that are not connected to the object, "
            f"{percent(sum(shares) / len(shares), 1)} on average (--clean off keeps them)"
        )
    kinds: dict[str, list[tuple[str, str]]] = {}
    for one in inputs:
        for note in one.notes:
            kinds.setdefault(_NUMBER.sub("0", note), []).append((one.title, note))
    for (title, note), *others in kinds.values():
        which = title if not others else f"{1 + len(others)} files, such as {title}"
        report.say(f"  {which}: {note}")
    for one in inputs:
        if (reason := stray_reason(one.left_out)) is not None:
            report.say(f"  warning: {one.title}: {reason}")


def _scans(scans: Sequence[object]) -> str:
    return counted(len(scans), "real scan")
