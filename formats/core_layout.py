"""Layouts of core's under names of this pack: the same Params, bytes and numbers.

Core knows layouts by name, and multiplies a weight in one of its own past the layer's forward: by
`comfy.ops.linear_input_act`, and in newer releases by methods of the layout. Hooks, LoRAs beside the weight and the
kernel of the layer would be lost without a word. So a layer of ours never has its weight in such a layout, and the
classes here inherit nothing of core's.
"""

from comfy_kitchen.tensor import QuantizedLayout, QuantizedTensor, get_layout_class

from .layout import register

# core's name of a layout -> ours
OURS: dict[str, str] = {}


class CoreLayout(QuantizedLayout):
    """A subclass gives NAME (registry key), CORES (core's) and Params, which are core's: see `of_core`."""

    NAME: str
    CORES: str

    @classmethod
    def cores(cls) -> type[QuantizedLayout]:
        """Asked each time: comfy.quant_ops puts classes of its own under the names that comfy_kitchen gave to its."""
        return get_layout_class(cls.CORES)

    @classmethod
    def quantize(cls, tensor, **options):
        """As core's: [N, K] float weight -> (codes, Params)."""
        return cls.cores().quantize(tensor, **options)

    @classmethod
    def dequantize(cls, qdata, params):
        return cls.cores().dequantize(qdata, params)

    @classmethod
    def get_plain_tensors(cls, qtensor):
        return cls.cores().get_plain_tensors(qtensor)

    @classmethod
    def state_dict_tensors(cls, qdata, params):
        return cls.cores().state_dict_tensors(qdata, params)

    @classmethod
    def requantize_kwargs(cls, qtensor):
        """What `quantize` takes to give a weight like this one again, beside its scales."""
        # older layouts have nothing to keep
        kept = getattr(cls.cores(), "requantize_kwargs", None)
        return {} if kept is None else kept(qtensor)

    @classmethod
    def get_logical_shape_from_storage(cls, storage_shape):
        """(N, K) with its padding, from the shape of the codes."""
        return getattr(cls.cores(), "get_logical_shape_from_storage", tuple)(storage_shape)


def of_core(name: str, cores: str) -> type[CoreLayout]:
    """The layout called `name` that stores what core's called `cores` does, registered."""
    OURS[cores] = name
    members = {"NAME": name, "CORES": cores, "Params": get_layout_class(cores).Params, "__module__": __name__}
    return register(type(name, (CoreLayout,), members))


def renamed(weight: QuantizedTensor) -> QuantizedTensor:
    """A weight in core's layout -> the same tensors in ours; any other weight as it is."""
    name = OURS.get(weight._layout_cls)
    return weight if name is None else QuantizedTensor(weight._qdata, name, weight._params)
