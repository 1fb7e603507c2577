"""Names as strings: what Windows makes of them is known without one."""

import os

import pytest

from x2v_quant.writing import WriteError, beside, check_name, check_path

PORTS = [f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"]


@pytest.mark.parametrize("device", ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", *PORTS])
@pytest.mark.parametrize("form", ["{}", "{}.safetensors", "{}.tar.gz", "{} .png", "{}.", "{} "])
def test_devices_of_windows(device, form):
    for name in (form.format(device), form.format(device.lower())):
        with pytest.raises(WriteError, match="is not a name for a file: Windows"):
            check_name(name)


@pytest.mark.parametrize(
    "name", ["CONSOLE", "COM10", "COM", "LPT¹¹.txt", "xCON", "my CON.png", "nul_00001_.safetensors"]
)
def test_names_that_only_look_like_devices(name):
    check_name(name)


@pytest.mark.parametrize(
    "name,cause",
    [
        ("", "empty or leads elsewhere"),
        (".", "empty or leads elsewhere"),
        ("..", "empty or leads elsewhere"),
        ("a.", "dot or space at its end"),
        ("a.safetensors ", "dot or space at its end"),
        ("...", "dot or space at its end"),
        ("a:b", "does not allow : in names"),
        ("a.safetensors::$DATA", "does not allow : in names"),
        ("C:", "does not allow : in names"),
        ("a/b", "does not allow / in names"),
        ("a\\b", r"does not allow \\ in names"),
        *((f"a{char}b", rf"does not allow \{char} in names") for char in '<>"|?*'),
        *((f"a{chr(code)}b", "has a control character") for code in (*range(32), 127, 0x85, 0x2028, 0x202E, 0xD800)),
        ("x" * 256, "it is 256 bytes long, and disks take 255"),
    ],
)
def test_names_that_not_every_system_takes(name, cause):
    with pytest.raises(WriteError, match=cause) as caught:
        check_name(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["模型 fp8.safetensors", "été (v1.2) [x].png", "a\u3000b", ".hidden", "x" * 255, "👩‍🚀.png"]
)
def test_names_that_every_system_takes(name):
    check_name(name)


def test_only_folders_that_are_to_be_made_have_to_have_such_names(tmp_path):
    (tmp_path / "a b ").mkdir()
    check_path(tmp_path / "a b " / "new" / "file")
    with pytest.raises(WriteError, match="'AUX' is not a name"):
        check_path(tmp_path / "AUX" / "file")
    with pytest.raises(WriteError, match=r"'b\.' is not a name"):
        check_path(tmp_path / "a" / "b." / "file")


@pytest.mark.skipif(os.name == "nt", reason="Windows has another limit of paths")
def test_a_path_longer_than_any(tmp_path):
    with pytest.raises(WriteError, match="its name or path is too long for the disk"):
        check_path(tmp_path.joinpath(*["x" * 200] * 25))


@pytest.mark.parametrize("char", ["x", "é", "模", "👍"])
def test_what_lies_beside_a_long_name_has_a_shorter_one(char, tmp_path):
    names = [char * (250 // len(char.encode())) + end for end in ("", "a", "b")]
    paths = [beside(tmp_path / name, ".partial.journal") for name in names]
    assert len(set(paths)) == 3
    for path in paths:
        path.touch()
    assert paths == [beside(tmp_path / name, ".partial.journal") for name in names]
    assert beside(tmp_path / "short", ".partial") == tmp_path / "short.partial"
