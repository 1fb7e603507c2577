"""The step report: the runs of a MODEL's samplers, with a verdict on all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .run_report import RunReport
from .verdict import verdict

NOTHING = (
    "Nothing was reported: switch step report of Quantized Sampler Patch on, connect its MODEL to the sampler, and the "
    "sampler's output to this node. If the sampler's result came from the cache, change its seed."
)
STEPS = 4  # of each run, on the node


@dataclass
class StepReport:
    """The report of one patched MODEL, filled while samplers run. `show`: called with the text from time to time and
    at the end. `notes`: lines on how the MODEL was patched. `counted`: functions that give a line each when the report
    is read. `runs`: those of the last prompt that sampled with the MODEL."""

    show: Callable[[str], None] = lambda text: None
    notes: list[str] = field(default_factory=list)
    counted: list[Callable[[], str]] = field(default_factory=list)
    runs: list[RunReport] = field(default_factory=list)
    prompt: str | None = None

    def begin(self, run: RunReport, prompt: str | None) -> None:
        """A sampler starts. prompt: id of the executed prompt; runs of an earlier prompt are dropped."""
        if prompt != self.prompt:
            self.runs.clear()
        self.prompt = prompt
        self.runs.append(run)

    def text(self) -> str:
        """The verdict, the runs and the remarks."""
        runs = [verdict(self.runs), *("\n".join(run.lines()) for run in self.runs)] if self.runs else [NOTHING]
        return "\n\n".join([*runs, "\n".join(self.remarks())]).rstrip()

    def short(self) -> str:
        """The verdict and the remarks: while a sampler runs."""
        return "\n\n".join(filter(None, (verdict(self.runs), "\n".join(self.remarks()))))

    def on_node(self) -> str:
        """The text with the first steps of each run: a node has little room."""
        if not self.runs:
            return self.text()
        runs = ["\n".join(run.lines(most=STEPS)) for run in self.runs]
        return "\n\n".join(filter(None, (verdict(self.runs), *runs, "\n".join(self.remarks()))))

    def remarks(self) -> list[str]:
        """The notes, and the present lines of `counted`."""
        return [*self.notes, *(count() for count in self.counted)]

    def as_dicts(self) -> list[dict]:
        return [run.as_dict() for run in self.runs]
