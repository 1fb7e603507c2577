"""The report on a machine in words."""

from collections import Counter

from ..schemes.plan import TRANSCODE

# heading of the machine's part in Kernel Report, after the models'
MACHINE = "This machine:"
# what users call the formats of the summary -> our name
USUAL = {"int8": "int8-channel", "fp8": "fp8-channel", "int4": "int4-g128"}
FAST, MEMORY = "fast", "saves memory only"
WORDS = (
    "fast: multiplied in int8, fp8 or 4 bits. saves memory only: turned back to 16 or 32 bits first. This says what "
    "the hardware can do; nothing was timed."
)
# a reason that this many kernels share is written once, for all of them
SHARED = 2


def lines(report: dict) -> list[str]:
    """`machine_report` in words: the summary, then a line per format and per kernel, best first, then one per library.
    No indentation: a node draws none."""
    found = [*summary(report), "", f"{report['machine']}, {report['system']}, torch {report['torch']}", WORDS, ""]
    shared, everywhere = _shared(report), _everywhere(report)
    for format_name, kernels in report["kernels"].items():
        found.append(f"{format_name}: {_good_for(report['formats'][format_name])}")
        found += [
            _kernel(report, format_name, name, reason)
            for name, reason in kernels.items()
            if reason not in shared and name not in everywhere
        ]
    found += ["every format:", *(f"- {name}: yes, {good_for}" for name, good_for in everywhere.items())]
    for reason in shared:
        found += ["", f"Not here ({reason}):", *_who(report, reason)]
    found += ["", "libraries:"]
    return found + [_library(name, library, _system(report)) for name, library in report["libraries"].items()]


def summary(report: dict) -> list[str]:
    """One or two lines: what is fast, what to install, and which files to pick."""
    rows = {word: report["formats"][name] for word, name in USUAL.items()}
    words = ", ".join(f"{word} {row['good_for']}" for word, row in rows.items())
    found = [f"{words}. {_to_install(report['formats'], rows)}"]
    if rows["int8"]["good_for"] == MEMORY and rows["int8"]["reason"]:
        found.append(f"Why int8 is not fast: {rows['int8']['reason']}.")
    elif rows["fp8"]["good_for"] == MEMORY:
        found.append(f"Pick int8 files on this machine. For fp8 files, {TRANSCODE}.")
    return found


def _to_install(formats: dict, rows: dict) -> str:
    """Of `rows`, the usual formats; of the others only if there is nothing for these."""
    usual = dict.fromkeys(row["install"] for row in rows.values() if row["install"])
    if usual:
        return f"To make more of them fast: {'; '.join(usual)}."
    others: dict[str, list[str]] = {}
    for name, row in formats.items():
        if row["install"]:
            others.setdefault(row["install"], []).append(name)
    words = "; ".join(f"for {_listed(names)} files: {line}" for line, names in others.items())
    return f"Nothing to install, except {words}." if others else "Nothing to install."


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _good_for(row: dict) -> str:
    return f"{row['good_for']}. To make it fast: {row['install']}" if row["install"] else row["good_for"]


def _everywhere(report: dict) -> dict[str, str]:
    """The kernels that run for every format, and what they are good for."""
    first, *others = report["good_for"].values()
    return {name: good_for for name, good_for in first.items() if all(name in other for other in others)}


def _shared(report: dict) -> list[str]:
    """The reasons that several kernels have in common, but for libraries, which have their own lines."""
    lacks = report["lacks"]
    counts = Counter(
        reason
        for format_name, kernels in report["kernels"].items()
        for name, reason in kernels.items()
        if reason is not None and name not in lacks[format_name]
    )
    return [reason for reason, count in counts.items() if count >= SHARED]


def _who(report: dict, reason: str) -> list[str]:
    """A line per format: its kernels with this reason."""
    who = {
        format_name: [name for name, other in kernels.items() if other == reason]
        for format_name, kernels in report["kernels"].items()
    }
    return [f"- {format_name}: {', '.join(names)}" for format_name, names in who.items() if names]


def _kernel(report: dict, format_name: str, name: str, reason: str | None) -> str:
    if reason is None:
        return f"- {name}: yes, {report['good_for'][format_name][name]}"
    library = report["lacks"][format_name].get(name)
    if library is None or report["formats"][format_name]["install"]:
        return f"- {name}: no, {reason}"
    if not report["libraries"][library]["install"]:
        return f"- {name}: no, {library} is not for {_system(report)}"
    return f"- {name}: optional, needs {library}"


def _system(report: dict) -> str:
    return {"Darwin": "macOS"}.get(report["system"], report["system"])


def _library(name: str, library: dict, system: str) -> str:
    title = f"- {name} {library['version']}" if library["version"] else f"- {name}"
    if library["problem"] is None:
        return f"{title}: found"
    if not library["install"]:
        return f"{title}: not for {system}"
    if not library["useful"]:
        return f"{title}: of no use on this machine"
    if not library["optional"]:
        return f"{title}: {library['problem']}"
    if library["installed"]:
        return f"{title}: optional, {library['problem']}"
    return f"{title}: optional, {library['install']}"
