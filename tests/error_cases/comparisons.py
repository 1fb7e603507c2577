"""x2v-quant compare: what is typed, and what it says then."""

from collections.abc import Callable
from pathlib import Path

from family_files import tensors_of
from family_files import write as write_family

from x2v_quant.demo import assets

from .cli_case import MODEL, NOWHERE, CliCase, WorkFolder, compare, lacking

ORIGINAL = assets.names(assets.ORIGINAL)


def ltx(work: WorkFolder) -> str:
    """A model whose text layer the table of them does not have."""
    write_family(work.folder / MODEL, "ltx-2", "int8", tensors_of("ltx-2"))
    return work.path(MODEL)


def pictures_in_a_file(work: WorkFolder) -> list[str]:
    return ["compare", work.demo("t2v"), work.demo("t2v"), "--pictures", work.put("pictures", b"mine")]


def decoded(vae: Callable[[WorkFolder], Path | str], *words: str) -> CliCase:
    return CliCase(lambda work: ["compare", work.demo("t2v"), work.demo("t2v"), "--vae", str(vae(work))], words)


CLI_CASES = {
    "compare: nowhere": compare(lambda work: NOWHERE, "", f"There is nothing at {NOWHERE}. Check the path."),
    "compare: a prompt": compare(
        lambda work: work.demo("t2v", "int8"),
        "--prompt|a dog",
        "Prompts need a text encoder: give its file with --t5, or leave the prompts out.",
    ),
    "compare: a sampler": compare(
        lambda work: work.demo("t2v", "int8"), "--sampler|eulr", "--sampler eulr is not known. Pick one of: euler"
    ),
    "compare: a VAE": compare(
        lambda work: work.demo("vae"),
        "",
        f"{ORIGINAL.vae}: ComfyUI does not recognise this diffusion model. Give the file",
    ),
    "compare: an incomplete model": compare(lacking, "", f"{MODEL}: blocks.0.ffn.0.weight is missing. "),
    "compare: no steps": CliCase(
        lambda work: ["compare", NOWHERE, NOWHERE, "--steps", "0"], ("0 is not between 1 and 10000",), status=2
    ),
    "compare: a picture's place": CliCase(
        pictures_in_a_file, ("pictures is there already and is no folder. Choose another one.",)
    ),
    "compare: a VAE's folder": decoded(lambda work: work.folder, " is a folder. Give the file of a VAE."),
    "compare: what is no VAE": decoded(
        lambda work: work.demo("t2v"),
        f"{ORIGINAL.t2v}: ComfyUI does not recognise this VAE. Give the file of one.",
    ),
    "compare: a broken VAE": decoded(lambda work: work.put(MODEL, b""), f"{MODEL} is empty. Download it again."),
    "compare: a model of other words": CliCase(
        lambda work: ["compare", ltx(work), ltx(work), "--steps", "1"],
        ("There is no prompt of random numbers for a LTX", "compare it in a graph, with the node Compare Models."),
    ),
}
