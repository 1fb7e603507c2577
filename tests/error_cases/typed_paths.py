"""Paths that somebody types: of no file, of a device, longer than any, of a file where a folder is to be."""

from .cli_case import OUT, CliCase, WorkFolder, convert

LONG = "x" * 300
LONGER = "x" * 5000
NO_PATH = "cannot be read: File name too long."


def over_a_file(work: WorkFolder) -> list[str]:
    work.put("out", b"mine")
    return ["convert", work.demo("t2v"), work.path("out"), "--format", "int8", "--package", "shards", "--overwrite"]


def linked_nowhere(work: WorkFolder) -> list[str]:
    (work.folder / "model.safetensors").symlink_to(work.folder / "model.safetensors")
    return ["convert", work.path("model.safetensors"), OUT]


def results_in_a_file(work: WorkFolder) -> list[str]:
    return ["bench", "--part", "converting", "--results", work.put("results", b"mine")]


CLI_CASES = {
    "convert: a file where the folder is to be": CliCase(
        over_a_file, ("out is there already and is no folder: choose another name.",)
    ),
    "convert: a device": CliCase(
        lambda work: ["convert", "/dev/null", OUT], ("null is a device or a pipe, no file. Pick another file.",)
    ),
    "convert: a link to itself": CliCase(
        linked_nowhere, ("model.safetensors is a link that leads to no file. Pick another file.",)
    ),
    "convert: lines that are none": convert(
        None,
        lambda work: f"--format|int8|--layers|{work.put('lines.txt', bytes(range(256)))}",
        "lines.txt is no text in UTF-8. Give a file of lines like 'blocks.0 = keep'.",
    ),
    "convert: lines without end": convert(
        None, "--format|int8|--layers|/dev/zero", "The layer rules have 1000001 characters, and 1000000 are read at"
    ),
    "convert: lines in a folder": convert(None, "--format|int8|--layers|.", ". cannot be read: Is a directory. Check"),
    "convert: a LoRA of a long name": convert(
        None, f"--format|int8|--lora|{LONG}", f"There is no LoRA at {LONG}. Check the path."
    ),
    "convert: a calibration of a long name": convert(
        None, f"--format|int8|--calibration|{LONGER}", f"There is no calibration at {LONGER}. Check the path."
    ),
    "convert: a long name": CliCase(lambda work: ["convert", LONGER, OUT], (f"{LONGER} {NO_PATH}",)),
    "compare: a long name": CliCase(
        lambda work: ["compare", LONG, LONG], (f"There is nothing at {LONG}. Check the path.",)
    ),
    "bench: a place for results": CliCase(
        results_in_a_file, ("results is there already and is no folder. Choose another one.",)
    ),
    "bench: no rows": CliCase(lambda work: ["bench", "--tokens", "0"], ("0 is not 1 or more",), status=2),
    "demo-models: a long name": CliCase(lambda work: ["demo-models", LONG], (f"there is no folder {LONG}",), status=2),
}
