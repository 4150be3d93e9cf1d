"""Every recipe is accepted by its command, and each of its values arrives."""
import subprocess
import tomllib

import pytest

from clip_probe import PARAPET, ROOT

RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


def command_of(recipe):
    if recipe.stem.startswith("guard"):
        return ["train", "guard"]
    return ["train", "clip"] if recipe.stem == "tiny_clip" else ["harden", "safe-clip"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_understood(recipe):
    done = subprocess.run([PARAPET, *command_of(recipe), "--config", recipe, "--data", "D", "--model", "M",
                           "--out", "O", "--print-config"], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    given, resolved = tomllib.loads(recipe.read_text()), tomllib.loads(done.stdout)
    assert given and {name: resolved.get(name) for name in given} == given
