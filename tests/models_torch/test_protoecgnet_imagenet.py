"""ImageNet's weights in the trunks of ProtoECGNet: the same function, and refused where they do not fit."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

import torch_train
from models_torch.protoecgnet.imagenet import trunk_weights
from models_torch.protoecgnet.resnet import ResNet
from tests.helpers.training_files import call, small_database
from tests.training.test_protoecgnet_stages import CODES
from training.checkpoint import read_card
from training.predictor import load_predictor
from utils.errors import DataError, UsageError
from utils.files import sha256

pytestmark = pytest.mark.torch

PLANS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def image_weights(depth, seed=0):
    """A random state with the names and shapes of an image ResNet."""
    generator = torch.Generator().manual_seed(seed)
    state = {}

    def conv(name, out, into, size):
        scale = (2 / (into * size * size)) ** 0.5
        state[f"{name}.weight"] = torch.randn(out, into, size, size, generator=generator) * scale

    def norm(name, size):
        for part in ("weight", "running_var"):
            state[f"{name}.{part}"] = torch.rand(size, generator=generator) + 0.5
        for part in ("bias", "running_mean"):
            state[f"{name}.{part}"] = torch.randn(size, generator=generator) * 0.1

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    into = 64
    for stage, count in enumerate(PLANS[depth]):
        width, out = 64 * 2**stage, 64 * 2**stage * (4 if depth >= 50 else 1)
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            sizes = [(width, into, 1), (width, width, 3), (out, width, 1)]
            for index, layer in enumerate(sizes if depth >= 50 else [(width, into, 3), (width, width, 3)]):
                conv(f"{name}.conv{index + 1}", *layer)
                norm(f"{name}.bn{index + 1}", layer[0])
            if block == 0 and (stage > 0 or into != out):
                conv(f"{name}.downsample.0", out, into, 1)
                norm(f"{name}.downsample.1", out)
            into = out
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, into), torch.zeros(1000)
    return state


def image_features(state, depth, image):
    """The image network, written out: (B, 3, 7, T) to (B, channels, 1, columns); one row remains."""

    def norm(x, name):
        parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts)

    x = functional.conv2d(image, state["conv1.weight"], stride=(1, 2), padding=(0, 3))
    x = functional.max_pool2d(torch.relu(norm(x, "bn1")), (1, 3), (1, 2), (0, 1))
    for stage, count in enumerate(PLANS[depth]):
        for block in range(count):
            name, step = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            strided = 2 if depth >= 50 else 1
            main = x
            for index in range(1, 4 if depth >= 50 else 3):
                kernel = state[f"{name}.conv{index}.weight"]
                stride, pad = step if index == strided else 1, kernel.shape[-1] // 2
                main = norm(functional.conv2d(main, kernel, stride=stride, padding=pad), f"{name}.bn{index}")
                main = torch.relu(main) if f"{name}.conv{index + 1}.weight" in state else main
            if f"{name}.downsample.0.weight" in state:
                down = state[f"{name}.downsample.0.weight"]
                x = norm(functional.conv2d(x, down, stride=step), f"{name}.downsample.1")
            x = torch.relu(main + x)
    return x


@pytest.mark.parametrize(("depth", "reference_layers"), [(18, False), (18, True), (50, False)])
def test_imagenet_weights_of_equal_leads_equal_an_image_of_equal_rows_and_colors(depth, reference_layers):
    state = {name: tensor.double() for name, tensor in image_weights(depth).items()}
    trunk = ResNet(f"resnet{depth}", reference_layers=reference_layers).double().eval()
    trunk.load_state_dict(trunk_weights(state, trunk))
    signal = torch.randn(2, 1, 320, generator=torch.Generator().manual_seed(1)).double()
    with torch.inference_mode():
        ours = trunk(signal.expand(-1, 12, -1))
        theirs = image_features(state, depth, signal[:, :, None].expand(-1, 3, 7, -1))
    assert ours.abs().max() > 0.1
    torch.testing.assert_close(ours, theirs[:, :, 0])


def test_imagenet_weights_of_a_wider_kernel_keep_the_sum():
    state = image_weights(18)
    trunk = ResNet("resnet18", decimation=5)
    first = trunk_weights(state, trunk)["conv1.weight"]
    assert first.shape == (64, 12, 35)
    torch.testing.assert_close(
        first.sum((1, 2)), state["conv1.weight"].sum((1, 2, 3)), rtol=1e-4, atol=1e-4
    )  # the same gain for a constant


def test_imagenet_weights_of_other_networks_raise():
    with pytest.raises(DataError, match=r"layer\d.*same depth"):
        trunk_weights(image_weights(18), ResNet("resnet34"))
    with pytest.raises(DataError, match="this depth does not have"):
        trunk_weights(image_weights(34), ResNet("resnet18"))
    with pytest.raises(DataError, match="does not fit"):
        trunk_weights(image_weights(34), ResNet("resnet50"))
    wrong = {**image_weights(18), "layer1.0.conv1.weight": torch.zeros(64, 64, 5, 5)}
    with pytest.raises(DataError, match=r"layer1\.0\.conv1\.weight"):
        trunk_weights(wrong, ResNet("resnet18"))
    small = {**image_weights(18), "conv1.weight": torch.zeros(64, 3, 3, 3)}  # as for images of 32 x 32
    with pytest.raises(DataError, match=r"'conv1\.weight' is \(64, 3, 3, 3\)"):
        trunk_weights(small, ResNet("resnet18"))


def test_imagenet_weights_start_the_training(tmp_path, capsys):
    database, path = small_database(tmp_path / "ptbxl", codes=CODES), tmp_path / "model.safetensors"
    save_file(image_weights(18), path)
    words = ["--model", "protoecgnet", "--data_dir", database, "--output_dir", tmp_path, "--epochs", 1]
    words += ["--training_stage", "feature_extractor", "--imagenet", path, "--threads", 1, "--lr", 1e-9]
    call(torch_train.main, "torch_train.py", *words, "--branch", "global")
    assert "starts from ImageNet weights" in capsys.readouterr().out
    predictor = load_predictor("protoecgnet/global/feature_extractor", tmp_path)
    expected = trunk_weights(image_weights(18), predictor.model.trunk)
    torch.testing.assert_close(predictor.model.trunk.conv1.weight, expected["conv1.weight"])
    assert read_card(predictor.folder).extra["imagenet"] == {"file": path.name, "sha256": sha256(path)}
    path.rename(tmp_path / "moved")  # a resumed run does not need it
    call(torch_train.main, "torch_train.py", *words, "--branch", "global", "--resume", "--epochs", 2)
    assert read_card(predictor.folder).extra["imagenet"]["file"] == path.name
    (tmp_path / "moved").rename(path)
    capsys.readouterr()
    call(torch_train.main, "torch_train.py", *words, "--branch", "rhythm", "--width", 64)
    assert "does not act on resnet1d18" in capsys.readouterr().out
    assert "imagenet" not in read_card(tmp_path / "checkpoints/protoecgnet/rhythm/feature_extractor").extra
    with pytest.raises(UsageError, match="there is no stage projection"):
        call(
            torch_train.main, "torch_train.py", *words, "--branch", "global", "--training_stage", "classifier"
        )
    assert "does not act in stage classifier" in capsys.readouterr().out
    for more, message in (
        (["--branch", "global", "--width", 32], "leave out --width"),
        (["--branch", "global", "--init", "x"], "give one of them"),
        (["--branch", "global", "--imagenet", tmp_path / "none"], "huggingface.co/timm"),
    ):
        with pytest.raises(UsageError, match=message):
            call(torch_train.main, "torch_train.py", *words, *more)
    path.write_bytes(b"no weights")
    with pytest.raises(DataError, match="safetensors"):
        call(torch_train.main, "torch_train.py", *words, "--branch", "global", "--overwrite")
