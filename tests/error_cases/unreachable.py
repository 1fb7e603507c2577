"""Raise sites that no workflow reaches, and why."""

from dataclasses import dataclass

from x2v_quant.core.features import rotates_int8

# files, or folders, that only the command line runs and that have tests of every error by themselves: beside a file of
# the pack, or what needs servers and trained models
TESTED_ELSEWHERE = (
    "__main__.py",
    "advice/command.py",
    "benchmarks/",
    "cli/",
    "common/ending.py",
    "common/typed_numbers.py",
    "core/on_path.py",
    "demo/__main__.py",
    "demo/contact_sheet.py",
    "demo/graph.py",
    "demo/install.py",
    "demo/memory.py",
    "demo/prompts.py",
    "demo/reading.py",
    "demo/recipe.py",
    "demo/run.py",
    "demo/scenes.py",
    "demo/video.py",
    "dev.py",
    "headless/",
    "kernels/timing/",
    "reports/checkpoint.py",
    "reports/checkpoint_text.py",
    "reports/soundness.py",
)
# all that only the command line runs
COMMAND_LINE = (
    *TESTED_ELSEWHERE,
    "comparing/command.py",
    "comparing/files.py",
    "comparing/synthetic.py",
    "converting/casting.py",
    "converting/command.py",
    "converting/convert.py",
    "converting/job.py",
    "converting/layer_formats.py",
    "converting/layer_rounding.py",
    "converting/lora.py",
    "converting/measuring.py",
    "converting/options.py",
    "converting/rotation.py",
    "converting/search.py",
    "converting/source.py",
    "converting/weights.py",
)


@dataclass(frozen=True)
class Row:
    """`path` of the pack, `text`: part of what is raised there, "" for all of the file; `reason`: why no
    workflow raises it. `command`: a command does."""

    path: str
    text: str
    reason: str
    command: bool = False

    def is_for(self, site) -> bool:
        return site.path == self.path and self.text in site.text


LISTED = "the nodes' lists have only what is there; x2v-quant inspect and convert take any path"
CONVERT = "x2v-quant convert"
LIBRARY = "takes a release of the kernel library that lacks it; Kernel Report tells it, tests/kernels/test_libraries.py"
ADVISE = "x2v-quant advise; Kernel Report names no GPU and no model; tests/advice"
GUARD = "guards against a mistake in this pack's own tables"

UNREACHABLE = (
    Row("__init__.py", "needs ComfyUI", "takes an older ComfyUI; tests/test_import.py"),
    *(Row(f"advice/{file}.py", "", ADVISE) for file in ("footprint", "gpus", "models", "size")),
    Row(
        "calibration/files.py", "is gone, or another file", "takes a file that is lost; tests/calibration/test_files.py"
    ),
    Row("checkpoints/folder.py", "is a folder without a model file", LISTED, True),
    Row("checkpoints/folder.py", "is a device or a pipe", LISTED, True),
    Row("checkpoints/folder.py", "Check the path", LISTED, True),
    Row("checkpoints/index_file.py", "Check the file and its permissions", "takes a user who may not"),
    Row("checkpoints/markers.py", "comfy-kitchen cannot compute", "takes an older one; tests/checkpoints")
    if rotates_int8()
    else Row("checkpoints/layer_markers.py", "which groups of", "takes a newer comfy-kitchen"),
    Row("loading/common.py", "a newer ComfyUI than this one", "takes an older one; tests/loading/test_dit.py"),
    Row("checkpoints/layer_markers.py", "the header marks", "a note, no error"),
    Row("checkpoints/torch_file.py", "cause, remedy).error()", "takes an older torch; tests/checkpoints"),
    Row("checkpoints/torch_file.py", "unsupported global", "torch's own words, which are looked for"),
    Row("comparing/metrics.py", "SSIM needs frames", "Compare asks for none of smaller frames"),
    Row("converting/outputs.py", "is made of", CONVERT, True),
    Row("converting/outputs.py", "equal parts that LightX2V has of it", CONVERT, True),
    Row("converting/rows.py", "contains {what}", CONVERT, True),
    Row("converting/smooth.py", "ComfyUI's dialect has no place", CONVERT, True),
    Row("converting/writer.py", "", "takes a disk that refuses, or two processes; tests/converting, tests/quantizing"),
    Row("writing/errors.py", "", "takes a disk that refuses; tests/writing, tests/converting/test_refusals.py"),
    Row("writing/locking.py", "", "takes two processes; tests/writing/test_whole.py, tests/converting/test_locked.py"),
    Row("writing/whole.py", "", "takes a disk that refuses, or two processes; tests/writing/test_whole.py"),
    Row("writing/names.py", "words(path, error)", "takes a disk with shorter names; tests/writing/test_names.py"),
    Row("demo/trained.py", "", "takes a copy of the pack that is not whole; tests/demo"),
    Row("formats/int4_marlin.py", "", f"{GUARD}: kernels for Marlin's order refuse other shapes"),
    *(
        Row(f"formats/{file}.py", "ValueError", f"{GUARD}: layer_rules/shapes.py has every limit")
        for file in ("awq_w4a16", "convrot_w4a4", "int4_convrot", "int4_group128", "mx", "w4a8")
    ),
    Row("formats/mx.py", "NotImplementedError", f"{GUARD}: each of the two layouts packs in its own way"),
    Row("formats/codebook_grid.py", "", f"{GUARD}: rounding asks a codebook for its levels"),
    *(
        Row(f"kernels/{file}.py", "LacksError", LIBRARY)
        for file in ("comfy_kitchen", "deepgemm", "marlin", "q8f", "sgl", "shared_objects", "vllm")
    ),
    Row("linear/arguments.py", "", "takes a ComfyUI newer than any that is tested; tests/linear/test_arguments.py"),
    Row("loras/file.py", "Check its rights", "takes a user who may not; tests/loras/test_file.py"),
    Row("layer_rules/format_names.py", "takes a newer ComfyUI", "takes an older ComfyUI; tests/layer_rules"),
    Row("layer_rules/selection.py", "and stays as it is. Remove", f"{CONVERT}: no MODEL has tables as layers", True),
    Row("linear/quant_linear.py", "This ComfyUI cannot", "takes a GPU's dynamic VRAM and ComfyUI 0.24; tests/loading"),
    Row("loras/file.py", "There is no LoRA at", LISTED, True),
    *(
        (Row("quantizing/rotation.py", "no rotated int8", "takes ComfyUI 0.24; tests/quantizing/test_rotation.py"),)
        if rotates_int8()
        else ()
    ),
)

# of the command line's own
BY_NO_COMMAND = (
    Row("converting/command.py", "_interrupted(", "takes Ctrl-C; tests/converting/test_refusals.py"),
    Row("converting/convert.py", "for an SNR or for a size", "argparse refuses both; tests/converting"),
    Row("converting/convert.py", "What was written would not load", "guards against a mistake; tests/converting"),
    Row("converting/weights.py", "norm.key_of", "the check that a model loads finds it first; tests/converting"),
    *(
        (Row("converting/rotation.py", "no rotated int8", "takes ComfyUI 0.24; tests/converting/test_rotation.py"),)
        if rotates_int8()
        else ()
    ),
)
