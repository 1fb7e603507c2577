"""The map: where a layer is, and that its colour is that of its figure."""

import math
from itertools import pairwise

import numpy
import pytest
from PIL import ImageColor

from x2v_quant.comparing.heat_map import BROKEN, HEIGHT, IDENTICAL, SCALE, block_and_kind, colour_of, heat_map


def pixels(picture, colour):
    """How many rows and columns of the picture have this colour somewhere."""
    there = (numpy.array(picture) == colour).all(-1)
    return int(there.any(1).sum()), int(there.any(0).sum())


def area(picture, colour):
    return int((numpy.array(picture) == colour).all(-1).sum())


@pytest.mark.parametrize(
    "name,place",
    [
        ("blocks.3.ffn.0", ("blocks.3", "ffn.0")),
        ("double_blocks.11.img_attn.qkv", ("double_blocks.11", "img_attn.qkv")),
        ("txt_in.individual_token_refiner.blocks.0.mlp.0", ("txt_in.individual_token_refiner.blocks.0", "mlp.0")),
        ("input_blocks.1.1.proj_in", ("input_blocks.1", "1.proj_in")),
        ("text_embedding.0", None),
        ("head.head", None),
        ("img_in", None),
    ],
)
def test_what_a_block_is(name, place):
    assert block_and_kind(name) == place


@pytest.mark.parametrize("place,colour", [(20.0, SCALE[0]), (60.0, SCALE[-1]), (40.0, SCALE[2]), (30.0, SCALE[1])])
def test_the_scale_runs_from_the_worst_to_the_best(place, colour):
    assert colour_of(place, (20.0, 60.0)) == ImageColor.getrgb(colour)


def test_the_scale_gets_brighter():
    brightness = [sum(weight * part for weight, part in zip((0.3, 0.59, 0.11), colour_of(snr, (0, 50)), strict=True))
                  for snr in range(51)]  # fmt: skip
    assert all(a < b for a, b in pairwise(brightness))


def test_the_bad_layer_is_dark_where_it_belongs(layer):
    """Blocks from left to right, kinds from top to bottom."""
    bad = ("blocks.2.b", 10.0)
    layers = [layer(f"blocks.{n}.{kind}", 50.0) for n in range(4) for kind in "abc"]
    layers = [layer(*bad) if found.name == bad[0] else found for found in layers]
    image = numpy.array(heat_map(layers))
    dark, bright = (numpy.argwhere((image == ImageColor.getrgb(colour)).all(-1)) for colour in (SCALE[0], SCALE[-1]))
    map_bottom = bright[:, 0].min() + 3 * HEIGHT
    dark, bright = (found[found[:, 0] < map_bottom] for found in (dark, bright))
    (top, left), (bottom, right) = bright.min(0), bright.max(0)
    y, x = (dark.min(0) + dark.max(0)) / 2
    assert (y - top) / (bottom - top) == pytest.approx(0.5, abs=0.05)
    assert (x - left) / (right - left) == pytest.approx(2.5 / 4, abs=0.05)


@pytest.mark.parametrize("snr,colour", [(math.inf, IDENTICAL), (-math.inf, BROKEN)])
def test_what_is_no_figure_has_its_own_colour(layer, snr, colour):
    rgb = ImageColor.getrgb(colour)
    plain, special = (heat_map([layer("blocks.0.a", 30.0), layer("blocks.1.a", value)]) for value in (40.0, snr))
    assert area(special, rgb) > area(plain, rgb) + 300


def test_many_blocks_and_layers_outside_of_them_fit(layer):
    """Flux has 57 blocks in two stacks of other layers."""
    layers = [layer(f"double_blocks.{n}.img_attn.qkv", 30.0 + n) for n in range(19)]
    layers += [layer(f"single_blocks.{n}.linear1", 20.0 + n) for n in range(38)]
    picture = heat_map([layer("img_in", 5.0), *layers])
    assert 57 * 12 < picture.width < 1300
    assert pixels(picture, ImageColor.getrgb(SCALE[0]))[0] >= HEIGHT - 2  # 20 dB is the least, not the 5 of img_in
    assert heat_map(layers).tobytes() == picture.tobytes()


def test_nothing_to_draw(layer):
    assert heat_map([]).tobytes() == heat_map([layer("head", 3.0)]).tobytes()
    assert heat_map([]).height < heat_map([layer("blocks.0.a", 3.0)]).height
