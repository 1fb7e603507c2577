"""Load LightX2V Config and Load Wan 2.2 Experts in the real server, with the demo's files in LightX2V's layout."""

import json
import shutil

import pytest
from distance import distance

from x2v_quant.demo import assets
from x2v_quant.demo.scenes import FRAMES, SIDE
from x2v_quant.headless.client import ServerError
from x2v_quant.kernels.machine import cpu_has_bf16

pytestmark = pytest.mark.slow

EXPERT = "wan2.2_i2v_A14b_{}_noise_int8_lightx2v_4step.safetensors"
INT8, DENSE = assets.names("int8"), assets.names(assets.ORIGINAL)
FOLDER = "Wan2.2-demo"
CONFIG = {
    "infer_steps": 4,
    "denoising_step_list": [1000, 750, 500, 250],
    "boundary_step_index": 2,
    "sample_shift": 5.0,
    "enable_cfg": False,
    "dit_quantized": True,
    "dit_quant_scheme": "int8-vllm",
    "t5_quantized": True,
    "t5_quant_scheme": "int8",
    "cpu_offload": False,
    "use_tiling_vae": True,
    "rotary_chunk": True,
}


@pytest.fixture(scope="module")
def model_folder(server):
    """LightX2V's layout below models/diffusion_models, with its configuration in it."""
    models = server.base / "models"
    folder = models / "diffusion_models" / FOLDER
    for target, kind, name in (
        ("high_noise_model/a.safetensors", "t2v", INT8.t2v),
        ("low_noise_model/a.safetensors", "t2v", INT8.t2v),
        ("models_t5_umt5-xxl-enc-int8.pth", "t5", INT8.t5),
    ):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(models / assets.FOLDERS[kind] / name, folder / target)
    (folder / "run.json").write_text(json.dumps(CONFIG))
    return FOLDER


@pytest.fixture(scope="module")
def expert_files(server):
    """The demo's model as both experts, under the names that LightX2V gives them."""
    folder = server.base / "models" / assets.FOLDERS["i2v"]
    names = [EXPERT.format(noise) for noise in ("high", "low")]
    for name in names:
        shutil.copy(folder / INT8.i2v, folder / name)
    return names


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def loaded(**inputs):
    """A prompt that loads a configuration and shows the report."""
    defaults = {"config": "text below", "model_folder": "none: ComfyUI's folders", "text": ""}
    chosen = {**defaults, "text_encoder": True, "vision_encoder": True, **inputs}
    return {"load": node("X2VLoadConfig", **chosen), "show": node("PreviewAny", source=["load", 6])}


def sampled(prompt, graph):
    """What the two MODELs and the CLIP of node "load" make together, as a latent."""
    demo, ids = graph()
    positive = ids["KSampler"]
    text = {name: demo[demo[positive]["inputs"][name][0]]["inputs"]["text"] for name in ("positive", "negative")}
    prompt = dict(prompt)
    for name in text:
        prompt[name] = node("CLIPTextEncode", clip=["load", 2], text=text[name])
    prompt["size"] = node("EmptyHunyuanLatentVideo", width=SIDE, height=SIDE, length=FRAMES, batch_size=1)
    common = {"steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}
    common |= {"positive": ["positive", 0], "negative": ["negative", 0]}
    for slot, (name, start, end, noise, rest) in enumerate(
        (("high", 0, 2, "enable", "enable"), ("low", 2, 4, "disable", "disable"))
    ):
        prompt[f"{name} shift"] = node("ModelSamplingSD3", model=["load", slot], shift=5.0)
        latent = ["size", 0] if slot == 0 else ["high", 0]
        steps = {"start_at_step": start, "end_at_step": end, "add_noise": noise, "return_with_leftover_noise": rest}
        model = {"model": [f"{name} shift", 0], "latent_image": latent, "noise_seed": 1}
        prompt[name] = node("KSamplerAdvanced", **common, **steps, **model)
    prompt["latent"] = node("SaveLatent", samples=["low", 0], filename_prefix="latents/config")
    return prompt


def test_two_samplers_take_the_steps_that_one_would(server, run, graph, model_folder):
    """Both experts are the same file here: what they make in turns is what it makes alone."""
    prompt = loaded(config=f"{FOLDER}/run.json", model_folder=f"{FOLDER}/")
    together, _ = run(sampled(prompt, graph))
    alone = sampled(prompt, graph)
    alone["low"]["inputs"] |= {"add_noise": "enable", "start_at_step": 0, "latent_image": ["size", 0]}
    single, _ = run(alone)
    # the handed over latent differs in its last bits, which bfloat16 between the layers makes a rounding of its own
    assert distance(together, single) < (0.03 if cpu_has_bf16() else 1e-4)


def test_the_report(server, model_folder):
    result = server.client.run(loaded(config=f"{FOLDER}/run.json", model_folder=f"{FOLDER}/"))
    (report,) = result.outputs["show"]["text"]
    for part in (
        "high-noise MODEL: a.safetensors (Wan 2.1 t2v, int8-channel)",
        "CLIP: models_t5_umt5-xxl-enc-int8.pth (umt5 encoder, int8-channel)",
        "1, 0.9375, 0.83333333, 0.625, 0",
        "use_tiling_vae = true: VAEDecodeTiled",
        "rotary_chunk = true: LightX2V itself reads it nowhere",
    ):
        assert part in report


def test_a_pasted_configuration_with_files_in_comfyuis_folders(server, run, graph):
    config = {"dit_quantized": True, "dit_quantized_ckpt": f"/elsewhere/{INT8.t2v}", "t5_quantized": True}
    config |= {"t5_quantized_ckpt": INT8.t5}
    latent, _ = run(sampled(loaded(text=json.dumps(config)), graph))
    assert latent.isfinite().all()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"text": "{"}, "The pasted configuration is no JSON"),
        ({"text": "{}"}, "dit_original_ckpt is missing. Pick the model folder"),
        (
            {"text": json.dumps({"dit_original_ckpt": "nowhere.safetensors"})},
            "names nowhere.safetensors, which is not in",
        ),
        ({"config": "../secret.json"}, r"The configuration \.\./secret\.json is not here"),
    ],
)
def test_what_is_refused(server, inputs, message):
    with pytest.raises(ServerError, match=message):
        server.client.run(loaded(**inputs))


def test_experts_from_a_folder_and_by_the_names_of_files(server, model_folder, expert_files):
    options = server.client.object_info()["X2VLoadExperts"]["input"]["required"]["high_noise"][1]["options"]
    high_noise, _ = expert_files
    assert {f"{FOLDER}/", high_noise} <= {*options}
    for high in (f"{FOLDER}/", high_noise):
        prompt = {"load": node("X2VLoadExperts", high_noise=high, low_noise="auto")}
        for slot in range(2):
            prompt[f"report {slot}"] = node("X2VKernelReport", model=["load", slot])
        outputs = server.client.run(prompt).outputs
        assert all("int8-channel" in outputs[f"report {slot}"]["text"][0] for slot in range(2))


def test_an_expert_without_its_other_half_is_refused(server):
    prompt = {"load": node("X2VLoadExperts", high_noise=INT8.t2v, low_noise="auto")}
    prompt["report"] = node("X2VKernelReport", model=["load", 0])
    with pytest.raises(ServerError, match=r"x2v_demo_t2v_int8\.safetensors does not say which"):
        server.client.run(prompt)
