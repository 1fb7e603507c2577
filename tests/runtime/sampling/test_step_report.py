"""What is reported of a run: counted against an independent count, and nothing changed by it."""

import re
import time

import comfy.model_management
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from x2v_quant.runtime.sampling import PrecisionSchedule, StepReport, patched
from x2v_quant.runtime.sampling.clock import StepClock
from x2v_quant.runtime.sampling.recorder import throttled
from x2v_quant.runtime.sampling.schedule import parse_layers
from x2v_quant.runtime.sampling.step_report import NOTHING

pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture
def core_model(wan_files):
    import json

    import comfy.sd
    import comfy.utils

    config = {"config": json.dumps({"transformer": {"text_dim": 64}})}
    tensors = comfy.utils.load_torch_file(wan_files["int8-channel"][0])
    return comfy.sd.load_diffusion_model_state_dict(tensors, metadata=config)


@pytest.fixture
def reported(sample):
    """reported(model, schedule, **how to sample) -> (report, latents)"""

    def run(model, schedule=None, **how):
        report = StepReport()
        return report, sample(patched(model, schedule, report=report), **how)

    return run


def test_it_changes_nothing(load, sample, reported):
    model = load()
    expected = sample(model)
    report, latents = reported(model)
    assert torch.equal(latents, expected)
    assert not any(m._forward_pre_hooks for m in model.model.modules())
    (run,) = report.runs
    assert len(run.steps()) == 4


def test_multiplications_are_those_that_torch_counts(core_model, sample, reported):
    with FlopCounterMode(display=False) as counter:
        sample(core_model, steps=1)
    counts = counter.get_flop_counts()["Global"]
    linear = sum(counts.get(op, 0) for op in (torch.ops.aten.mm, torch.ops.aten.addmm))
    report, _ = reported(core_model, steps=1)
    (run,) = report.runs
    assert 2 * sum(run.work.values()) == linear
    assert run.steps()[0]["quantized"] == 0
    assert "WAN21" in run.lines()[0]


def test_shares_by_step_and_layer(load, reported):
    model = load()
    report, _ = reported(model, PrecisionSchedule(first=1, patterns=parse_layers("blocks.0")))
    (run,) = report.runs
    shares = [step["quantized"] for step in run.steps()]
    total = sum(run.work.values())
    assert shares == [0.0] + [sum(n for name, n in run.work.items() if name.startswith("blocks.1.")) / total] * 3
    assert 0.4 < shares[1] < 0.5
    assert run.groups == model.model.x2v_plan.summary()


def test_a_step_that_is_partly_in_high_precision(load, reported):
    """The middle of the first step is evaluated after the sampler has told its end: in the second one's time."""
    schedule = PrecisionSchedule(first=1)
    (run,) = reported(load(), schedule, sampler="dpmpp_2s_ancestral")[0].runs
    first, second, third, _ = [(step["evaluations"], step["quantized"]) for step in run.steps()]
    assert first == (1, 0.0)
    assert third == (2, 2 * second[1])


def test_more_steps_than_the_schedule_has(load, reported):
    (run,) = reported(load(), sampler="dpm_adaptive")[0].runs
    assert len(run.evaluations) > 12
    assert [step["evaluations"] for step in run.steps()] == [3] * 4


@pytest.mark.parametrize("scheme,least", [("reference", 0.9), ("dequant", 0.0)])
def test_what_is_dequantized_is_not_quantized(scheme, least, load, reported):
    (run,) = reported(load(scheme=scheme))[0].runs
    assert all(step["quantized"] >= least for step in run.steps())
    assert any(step["quantized"] > 0 for step in run.steps()) == bool(least)


def test_tokens_and_evaluations(load, reported):
    # 1 x 8 x 8 latent positions in patches of 1 x 2 x 2: 16 tokens; cfg evaluates prompt and negative prompt
    (run,) = reported(load(), cfg=3.0, steps=2)[0].runs
    steps = run.steps()
    for step in steps:
        assert step["tokens_per_second"] * step["seconds"] == pytest.approx(2 * 16)
    assert [step["sigma"] for step in steps] == run.sigmas[:2]


def test_seconds_are_within_the_run(load, reported):
    begin = time.perf_counter()
    (run,) = reported(load())[0].runs
    taken = [step["seconds"] for step in run.steps()]
    assert all(seconds > 0 for seconds in taken)
    assert sum(taken) <= time.perf_counter() - begin


