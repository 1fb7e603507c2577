"""Names that training and saving code gives the tensors of a known model -> the model's own."""

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..common.compiled import COMPILED
from ..families.family import UNKNOWN
from ..families.recognise import Told, find_prefix, recognise
from .errors import Problem
from .markers import WHOLE_FILE
from .stored import codes_of
from .tensor_info import SPIECE, WEIGHT, Contents, TensorInfo

# parts of a name that wrappers of modules add, anywhere in it
INFIXES = {
    "_checkpoint_wrapped_module",
    "_fsdp_wrapped_module",
    "_fpw_module",
    COMPILED,
    "_forward_module",
    "_module",
    "module",
    "base_layer",
}
# how optimum-quanto and torchao end the names of what a quantized weight is made of -> how they end elsewhere
ENDS = {
    "weight._data": WEIGHT[1:],
    "weight._scale": "weight_scale",
    "weight._shift": "weight_zero_point",
    "_weight_qdata": WEIGHT[1:],
    "_weight_scale": "weight_scale",
    "_weight_zero_point": "weight_zero_point",
}
# words of the names that trainers give an average of the weights, parts of those of what is no model, and counters
EMA = {"ema", "average", "averaged", "shadow", "swa"}
TRAINING = ("optim", "scheduler", "scaler", "exp_avg", "momentum_buffer", "callback", "rng_state")
COUNTERS = re.compile(
    r"(?:(?:\w*ema|(?:\w+_)?state|trainer)\.)?(?:(?:global_|train_|num_)?steps?|epochs?|iter(?:ation)?s?|num_updates|n_averaged|initted"
    r"|(?:ema_)?decay|(?:best_|val_|train_)?loss|(?:\w+_)?rng_state)"
)
# a wrapper in a wrapper in a wrapper; more is no model
DEEPEST = 8
MOST_LISTED = 6

Infos = Mapping[str, TensorInfo]


@dataclass
class Unwrapped:
    """`contents` under the model's own names, but for core's prefix; `keys`: name -> the file's key."""

    contents: Contents
    keys: dict[str, str] = field(default_factory=dict)

    def tie(self, module: str, others: Iterable[str]) -> None:
        """Where `module` has no weight, call the first of `others` that has one by its name."""
        prefix = find_prefix(self.keys)
        place = next((one for one in (module, *others) if f"{prefix}{one}{WEIGHT}" in self.keys), module)
        if place == module:
            return
        for name in [name for name in self.keys if name.startswith(f"{prefix}{place}.")]:
            new = prefix + module + name.removeprefix(prefix + place)
            for table in (self.keys, self.contents.tensors, self.contents.markers):
                if name in table:
                    table[new] = table.pop(name)
        self.contents.notes.append(f"{module} is not in the file: {place}, which has the same weights, stands for it")


def unwrap(contents: Contents) -> Unwrapped:
    """Take off what is around the names of a known model; those of any other stay as they are.

    Raises CheckpointError for a file of several models of which none is an average of the others' weights, and for two
    tensors that become one.
    """
    prefixes = locate(contents.tensors)
    if not prefixes:
        named = {key: _ended(key) for key in contents.tensors}
        return _renamed(contents, named)
    file = next(iter(contents.tensors.values())).file.name
    prefix, aloud = choose(prefixes, file)
    named = {key: name for key in contents.tensors if (name := own_name(key, prefix)) is not None}
    left = [key for key in contents.tensors if key not in named]
    notes = [*contents.notes, *aloud]
    notes += [f"names are read without {prefix!r}, which stands before them"] if prefix else []
    notes += [f"{len(left)} tensors that are no part of the model are left out: {left[0]}, ..."] if left else []
    return _renamed(replace(contents, notes=notes, aloud=contents.aloud + aloud, wrapper=prefix), named)


def own_name(key: str, prefix: str) -> str | None:
    """A key of the file -> the model's name; None for what is beside the model: counters, an optimizer, copies."""
    name = bare(key)
    inside = name.startswith(prefix)
    name = name.removeprefix(prefix)
    if is_counter(name.removeprefix(find_prefix([name]))) or (not inside and name not in (WHOLE_FILE, SPIECE)):
        return None
    head, dot, _ = name.partition(".")
    return None if dot and is_training(head) else name


def bare(key: str) -> str:
    """A key without what wrappers of modules add in the midst of it."""
    return ".".join(part for part in _ended(key).split(".") if part not in INFIXES)


def locate(tensors: Infos) -> dict[str, Told]:
    """Prefix -> the known model whose names stand behind it. Several: whole models side by side, and beside them
    nothing but what a trainer keeps."""
    names = {bare(key): info for key, info in tensors.items()}
    return _inside({name: info for name, info in names.items() if not _is_loose(name)}, DEEPEST)


