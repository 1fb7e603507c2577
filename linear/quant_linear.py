"""ComfyUI's operations with quantized linear layers: the only file that subclasses comfy.ops.

For core to patch, stream, pin, save and compile it, a quantized linear layer has its weight as a QuantizedTensor in
`weight` with every scale in its params, is a leaf module, and releases what it streams in.
"""

import functools
import json

import comfy.model_management
import comfy.ops
import comfy.utils
import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..core.features import requantizes_with_params
from ..core.private import PAGED_PATCH
from ..formats import FORMATS, format_of
from ..formats.requantize import kept_beside, requantized
from ..kernels.shared_input import ACTIVE
from ..schemes.plan import Plan
from .arguments import Fused, named_by
from .errors import PatchError
from .parameters import LastingParameters, lasting

# tensors of a layer outside the state dict of its weight
WRITTEN_BY_CORE = ("input_scale", "pre_quant_scale")


def operations(plan: Plan) -> type:
    """A new operations class for one model: quantized layers run on the kernels that `plan` assigns, everything else is
    core's. All models of a compute dtype share one layer class, and each layer has its plan as an attribute: so
    torch.compile's code is reused for models loaded later, instead of compiling until dynamo gives up."""
    shared = _shared_operations(plan.compute_dtype)

    class Operations(shared):
        class Linear(shared.Linear):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.model_plan = plan
                if type(self) is Operations.Linear:
                    self.__class__ = shared.Linear

    return Operations


@functools.cache
def _shared_operations(compute_dtype: torch.dtype) -> type:
    base = comfy.ops.mixed_precision_ops({}, compute_dtype)

    class Operations(base):
        class Linear(QuantLinear, base.Linear):
            named_by_core = named_by(base.Linear.forward)

    return Operations


