"""What every value of a forward pass is computed from: which parameters, by which operations.

The calls of torch's functions are noted as they are made, so that weights are seen wherever they are used: in a module,
in a parameter of a block, in a function. A value is known by its storage, which its views share. What TorchScript and
operators of other libraries compute is not seen, and what comes from there is marked as opaque.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Place = tuple[Any, int]


def functions(names: str) -> set[Callable[..., Any]]:
    """torch's functions of these names, tensors' methods among them."""
    rooms = (torch, torch.Tensor, functional, torch.fft)
    return {getattr(room, name) for room in rooms for name in names.split() if hasattr(room, name)}


CONVOLUTIONS = functions("conv1d conv2d")
MATRIX_FIRST = functions("matmul __matmul__ mm bmm mv")
PRODUCTS = (
    CONVOLUTIONS | MATRIX_FIRST | functions("linear __rmatmul__ addmm baddbmm addbmm einsum tensordot inner")
)
MIXERS = functions(
    "scaled_dot_product_attention multi_head_attention_forward cumsum cumprod logcumsumexp roll flip pad unfold fft "
    "rfft lstm gru rnn_tanh rnn_relu"
)
# Those whose names end in one underscore, and Python's operators that assign.
_METHODS = [name for name in dir(torch.Tensor) if name.endswith("_") and not name.endswith("__")]
IN_PLACE = functions(" ".join(_METHODS)) | functions(
    "__setitem__ __iadd__ __isub__ __imul__ __idiv__ __itruediv__ __ipow__ __imatmul__"
)


@dataclass(eq=False)
class Value:
    """What one operation gave.

    Attributes:
        operation: torch's function; None where none was seen, and of parameters.
        sources: values that it was computed from, parameters apart.
        weights: names of the parameters that the operation took.
        width: features, the size of the last axis (of a convolution, the channels).
        taken: of a product with a matrix of parameters, the features of what it took; else 0.
        mixes: whether the operation lets positions see each other.
        is_weight: whether it was made of parameters alone.
    """

    operation: Callable[..., Any] | None
    sources: list[Value] = field(default_factory=list)
    weights: set[str] = field(default_factory=set)
    width: int = 0
    taken: int = 0
    mixes: bool = False
    is_weight: bool = False

    @property
    def is_product(self) -> bool:
        """Whether it is the product of a matrix of parameters and a value."""
        return self.taken > 0


class Flow(TorchFunctionMode):
    """Notes the values of a forward pass of a model while it is active.

    Attributes:
        products: values that are products with a matrix of parameters, in order.
        entered: by a module's name, the value that its last call took first.
        change: called with each product and its output; what it gives replaces the output, if not None.
    """

    def __init__(
        self, model: nn.Module, change: Callable[[Value, Tensor, Tensor], Tensor | None] | None = None
    ) -> None:
        super().__init__()
        self.products: list[Value] = []
        self.entered: dict[str, Value] = {}
        self.change = change
        self._values: dict[Place, Value] = {}
        self._alive: list[Tensor] = []  # so that no storage is given to another value
        self._model, self._stack = model, ExitStack()
        for name, parameter in model.named_parameters(remove_duplicate=False):
            self._own(parameter).weights.add(name)
        for buffer in model.buffers():
            self._own(buffer)

    def __enter__(self) -> Flow:
        for name, module in self._model.named_modules():
            note = module.register_forward_pre_hook(self._enter(name), with_kwargs=True)
            self._stack.callback(note.remove)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
        super().__exit__(*error)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make one call and note what came of it."""
        kwargs = kwargs or {}
        taken = [(each, self._value(each)) for each in _tensors((args, kwargs))]
        output = func(*args, **kwargs)
        in_place = func in IN_PLACE
        given = args[:1] if in_place and args and isinstance(args[0], Tensor) else _tensors(output)
        for each in _tensors(tuple(given)):
            if in_place or all(place_of(each) != place_of(other) for other, _ in taken):
                value = self._noted(func, taken, each, (args, kwargs))
                if value.is_product and self.change is not None:
                    changed = self.change(value, next(t for t, v in taken if not v.is_weight), each)
                    if changed is not None:
                        self._keep(changed, value)
                        return changed
        return output

    def _noted(
        self, func: Any, taken: list[tuple[Tensor, Value]], output: Tensor, arguments: tuple[Any, Any]
    ) -> Value:
        sources = [value for each, value in taken if not value.is_weight and not _is_index(each)]
        weights_of = [value for _, value in taken if value.is_weight]
        weights = set[str]().union(*(value.weights for value in weights_of))
        value = Value(
            func, sources, weights, _width(output), is_weight=bool(weights) and len(weights_of) == len(taken)
        )
        if func in PRODUCTS and sources:
            matrix = next((each for each, made in taken if made.is_weight and each.dim() > 1), None)
            if matrix is None or _is_depthwise(func, arguments):
                value.mixes = True
            else:
                data = next(each for each, made in taken if not made.is_weight)
                value.taken, value.width = _sizes(
                    func, matrix, data, output, any(each is matrix for each in arguments[0][:1])
                )
                self.products.append(value)
        value.mixes = value.mixes or func in MIXERS
        self._keep(output, value)
        return value

    def _keep(self, tensor: Tensor, value: Value) -> None:
        self._values[place_of(tensor)] = value
        if not value.is_weight:
            self._alive.append(tensor)

    def _own(self, tensor: Tensor) -> Value:
        return self._values.setdefault(place_of(tensor), Value(None, is_weight=True))

    def _value(self, tensor: Tensor) -> Value:
        known = self._values.get(place_of(tensor))
        if known is None:
            known = Value(None, width=_width(tensor))
            self._keep(tensor, known)
        return known

    def _enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            first = next(_tensors((args, kwargs)), None)
            if first is not None:
                self.entered[name] = self._value(first)

        return hook


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors in nested arguments that hold anything."""
    if isinstance(values, Tensor):
        if values.numel() and values.device.type != "meta":
            yield values
    elif isinstance(values, (list, tuple)):
        for each in values:
            yield from _tensors(each)
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))


def place_of(tensor: Tensor) -> Place:
    """Where a tensor's storage is; views of it share that."""
    return tensor.device, tensor.untyped_storage().data_ptr()


def _is_index(tensor: Tensor) -> bool:
    """Whether it says where a value comes from, not what the value is."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _width(tensor: Tensor) -> int:
    return int(tensor.shape[-1]) if tensor.dim() else 1


def _is_depthwise(func: Any, arguments: tuple[Any, Any]) -> bool:
    """Whether a convolution has a kernel for each channel, as those of state space models have."""
    if func not in CONVOLUTIONS:
        return False
    args, kwargs = arguments
    groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
    return bool(groups > 1)


def _sizes(func: Any, matrix: Tensor, data: Tensor, output: Tensor, is_first: bool) -> tuple[int, int]:
    """The features that a product takes and gives."""
    if func in CONVOLUTIONS:
        return int(matrix.shape[1]), int(matrix.shape[0])
    if is_first and func in MATRIX_FIRST:
        return int(matrix.shape[-1]), int(matrix.shape[-2])
    return int(data.shape[-1]), int(output.shape[-1])