def choose(models: Mapping[str, Told | None], file: str) -> tuple[str, list[str]]:
    """(the one of several models in a file that is read, what to say of that); None: one of no known family. Raises
    CheckpointError where nothing tells which."""
    if len(models) == 1:
        return next(iter(models)), []
    averages = [name for name in models if is_average(name)]
    listed = _listed(models)
    if len(averages) != 1 or len({told and told.kind for told in models.values()}) > 1:
        remedy = "Save the one that you want as a file of its own, with torch.save or as .safetensors."
        raise Problem(file, "", f"has several tables of tensors: {listed}", remedy).error()
    said = f"of several copies ({listed}) the average of the weights is read: {averages[0].rstrip('.')}"
    return averages[0], [said]


def is_average(name: str) -> bool:
    """Whether trainers call an average of the weights so."""
    return any(word.rstrip("0123456789") in EMA for word in re.split("[._]", name.lower()))


def is_training(name: str) -> bool:
    """Whether what a training run calls so is no model: moments of an optimizer look like one."""
    return any(word in name.lower() for word in TRAINING)


def model_shapes(tensors: Infos) -> tuple[dict[str, tuple[int, ...]], bool]:
    """(name without core's prefix -> shape, whether there are quantized layers). The layers of GPTQ files and of others
    have no tensor called weight, which is what models are told by: they get one."""
    prefix = find_prefix(tensors)
    shapes = {key.removeprefix(prefix): info.shape for key, info in tensors.items()}
    codes = {layer: info.shape for key, info in tensors.items() if (layer := codes_of(key, info)) is not None}
    shapes.update({f"{layer.removeprefix(prefix)}{WEIGHT}": shape for layer, shape in codes.items()})
    return shapes, bool(codes)


def layer_names(names: Iterable[str], contents: Contents, prefix: str) -> dict[str, Iterable[str]]:
    """What the layers that a header calls `names` may be called here: files have such names with and without what
    stands before the tensors', and with a prefix of their own."""
    own = {name: bare(name).removeprefix(contents.wrapper) for name in names}
    columns = zip(*(name.split(".") for name in own.values()), strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda parts: len(set(parts)) == 1, columns))
    found = {}
    for name, inner in own.items():
        parts = inner.split(".")
        inside = [".".join(parts[count:]) for count in range(min(shared, len(parts) - 1) + 1)]
        found[name] = dict.fromkeys((name, prefix + name, *inside, *(prefix + one for one in inside)))
    return found


def _inside(names: Infos, depth: int) -> dict[str, Told]:
    told = recognise(model_shapes(names)[0])
    if told is not None:
        return {"": told}
    heads: dict[str, dict[str, TensorInfo]] = {}
    for name, info in names.items():
        head, dot, rest = name.partition(".")
        heads.setdefault(head + dot, {})[rest] = info
    if "" in {head.partition(".")[1] for head in heads} or not depth:
        return {}
    found: dict[str, Told] = {}
    for head, rest in heads.items():
        if len(heads) > 1 and is_training(head):
            continue
        models = _inside({name: info for name, info in rest.items() if not _is_loose(name)}, depth - 1)
        if not models:
            return {}
        found.update({head + prefix: told for prefix, told in models.items()})
    ours = {prefix: told for prefix, told in found.items() if told.kind != UNKNOWN}
    return ours if len(found) > 1 else found


def _listed(models: Mapping[str, Told | None]) -> str:
    shown = [
        f"{name.rstrip('.') or 'the file itself'} ({told.model if told else 'no model that is known here'})"
        for name, told in itertools.islice(models.items(), MOST_LISTED)
    ]
    more = len(models) - len(shown)
    return f"{', '.join(shown)}{f' and {more} more' if more else ''}"


def is_counter(name: str) -> bool:
    """Whether a tensor of a training run is a number that no model has."""
    return COUNTERS.fullmatch(name) is not None


def _is_loose(name: str) -> bool:
    """Whether a tensor stands beside the model's, with or without the prefix of those."""
    return name in (WHOLE_FILE, SPIECE) or is_counter(name)


def _ended(key: str) -> str:
    end = next((end for end in ENDS if key.endswith(f".{end}")), None)
    return key if end is None else key.removesuffix(end) + ENDS[end]


def _renamed(contents: Contents, named: Mapping[str, str]) -> Unwrapped:
    keys: dict[str, str] = {}
    for key, name in named.items():
        other = keys.setdefault(name, key)
        if other != key:
            remedy = "The file mixes two ways of naming: download it again."
            raise Problem(contents.tensors[key].file.name, key, f"is the same tensor as {other}", remedy).error()
    tensors = {name: contents.tensors[key] for name, key in keys.items()}
    markers = {name: contents.markers[key] for name, key in keys.items() if key in contents.markers}
    return Unwrapped(replace(contents, tensors=tensors, markers=markers), keys)
