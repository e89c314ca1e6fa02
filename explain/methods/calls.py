"""The calls of PyTorch that relevance can be passed through, by what they do; all others are refused.

A call has one plain name, whether it is made as a function, a method or an operator, in place or not.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional
from torch.overrides import resolve_name

_KINDS = {
    # properties of a tensor without its values
    "read": "shape dtype device ndim layout requires_grad is_meta is_cuda is_sparse is_leaf size dim numel"
    " nelement stride is_contiguous is_floating_point is_complex element_size get_device data_ptr __len__",
    # each number goes to one position
    "move": "reshape view permute transpose movedim moveaxis swapaxes swapdims t T mT flatten unflatten"
    " squeeze unsqueeze contiguous clone to float flip narrow select as_tensor __getitem__",
    # so do those of several tensors, or of a padded one; or it goes to several positions
    "join": "cat concat concatenate stack hstack vstack pad chunk split unbind tensor_split expand expand_as"
    " broadcast_to repeat tile",
    # a sum or difference, of activations or with constants
    "add": "add sub subtract rsub __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__",
    # times or over constants
    "scale": "mul multiply div divide true_divide neg negative __mul__ __rmul__ __imul__ __truediv__"
    " __itruediv__ __neg__",
    # batch norm with its stored statistics
    "normalize": "batch_norm",
    # weighted sums with constant weights
    "mix": "conv1d conv2d conv3d linear matmul __matmul__ __rmatmul__ mean sum avg_pool1d avg_pool2d"
    " avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
    # a function of one number that rises through zero
    "ramp": "relu relu6 leaky_relu prelu elu selu celu gelu silu mish hardtanh hardswish tanh softsign",
    # another function of one number
    "curve": "sigmoid hardsigmoid logsigmoid softplus clamp clip clamp_min clamp_max threshold abs square"
    " sqrt exp log",
    "peak": "max_pool1d max_pool2d max_pool3d",
    # nothing, in evaluation
    "drop": "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout",
}
KINDS = {name: kind for kind, names in _KINDS.items() for name in names.split()}

PRODUCT = "it is the product of two activations"
QUOTIENT = "it is the quotient of two activations"
DIVISION = "it is a division by an activation"
WEIGHTS = "its weights depend on the input"
TRAINING = "the layer is in training mode"
HIDDEN = "it hides the input from what follows"
UNKNOWN = "no rule is known for it"

_REASONS = {
    "a recurrent layer multiplies activations with each other": "lstm gru rnn_tanh rnn_relu lstm_cell"
    " gru_cell rnn_tanh_cell rnn_relu_cell",
    "softmax divides each activation by a sum of all of them": "softmax log_softmax"
    " scaled_dot_product_attention multi_head_attention_forward",
    "it divides activations by their own spread or length": "layer_norm group_norm instance_norm rms_norm"
    " normalize norm cosine_similarity std var",
    DIVISION: "reciprocal rsqrt __rtruediv__",
    HIDDEN: "detach numpy data item tolist",
}
REASONS = {name: reason for reason, names in _REASONS.items() for name in names.split()}


def call_name(func: Callable) -> str:
    """Plain name of a call."""
    parts = (resolve_name(func) or "").split(".")
    name = parts[-2] if parts[-1] == "__get__" else parts[-1]
    return name if name.endswith("__") else name.removesuffix("_")


def out_of_place(func: Callable) -> Callable | None:
    """Find the call that gives what an in-place call writes into its first argument."""
    name = (resolve_name(func) or "").rsplit(".", 1)[-1]
    if name.startswith("__i"):
        return getattr(Tensor, f"__{name[3:]}")
    if name.endswith("_") and not name.endswith("__"):
        return getattr(Tensor, name[:-1], None) or getattr(functional, name[:-1])
    return None
