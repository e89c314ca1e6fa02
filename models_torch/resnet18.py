"""ResNet-18 with kernels along time: the classifier of the attribution study."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models_torch.layers import channels_first
from models_torch.registry import register_model
from utils.errors import UsageError


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Conv2d:
    """Convolution along time, each lead by itself."""
    return nn.Conv2d(channels_in, channels_out, (1, kernel), (1, stride), (0, kernel // 2), bias=False)


class BasicBlock(nn.Module):
    """Twice convolution - batch norm, beside a shortcut; each ReLU is a module of its own.

    ``channels_in``: channels of the input.
    ``channels_out``: channels of the output.
    ``kernel``: kernel of the convolutions, odd.
    ``stride``: of the first convolution and of the shortcut.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int):
        super().__init__()
        self.conv1 = _conv(channels_in, channels_out, kernel, stride)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(channels_out, channels_out, kernel, 1)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu2 = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                _conv(channels_in, channels_out, 1, stride), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        main = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(main + self.downsample(x))


class Backbone(nn.Module):
    """Stem and four stages of two blocks: (B, channels, leads, T) to (B, widths[3], leads, T / 32).

    ``channels``: channels of the input.
    ``widths``: channels of the four stages; the stem has as many as the first.
    ``kernel``: kernel of the convolutions, odd.
    """

    def __init__(self, channels: int, widths: Sequence[int], kernel: int):
        super().__init__()
        self.conv1 = _conv(channels, widths[0], kernel, 2)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d((1, 3), (1, 2), (0, 1))
        before = widths[0]
        for stage, width in enumerate(widths, start=1):
            stride = 1 if stage == 1 else 2
            blocks = [BasicBlock(before, width, kernel, stride), BasicBlock(width, width, kernel, 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            before = width

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


@register_model
class ResNet18(nn.Module):
    """ResNet-18 of the attribution study; 8,728,388 parameters for one lead and 4 classes.

    The study slides the same kernels over each lead and averages over leads and time: the answer does not
    depend on which lead is which. ``lead_aware`` makes the leads the input channels instead, so that axis and
    territory can be learned. Layers are two-dimensional with kernels of height 1, as in the study.

    Takes standardised signals (B, samples, leads), returns logits (B, num_classes).

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    samples : int
        Samples of a record (1000 = 10 s at 100 Hz); any length of 32 or more.
    leads : int
        Number of leads.
    kernel : int
        Kernel of all convolutions but the shortcuts, odd; the study compares 3, 5 and 7.
    widths : sequence of int
        Channels of the four stages.
    lead_aware : bool
        False: the study's network, blind to which lead is which; True: leads are channels.

    Raises
    ------
    UsageError
        An option that cannot be right.

    References
    ----------
    Suh et al., "Visual interpretation of deep learning model in ECG classification", Computers in Biology and
    Medicine 182, 2024, doi:10.1016/j.compbiomed.2024.109088; He et al., "Deep residual learning for image
    recognition", 2016, doi:10.1109/CVPR.2016.90.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        kernel: int = 7,
        widths: Sequence[int] = (64, 128, 256, 512),
        lead_aware: bool = False,
    ):
        super().__init__()
        if len(widths) != 4 or min(widths) < 1:
            raise UsageError(f"widths {list(widths)}: ResNet-18 has four stages of at least one channel")
        if kernel % 2 == 0 or kernel < 1:
            raise UsageError(f"kernel {kernel} must be odd")
        if samples < 32:
            raise UsageError(f"{samples} samples are too few for ResNet-18: it needs 32 or more")
        self.config = {
            "num_classes": num_classes,
            "samples": samples,
            "leads": leads,
            "kernel": kernel,
            "widths": list(widths),
            "lead_aware": lead_aware,
        }
        self.lead_aware = lead_aware
        self.backbone = Backbone(leads if lead_aware else 1, widths, kernel)
        self.head = nn.Linear(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, signals: Tensor) -> Tensor:
        """Give the maps of the last stage.

        Parameters
        ----------
        signals : Tensor, shape (B, samples, leads)
            Standardised signals.

        Returns
        -------
        Tensor, shape (B, channels, leads, T / 32)
            One row a lead; with ``lead_aware`` one row.
        """
        x = channels_first(signals, self.config["samples"], self.config["leads"], "resnet18")
        image = x[:, :, None] if self.lead_aware else x[:, None]
        # Not in the memory format channels_last, with which a step on a CPU would take a sixth less time: in
        # PyTorch 2.13 the gradient of a strided 1x1 convolution with few channels then overruns its memory.
        return self.backbone(image)

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.features(signals).mean(dim=(2, 3)))