class QuantLinear(LastingParameters):
    """Mixin for core's quantized Linear. `kernel`: None if the weight is not quantized."""

    model_plan: Plan
    named_by_core: frozenset[str]
    kernel = None

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        weight = state_dict.pop(f"{prefix}weight", None)
        self.weight = None if weight is None else lasting(weight)
        torch.nn.Module._load_from_state_dict(
            self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if weight is None:
            missing_keys.append(f"{prefix}weight")
            return
        missing_keys.remove(f"{prefix}weight")
        expected = (self.out_features, self.in_features)
        if tuple(weight.shape) != expected:
            error_msgs.append(f"{prefix}weight has shape {list(weight.shape)}, the model wants {list(expected)}")
        elif isinstance(weight, QuantizedTensor):
            row = format_of(weight)
            self.layout_type = weight._layout_cls
            self.quant_format = row.marker_of(weight._params)
            self.format = row.name
            self.kernel = self.model_plan.layers[prefix.rstrip(".")].choice.kernel
            # newer releases ask for this before they multiply a weight themselves, past this forward
            self._full_precision_mm = True

    def forward(self, input, *args, **kwargs):
        """input [..., K] in float32, bfloat16 or float16 -> [..., N] in the same dtype.

        Further arguments: see arguments.py, which raises TypeError for unknown ones.
        """
        if not args and not kwargs:
            return self._linear(input)
        fused = Fused.of(args, kwargs)
        given = fused.given()
        if self.kernel is None and self.named_by_core.issuperset(given):
            return super().forward(input, **given)
        return fused.around(self._linear, input)

    def _linear(self, input):
        if self.kernel is None:
            return super().forward(input)
        comfy.ops.run_every_op()
        weight, bias, stream = self._stream_in(input)
        try:
            return self._multiply(input, weight, bias)
        finally:
            comfy.ops.uncast_bias_weight(self, weight, bias, stream)

    def _stream_in(self, input):
        """(weight, bias, stream) on the input's device, LoRAs applied. The weight stays quantized if core allows it."""
        device, patches = input.device, self.weight_function
        if self.__dict__.get(PAGED_PATCH) is not None:
            self._check_core_requantizes()
        if not patches:
            return comfy.ops.cast_bias_weight(
                self,
                None,
                dtype=self.weight.dtype,
                device=device,
                bias_dtype=input.dtype,
                offloadable=True,
                compute_dtype=input.dtype,
                want_requant=True,
            )
        # a layer that core left in RAM: patched as patch_weight_to_device would have, so the output is the same
        dtype = comfy.model_management.lora_compute_dtype(device)
        weight, bias, stream = comfy.ops.cast_bias_weight(
            self, None, dtype=dtype, device=device, bias_dtype=input.dtype, offloadable=True, compute_dtype=dtype
        )
        if all(getattr(patch, "is_lowvram_patch", False) for patch in patches):
            weight = self._requantize(weight, comfy.utils.string_to_seed(patches[0].key))
        return weight, bias, stream

    def _multiply(self, input, weight, bias):
        if not isinstance(weight, QuantizedTensor):
            return torch.nn.functional.linear(input, weight.to(input.dtype), bias)
        kernel = self.kernel
        if input.device.type != self.model_plan.machine.kind:
            kernel = self.model_plan.elsewhere(input.device, self.format, (self.out_features, self.in_features))
        # compiled code must not keep state between layers
        shared = None if torch.compiler.is_compiling() else ACTIVE.get()
        if shared is None:
            y = kernel.linear(self._rows(input), weight._qdata, weight._params, bias)
        else:
            y = shared.linear(self, kernel, input, self._rows, weight, bias)
        return y.to(input.dtype).reshape(*input.shape[:-1], self.out_features)

    def _rows(self, input):
        """input [..., K] -> [M, K] in the plan's compute dtype; core's text encoders pass float32."""
        return input.reshape(-1, self.in_features).to(self.model_plan.compute_dtype)

    def __getattr__(self, name):
        """Names of the state dict as attributes: core looks them up when it merges models, and saves those in
        WRITTEN_BY_CORE."""
        if self.kernel is not None:
            if name in WRITTEN_BY_CORE and name in FORMATS[self.format].tensors:
                given = getattr(self.weight._params, name)
                return given if given.numel() else None
            if name == "comfy_quant" or (name.startswith("weight_") and name != "weight_function"):
                saved = self.state_dict()
                if name in saved:
                    return saved[name]
        return super().__getattr__(name)

    def state_dict(self, *args, destination=None, prefix="", **kwargs):
        """Core's state dict, with the tensors of WRITTEN_BY_CORE that older releases leave out."""
        saved = super().state_dict(*args, destination=destination, prefix=prefix, **kwargs)
        if self.kernel is not None:
            given = {f"{prefix}{name}": getattr(self, name, None) for name in WRITTEN_BY_CORE}
            saved.update({key: value for key, value in given.items() if value is not None})
            # of a format that this core does not know it writes the name alone
            marker = f"{prefix}comfy_quant"
            told = json.loads(bytes(saved[marker].tolist()))
            if not FORMATS[self.format].settings.keys() <= told.keys():
                entry = json.dumps({**told, **FORMATS[self.format].settings})
                saved[marker] = torch.tensor(list(entry.encode()), dtype=torch.uint8)
        return saved

    def _requantize(self, weight, seed):
        return requantized(
            self.weight, weight, scale="recalculate", stochastic_rounding=seed or 0, inplace_ops=True
        ).to(self.weight.dtype)

    def _check_core_requantizes(self):
        """Raises PatchError if core would lose parameters of the weight when it writes a patched one back."""
        if requantizes_with_params() or not kept_beside(self.weight):
            return
        raise PatchError(
            f"This ComfyUI cannot patch {self.format} weights under dynamic VRAM: it would lose their scales. "
            "Update to ComfyUI 0.27 or newer, set Load LoRA (any format) to bypass, or start ComfyUI with "
            "--disable-dynamic-vram."
        )

    def set_weight(self, weight, inplace_update=False, seed=None, return_weight=False, **_):
        """Core's call after a LoRA: quantize float [N, K] with fresh scales and stochastic rounding, and store it.

        Raises PatchError for inplace_update of a quantized weight. Core's scheduled LoRAs use it, and restore the old
        weight by a copy without its scales.
        """
        if self.kernel is not None and inplace_update:
            raise PatchError(
                "A scheduled LoRA (hook) cannot patch quantized weights: restoring them would lose their scales. "
                "Use LoraLoaderBypassModelOnly, or LoraLoaderModelOnly without a schedule."
            )
        weight = weight.to(self.weight.dtype) if self.kernel is None else self._requantize(weight, seed)
        if return_weight:
            return weight
        self.weight = lasting(weight)
        return None
