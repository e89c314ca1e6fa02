"""ProtoECGNet: three branches of prototypes and their fusion."""

from models_torch.protoecgnet.branches import BRANCHES
from models_torch.protoecgnet.fusion import ProtoECGNet_Fusion
from models_torch.protoecgnet.network import PARTS, ProtoECGNet
from models_torch.protoecgnet.resnet import BACKBONES, ResNet
from models_torch.protoecgnet.trunk import ProtoECGNet_Trunk

__all__ = [
    "BACKBONES", "BRANCHES", "PARTS", "ProtoECGNet", "ProtoECGNet_Fusion", "ProtoECGNet_Trunk", "ResNet",
]  # fmt: skip