def test_a_compiled_model_is_not_counted_but_timed(load, reported):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    torch._dynamo.reset()
    model = load()
    set_torch_compile_wrapper(model, backend="eager", keys=["diffusion_model.blocks.0.ffn.0"])
    (run,) = reported(model)[0].runs
    assert run.work == {}
    assert [(step["quantized"], step["evaluations"]) for step in run.steps()] == [(None, 1)] * 4
    assert "quantized" not in "\n".join(run.lines())
    torch._dynamo.reset()


def test_runs_of_one_prompt_stay_those_of_another_go(load, sample):
    from comfy_execution.utils import CurrentNodeContext

    report = StepReport()
    clone = patched(load(), report=report)
    for prompt, node in (("a", "3"), ("a", "4"), ("b", "3")):
        with CurrentNodeContext(prompt, node):
            sample(clone, steps=1)
        expected = {"a3": ["3"], "a4": ["3", "4"], "b3": ["3"]}[prompt + node]
        assert [run.sampler for run in report.runs] == expected
    assert "sampler 3: 1 of 1 steps" in report.text()


def test_a_run_that_was_interrupted_is_not_in_the_next_runs_report(load, sample):
    from comfy_execution.utils import CurrentNodeContext

    report = StepReport()
    clone = patched(load(), report=report)

    def interrupt(step, *_):
        raise comfy.model_management.InterruptProcessingException

    with CurrentNodeContext("a", "3"), pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(clone, steps=4, callback=interrupt)
    with CurrentNodeContext("b", "3"):
        sample(clone, steps=4)
    assert "4 of 4 steps" in report.text()
    (run,) = report.runs
    assert len(run.steps()) == 4 and [at for at, _ in run.evaluations] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "scheme,words",
    [("reference", r"\d\d% in int8"), ("dequant", "all in 16 or 32 bits: the weights save memory only")],
)
def test_it_begins_with_steps_seconds_and_precision(scheme, words, load, reported):
    report, _ = reported(load(scheme=scheme))
    head, blank, run = report.text().splitlines()[:3]
    assert re.fullmatch(rf"4 steps, [\d.e-]+ s each, {words}\.", head) and blank == ""
    assert run == report.runs[0].lines()[0]


def test_a_model_of_core_begins_with_steps_and_seconds(core_model, reported):
    report, _ = reported(core_model, steps=1)
    assert re.match(r"1 steps?, [\d.e-]+ s each\.\n", report.text())


def test_a_node_shows_a_few_steps_and_while_sampling_one_line(load, reported):
    report, _ = reported(load(), steps=6)
    report.notes = ["q, k, v"]
    shown, whole = report.on_node().splitlines(), report.text().splitlines()
    cut = whole.index(next(line for line in whole if line.startswith("- step 5")))
    assert shown == [*whole[:cut], "- ... 2 more: the output report", "", "q, k, v"]
    assert report.short().splitlines() == [whole[0], "", "q, k, v"]
    assert StepReport().on_node() == NOTHING


def test_nothing_was_sampled():
    assert StepReport().text() == NOTHING
    counts = iter(["1 graph", "2 graphs"])
    report = StepReport(notes=["q, k, v"], counted=[lambda: next(counts)])
    assert report.text() == f"{NOTHING}\n\nq, k, v\n1 graph"
    assert report.remarks() == ["q, k, v", "2 graphs"]


def test_it_is_shown_while_the_sampler_runs_and_at_the_end(load, sample):
    shown = []
    sample(patched(load(), report=StepReport(shown.append)))
    assert shown[0].startswith("1 of 4 steps, ")
    assert shown[-1].startswith("4 steps, ")


def test_it_is_not_shown_too_often():
    shown = []
    show = throttled(shown.append, every=3600)
    for number in range(5):
        show(lambda number=number: str(number))
    assert shown == ["0"]


def test_a_clock_without_marks_has_no_seconds():
    clock = StepClock(torch.device("cpu"))
    assert clock.seconds() == []
    clock.mark()
    assert clock.seconds() == []


@pytest.mark.gpu
def test_cuda_events_time_what_the_gpu_does():
    clock = StepClock(torch.device("cuda"))
    x = torch.randn(4096, 4096, device="cuda")
    clock.mark()
    for _ in range(50):
        x @ x
    clock.mark()
    clock.wait()
    begin = time.perf_counter()
    for _ in range(50):
        x @ x
    torch.cuda.synchronize()
    (seconds,) = clock.seconds()
    assert seconds > (time.perf_counter() - begin) / 20
