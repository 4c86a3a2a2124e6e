"""What ``prepare`` says at its end of real scans: what they lost, and what was assumed in reading them."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from plumbline.console.text import counted
from plumbline.geometry.cleaning import stray_reason
from plumbline.records import Sample
from plumbline.reporting import Reporter

_NUMBER = re.compile(r"\d[\d,.]*")


class ScanReport(NamedTuple):
    """What there is to say of one real scan.

    Attributes:
        title: of the scan.
        left_out: share of its points that are not connected to the object.
        dropped: number of its rows that are missing returns.
        notes: what was assumed while its file was read, a phrase each.
    """

    title: str
    left_out: float
    dropped: int
    notes: tuple[str, ...]


def scan_report(title: str, sample: Sample) -> ScanReport | None:
    """Report on a real scan; None if there is nothing to say of it."""
    report = ScanReport(title, sample.left_out, sample.dropped, sample.notes)
    return report if any(report[1:]) else None


def say_scan_reports(scans: Sequence[ScanReport], report: Reporter) -> None:
    """Say what scans lost, all together, and name those that lost much; each kind of note comes once."""
    scans = sorted(scans)
    dropped = [scan.dropped for scan in scans if scan.dropped]
    if dropped:
        report.say(f"  {_scans(dropped)}: {counted(sum(dropped), 'missing return')} left out")
    shares = [scan.left_out for scan in scans if scan.left_out]
    if shares:
        report.say(
            f"  {_scans(shares)} lost points that are not connected to the object, "
            f"{sum(shares) / len(shares):.1%} on average (--clean off keeps them)"
        )
    kinds: dict[str, list[tuple[str, str]]] = {}
    for scan in scans:
        for note in scan.notes:
            kinds.setdefault(_NUMBER.sub("0", note), []).append((scan.title, note))
    for (title, note), *others in kinds.values():
        which = title if not others else f"{_scans([title, *others])}, such as {title}"
        report.say(f"  {which}: {note}")
    for scan in scans:
        if (reason := stray_reason(scan.left_out)) is not None:
            report.say(f"  warning: {scan.title}: {reason}")


def _scans(scans: Sequence[object]) -> str:
    return counted(len(scans), "real scan")
