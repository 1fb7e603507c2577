"""The models that come with the pack: those that the trained parts make today, and ComfyUI's loaders list them."""

import copy

import folder_paths
import pytest

from x2v_quant.demo import assets
from x2v_quant.demo.trained import MODELS
from x2v_quant.nodes import demo_models as offered

RENEW = "python dev.py exec python -m x2v_quant.benchmarks.train_demo.shipped"
KINDS = sorted(set(assets.FOLDERS.values()))


@pytest.fixture
def folders(monkeypatch):
    """ComfyUI's folders of models, as they were before the pack's were added."""
    known = {kind: ([*paths], ends) for kind, (paths, ends) in folder_paths.folder_names_and_paths.items()}
    for paths, _ in known.values():
        paths[:] = [path for path in paths if not path.startswith(str(MODELS))]
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return known


def test_they_are_what_the_command_writes(demo_models):
    for path in assets.shipped():
        made = demo_models / path.relative_to(MODELS)
        assert path.read_bytes() == made.read_bytes(), f"{path.name} is an older one. Renew it: {RENEW}"


def test_there_are_no_others_and_none_has_a_published_name():
    assert {path for path in MODELS.rglob("*") if path.is_file()} == set(assets.shipped())
    assert all(path.name.startswith("x2v_demo_") for path in assets.shipped())


def test_every_list_has_them_after_the_users_folders(folders):
    before = copy.deepcopy(folders)
    offered.offer()
    offered.offer()
    for kind in KINDS:
        assert folder_paths.get_folder_paths(kind) == [*before[kind][0], str(MODELS / kind)]
        ours = {path.name for path in assets.shipped() if path.parent.name == kind}
        assert ours
        assert ours <= set(folder_paths.get_filename_list(kind))
    assert {kind: found for kind, found in folders.items() if kind not in KINDS} == {
        kind: found for kind, found in before.items() if kind not in KINDS
    }


def test_a_file_of_the_users_wins(folders, tmp_path):
    name = assets.names(assets.INT8).t2v
    (tmp_path / name).write_bytes(b"mine")
    folders["diffusion_models"][0][:] = [str(tmp_path)]
    offered.offer()
    assert folder_paths.get_full_path("diffusion_models", name) == str(tmp_path / name)
