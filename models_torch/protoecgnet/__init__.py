"""ProtoECGNet: three branches of prototypes and their fusion."""

from models_torch.protoecgnet.fusion import ProtoECGNet_Fusion as ProtoECGNet_Fusion
from models_torch.protoecgnet.model_trunk import list_trunks as list_trunks
from models_torch.protoecgnet.network import PARTS as PARTS
from models_torch.protoecgnet.network import ProtoECGNet as ProtoECGNet
from models_torch.protoecgnet.prototype_classifier import BRANCHES as BRANCHES
from models_torch.protoecgnet.resnet import BACKBONES as BACKBONES
from models_torch.protoecgnet.resnet import ResNet as ResNet
from models_torch.protoecgnet.trunk import ProtoECGNet_Trunk as ProtoECGNet_Trunk
