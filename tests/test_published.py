"""The workflow files of GitHub: what runs beside the registry's key is what it was when somebody looked at it."""

import re
from pathlib import Path

import pytest
import yaml

GITHUB = Path(__file__).parent.parent / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def jobs(workflow):
    return yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_a_full_hash(workflow):
    for job in jobs(workflow).values():
        for action in (step["uses"] for step in job["steps"] if "uses" in step):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_with_a_secret_installs_by_hash_only_and_checks_nothing_itself(workflow):
    for name, job in jobs(workflow).items():
        secret = [step for step in job["steps"] if "secrets." in str(step)]
        if not secret:
            continue
        assert name == "publish" and job["needs"] == "validate" and secret == job["steps"][-1:]
        commands = [step["run"] for step in job["steps"] if "run" in step]
        (installs,) = [command for command in commands if "install" in command]
        assert "--require-hashes" in installs and len(commands) == 2
        assert "secrets." not in secret[0]["run"]


def test_what_publishes_is_locked():
    rows = [row for row in (GITHUB / "publish-requirements.txt").read_text().splitlines() if not row.startswith("#")]
    assert any(row.startswith("comfy-cli==") for row in rows)
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", row) for row in rows)
