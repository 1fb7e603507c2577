"""Write signatures/*.json: what the functions that the kernel adapters call look like in real releases.

    python record_signatures.py [LIBRARY ...] [--repository OWNER/NAME=GIT_DIR ...]

Operator schemas are strings in a wheel's shared objects; Python signatures are read from its .py files without running
them; those of pybind modules from their own docstrings. Wheels are read in part, over the network, where pip finds
them. What is on no index is read from a clone of its repository. Without arguments every library is written again whose
clones were given.
"""

import argparse
import ast
import inspect
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

from remote import RemoteFile, wheel_url
from signature_sources import SOURCES, Repository, Sdist, Wheel

FOLDER = Path(__file__).parent / "signatures"
BLOCK = 16 << 20
LONGEST_SCHEMA = 4096


def record_sdist(source: Sdist) -> dict:
    command = [sys.executable, "-m", "pip", "download", "-vv", "--no-deps", "--no-binary=:all:", "--no-cache-dir"]
    command += ["--no-build-isolation", "-d", tempfile.gettempdir(), f"{source.package}=={source.version}"]
    # not checked: pip downloads it, tries to build it and fails
    log = subprocess.run(command, capture_output=True, text=True).stdout
    url = re.search(r"Found link (\S+)#\S+ .*version: " + re.escape(source.version), log).group(1)
    found = {}
    with urllib.request.urlopen(url) as answer, tarfile.open(fileobj=io.BytesIO(answer.read())) as archive:
        for member in archive.getmembers():
            file = member.name.partition("/")[2]
            for name in source.functions.get(file, ()):
                text = archive.extractfile(member).read().decode()
                found[name] = {"parameters": python_parameters(text, name), "file": file}
    return {
        "release": f"{source.package} {source.version}",
        "source": f"sdist {url.rsplit('/', 1)[1]}",
        "functions": found,
    }


def record_wheel(wheel: Wheel) -> dict:
    url = wheel_url(f"{wheel.package}=={wheel.version}")
    record = {"release": f"{wheel.package} {wheel.version}", "source": f"wheel {url.rsplit('/', 1)[1]}"}
    found = {}
    with zipfile.ZipFile(io.BufferedReader(RemoteFile(url), BLOCK)) as archive:
        for member in archive.namelist():
            stem = member.partition(".")[0]
            if stem in wheel.objects:
                found |= {
                    name: {"schema": schema, "file": member}
                    for name, schema in schemas(archive, member, wheel.operators).items()
                }
            for name in wheel.functions.get(member, ()):
                parameters = python_parameters(archive.read(member).decode(), name)
                if parameters is not None:
                    found[name] = {"parameters": parameters, "file": member}
            version = f"cpython-{sys.version_info.major}{sys.version_info.minor}-"
            if version in member and stem in wheel.bound:
                for name in wheel.bound[stem]:
                    found[name] = {"parameters": bound_parameters(archive, member, name), "file": member}
    return record | {"functions": dict(sorted(found.items()))}


def schemas(archive: zipfile.ZipFile, member: str, names: tuple[str, ...]) -> dict[str, str]:
    """Operator name -> schema, of the operators that the shared object registers: C strings with the name first."""
    found = {}
    tail = b""
    with archive.open(member) as stream:
        while block := stream.read(BLOCK):
            block = tail + block
            for name in names:
                start = block.find(f"\0{name}(Tensor".encode())
                if start < 0:
                    start = block.find(f"\0{name}(Any".encode())
                end = block.find(b"\0", start + 1)
                if start >= 0 and end >= 0:
                    found[name] = " ".join(block[start + 1 : end].decode().split())
            tail = block[-LONGEST_SCHEMA:]
    return found


def python_parameters(source: str, name: str) -> str | None:
    """What stands between the parentheses of `def name`, or of the function that `name` is another name of: without
    annotations; a default that is no constant is written as `...`."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == name and isinstance(value, ast.Name):
                    name = value.id
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return plain(node.args)
    return None


def plain(arguments: ast.arguments) -> str:
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        argument.annotation = None
    arguments.defaults = [d if isinstance(d, ast.Constant) else ast.Constant(...) for d in arguments.defaults]
    return ast.unparse(arguments)


def bound_parameters(archive: zipfile.ZipFile, member: str, name: str) -> str:
    """From the docstring of a pybind function, which its own process reads: importing it loads a shared object."""
    with tempfile.TemporaryDirectory() as folder:
        path = archive.extract(member, folder)
        code = (
            "import sys, torch, importlib.util as u; s = u.spec_from_file_location('_C', sys.argv[1]);"
            "m = u.module_from_spec(s); s.loader.exec_module(m); print(getattr(m, sys.argv[2]).__doc__)"
        )
        output = subprocess.run([sys.executable, "-c", code, path, name], check=True, capture_output=True, text=True)
    return plain(ast.parse(f"def {inspect.cleandoc(output.stdout).splitlines()[0]}: ...").body[0].args)


def record_repository(source: Repository, clone: Path) -> dict:
    def text(file):
        command = ["git", "-C", str(clone), "show", f"{source.revision}:{file}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    found = {}
    readers = ((source.functions, python_parameters), (source.bindings, cpp_names), (source.arguments, pybind_names))
    for table, read in readers:
        for file, names in table.items():
            for name in names:
                found[name] = {"parameters": read(text(file), name), "file": file}
    return {
        "release": f"{source.name} {source.revision[:12]}",
        "source": f"repository {source.name}, revision {source.revision}",
        "functions": found,
    }


def cpp_names(source: str, name: str) -> str:
    """Parameter names of a C++ function that pybind binds as it is; std::optional there still has to be given."""
    (declaration,) = re.findall(rf"^torch::Tensor {name}\(([^)]*)\)", source, re.MULTILINE)
    return ", ".join([*(re.search(r"(\w+)\W*$", part).group(1) for part in declaration.split(",")), "/"])


def pybind_names(source: str, name: str) -> str:
    (arguments,) = re.findall(rf'm\.def\("{name}",[^;]*;', source)
    return ", ".join(n + ("=..." if d else "") for n, d in re.findall(r'py::arg\("(\w+)"\)( = )?', arguments))


def records(library: str, clones: dict[str, Path]) -> Iterator[dict]:
    for source in SOURCES[library]:
        if isinstance(source, Wheel):
            yield record_wheel(source)
        elif isinstance(source, Sdist):
            yield record_sdist(source)
        else:
            yield record_repository(source, clones[source.name])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("libraries", nargs="*", choices=[[], *SOURCES], metavar="LIBRARY")
    parser.add_argument("--repository", action="append", default=[], metavar="OWNER/NAME=GIT_DIR")
    options = parser.parse_args()
    clones = {name: Path(path) for name, _, path in (entry.partition("=") for entry in options.repository)}
    for library, sources in SOURCES.items():
        given = all(not isinstance(source, Repository) or source.name in clones for source in sources)
        if library in options.libraries or (not options.libraries and given):
            found = list(records(library, clones))
            (FOLDER / f"{library}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(library, {record["release"]: len(record["functions"]) for record in found})


if __name__ == "__main__":
    main()
