"""The environment is an input: what must be set is set, what cannot be used is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SETTINGS = (
    "import models_tf.backend, keras.config as c; "
    "print(c.backend(), c.image_data_format(), c.floatx(), c.epsilon(), c.max_epochs())"
)
_COMMAND = f"from utils.errors import run_cli\n\ndef main():\n    {_SETTINGS}\n\nrun_cli(main)\n"


def run(home, **variables):
    """Print Keras' settings by a command with this home folder."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT), **variables}
    words = [sys.executable, "-c", _COMMAND]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)


def write_settings(home, content):
    (home / ".keras").mkdir(exist_ok=True)
    (home / ".keras" / "keras.json").write_text(content)


@pytest.mark.tf
def test_keras_settings_of_a_user_do_not_change_the_models(tmp_path):
    settings = {"image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.1, "backend": "jax"}
    write_settings(tmp_path, json.dumps(settings))
    done = run(tmp_path, KERAS_MAX_EPOCHS="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "tensorflow channels_last float32 1e-07 None"
    for name in ("image_data_format", "floatx", "epsilon", "KERAS_MAX_EPOCHS"):
        assert f"note: {name} is" in done.stdout


@pytest.mark.tf
def test_plain_keras_settings_are_not_mentioned(tmp_path):
    write_settings(tmp_path, json.dumps({"backend": "tensorflow"}))
    done = run(tmp_path, KERAS_BACKEND="torch")
    assert done.stdout.splitlines() == ["torch channels_last float32 1e-07 None"], done.stderr


@pytest.mark.parametrize(
    ("content", "variables", "message"),
    [
        (
            "{}",
            {"KERAS_BACKEND": "jax"},
            "error: KERAS_BACKEND=jax: the Keras models run on tensorflow or torch",
        ),
        ('{"floatx": "int7"}', {}, "error: Keras does not start: Invalid `floatx`"),
        ("[1]", {}, "error: Keras does not start: "),
        ("{}", {"KERAS_MAX_EPOCHS": "many"}, "environment variables KERAS_"),
    ],
)
def test_keras_settings_that_cannot_be_used_are_named(tmp_path, content, variables, message):
    write_settings(tmp_path, content)
    done = run(tmp_path, **variables)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert "keras.json" in done.stderr or "KERAS_BACKEND" in done.stderr
