"""Importing the library is light."""

import subprocess
import sys


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_import_loads_no_torch():
    assert (
        run("import sys, visionrl; print('torch' in sys.modules, 'stable_baselines3' in sys.modules)")
        == "False False"
    )


def test_environments_are_found_without_an_import():
    code = "import gymnasium; print(gymnasium.make('visionrl:visionrl/LandmarkLocalization-v0').spec.id)"
    assert run(code) == "visionrl/LandmarkLocalization-v0"


def test_environments_are_found_after_an_import():
    code = "import gymnasium, visionrl; print(gymnasium.make('visionrl/Tracking-v0', clip=3).spec.id)"
    assert run(code) == "visionrl/Tracking-v0"
