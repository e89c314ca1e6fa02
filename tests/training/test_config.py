"""Flags and configuration files: what wins, what is refused, and how the refusal helps."""

import math

import pytest

from preprocessing.transforms.augmentation import Augmentation
from training.config import TrainConfig, parse_config
from utils.config import read_config
from utils.errors import UsageError

MODELS = ["imle_net", "mousavi", "rajpurkar"]


def parse(*words):
    return parse_config("text", MODELS, "imle_net", [str(word) for word in words])


def yaml_file(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_config_defaults():
    config = parse()
    assert (config.model, config.run, config.task, config.epochs) == (
        "imle_net",
        "imle_net",
        "superdiagnostic",
        60,
    )
    assert config.augmentation is None


def test_config_file_sets_defaults_and_flags_win(tmp_path):
    path = yaml_file(
        tmp_path,
        "model: mousavi\nlr: 1e-4\nepochs: 7\nprecision: 32\nloggr: true\nnoise: 1\n"
        "model_config: {dropout: 0.5}\n",
    )
    config = parse("--config", path, "--epochs", 9)
    assert (config.model, config.lr, config.epochs, config.precision) == ("mousavi", 1e-4, 9, "32")
    assert config.loggr is True and config.noise == 1.0 and config.model_config == {"dropout": 0.5}
    assert config.augmentation == Augmentation(noise=1.0)
    assert parse("--config", path, "--loggr", "False").loggr is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "unknown key 'epoch': did you mean 'epochs'"),
        ("epochs: many", "key 'epochs' must be of type int, not 'many'"),
        ("epochs: true", "key 'epochs' must be of type int, not True"),
        ("epochs: 2.5", "key 'epochs' must be of type int, not 2.5"),
        ("lr: fast", "key 'lr' must be a number, not 'fast'"),
        ("lr: true", "key 'lr' must be of type float"),
        ("loggr: 'False'", "key 'loggr' must be of type bool, not 'False'"),
        ("run:", "key 'run' must be of type str, not None"),
        ("model_config: [1]", "key 'model_config' must be of type dict"),
        ("precision: 16", "unknown precision '16'"),
        ("model: imlenet", "unknown model 'imlenet': did you mean 'imle_net'"),
        ("- epochs", "has no settings"),
        ("", "is empty: write each with its value on a line, for example 'lr: 1e-3'"),
        ("a: [", "is not valid YAML"),
        ("config: other.yaml", "unknown key 'config'"),
    ],
)
def test_config_file_wrong_values_are_named(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        parse("--config", yaml_file(tmp_path, text))
    assert message in str(caught.value)


def test_config_file_unreadable(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        parse("--config", tmp_path / "absent.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x9f")
    with pytest.raises(UsageError, match="not valid YAML"):
        parse("--config", binary)


def test_config_file_cannot_build_objects(tmp_path):
    path = yaml_file(tmp_path, "run: !!python/object/apply:os.system ['touch " + str(tmp_path / "ran") + "']")
    with pytest.raises(UsageError, match="not valid YAML"):
        read_config(path, TrainConfig)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("word", "value"), [("False", False), ("false", False), ("0", False), ("TRUE", True)]
)
def test_switches_read_true_and_false(word, value):
    assert parse("--loggr", word).loggr is value
    assert parse(f"--sub={word}").sub is value


def test_loggr_is_short_for_a_logger():
    assert parse().loggers == ["csv", "tensorboard"]
    assert parse("--loggr", "True").loggers == ["csv", "tensorboard", "wandb"]
    assert parse("--loggers", "text,wandb", "--loggr", "True").loggers == ["text", "wandb"]
    with pytest.raises(UsageError, match="unknown loggers 'txt': did you mean 'text'"):
        parse("--loggers", "txt")


def test_switches_alone_mean_true():
    assert parse("--resume", "--epochs", 3).resume is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--loggr", "maybe"], "'maybe' is neither True nor False"),
        (["--epoch", "3"], "did you mean '--epochs'"),
        (["--batch_siz=3"], "did you mean '--batchsize'"),
        (["stray"], "unknown argument 'stray'"),
        (["--model_config", "{"], "not JSON"),
        (["--model_config", "[1]"], "must be a JSON object"),
    ],
)
def test_flags_wrong_end_with_code_2_and_the_nearest_name(capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "imlenet"], "did you mean 'imle_net'"),
        (["--task", "superdiagnostics"], "did you mean 'superdiagnostic'"),
        (["--sub", "True", "--task", "form"], "MI stage"),
        (["--precision", "16"], "unknown precision '16'"),
        (["--epochs", 0], "--epochs must be at least 1, not 0"),
        (["--lr", "nan"], "--lr must be a finite number, not nan"),
        (["--noise", "nan"], "--noise must be a finite number"),
        (["--noise", -0.1], "--noise must not be negative"),
        (["--min_likelihood", 101], "must be at least 0 and at most 100"),
        (["--resume", "--overwrite"], "choose one"),
        (["--limit", -1], "--limit must not be negative"),
        (["--seed", -1], "--seed must not be negative"),
        (["--threads", -2], "--threads must not be negative"),
        (["--lead_dropout", 1], "must be at least 0 and below 1"),
        (["--label_smoothing", -0.1], "must be at least 0 and below 1, not -0.1"),
        (["--run", "a/b"], "must be a plain folder name"),
        (["--run", ".."], "must be a plain folder name"),
    ],
)
def test_flags_impossible_values_are_refused(words, message):
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert message in str(caught.value) and caught.value.exit_code == 2


def test_config_fills_in_dependent_values():
    assert parse("--sub", "True").task == "mi"
    assert parse("--sub", "True").run == "imle_net_mi"
    assert parse("--sub", "True", "--run", "mine").run == "mine"
    assert parse("--model", "rajpurkar").clip_norm == 1.0
    assert parse("--model", "rajpurkar", "--clip_norm", 0).clip_norm == 0.0
    assert parse("--model", "mousavi").clip_norm == 0.0


def test_help_lists_flags_models_and_defaults(capsys):
    with pytest.raises(SystemExit) as ended:
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for name in TrainConfig().to_json():
        assert f"--{name} " in text
    assert "{imle_net,mousavi,rajpurkar}" in text and "(default: 60)" in text


def test_config_is_plain_json():
    config = parse("--model_config", '{"dropout": 0.25}', "--lr", math.pi)
    assert TrainConfig(**config.to_json()) == config
