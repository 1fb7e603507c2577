"""What people do between two runs of a graph, as a table; each action draws what it needs from the driver's rng."""

import threading
import time
from collections.abc import Callable

from distance import distance
from error_cases.case import node, scheme

from x2v_quant.demo import assets
from x2v_quant.headless.client import Client, ServerError

from . import files
from .files import CUT, DELETED, FOREIGN_LORA, TEXT_ENCODER, replace
from .recipes import INT4, INT8, NVFP4, RECIPES, Recipe, prompt_of

LONG = 2000  # steps of a run that is stopped
# what is wrong -> (change of a good prompt, words of the pack's, or of core's refusal)
BROKEN: dict[str, tuple[Callable[[dict], None], str]] = {}


def broken(words: str):
    def register(change: Callable[[dict], None]) -> Callable[[dict], None]:
        BROKEN[change.__name__] = (change, words)
        return change

    return register


def inputs_of(prompt: dict, kind: str) -> dict:
    return next(entry["inputs"] for entry in prompt.values() if entry["class_type"] == kind)


@broken("is cut off")
def a_file_that_is_cut(prompt):
    inputs_of(prompt, "X2VLoadDiT")["model_name"] = CUT


@broken("gone.safetensors")
def a_file_that_is_not_there(prompt):
    inputs_of(prompt, "X2VLoadDiT")["model_name"] = "gone.safetensors"


@broken("belongs in")
def the_wrong_loader(prompt):
    inputs_of(prompt, "X2VLoadDiT")["model_name"] = TEXT_ENCODER


@broken("scheme fp8-triton is for fp8-channel")
def a_scheme_of_another_format(prompt):
    prompt["scheme"] = scheme(dit="fp8-triton")
    inputs_of(prompt, "X2VLoadDiT")["scheme"] = ["scheme", 0]


@broken("has nothing for this model")
def a_lora_of_another_model(prompt):
    inputs = inputs_of(prompt, "ModelSamplingSD3")
    prompt["lora"] = node("X2VLoadLoRA", model=inputs["model"], lora_name=FOREIGN_LORA, strength=1.0, mode="auto")
    inputs["model"] = ["lora", 0]


@broken("int9")
def a_wrong_line(prompt):
    inputs = inputs_of(prompt, "ModelSamplingSD3")
    prompt["quantize"] = node("X2VQuantizeModel", model=inputs["model"], format="int8-channel", layers="ffn.2 = int9")
    inputs["model"] = ["quantize", 0]


@broken("INT")
def a_number_that_is_none(prompt):
    inputs_of(prompt, "KSampler")["steps"] = "many"


def sample(driver) -> str:
    recipe = driver.rng.choice(RECIPES)
    driver.check(recipe)
    return str(recipe)


def again(driver) -> str:
    """The graph that ran last: the loaders are cached."""
    driver.check(driver.last)
    return str(driver.last)


def free(driver) -> str:
    flags = {"unload_models": driver.rng.random() < 0.6, "free_memory": driver.rng.random() < 0.4}
    driver.client.free(**flags)
    time.sleep(driver.rng.choice((0.0, 0.6)))  # the flags are looked at between two prompts
    return str(flags)


def interrupt(driver) -> str:
    recipe = driver.rng.choice(RECIPES)
    steps = driver.rng.randrange(1, 6)
    seen = []

    def watch(event):
        if event.type == "progress":
            seen.append(event)
            if len(seen) == steps:
                driver.client.interrupt()

    try:
        driver.client.run(prompt_of(recipe, driver.info, driver.count(), steps=LONG), watch)
    except ServerError as error:
        driver.expect("interrupted" in str(error), f"interrupting {recipe}: {error}")
        return str(recipe)
    driver.expect(False, f"{recipe} ran to its end though it was interrupted")
    return str(recipe)


def clear_queue(driver) -> str:
    """Two prompts wait behind one that runs; the queue is cleared, and the running one interrupted."""
    client = Client(driver.server.url)
    first = client.submit(prompt_of(driver.rng.choice(RECIPES), driver.info, driver.count(), steps=LONG))
    # one that still waits would be cleared with the others
    driver.until(lambda: first in _running(client), f"{first} does not begin")
    waiting = [client.submit(prompt_of(driver.rng.choice(RECIPES), driver.info, driver.count())) for _ in range(2)]
    client._request("POST", "/queue", json={"clear": True})
    driver.until(lambda: _interrupted(client, first), f"{first} goes on after an interrupt")
    driver.expect(not any(client.history(prompt) for prompt in waiting), "a prompt ran that was cleared")
    return f"{first} and two more"


def _running(client: Client) -> list[str]:
    return [entry[1] for entry in client.get("/queue")["queue_running"]]


def _interrupted(client: Client, prompt: str) -> bool:
    client.interrupt()
    return bool(client.history(prompt))


def broken_prompt(driver) -> str:
    name = driver.rng.choice(list(BROKEN))
    change, words = BROKEN[name]
    prompt = prompt_of(Recipe(INT8), driver.info, driver.count())
    change(prompt)
    try:
        driver.client.run(prompt)
    except ServerError as error:
        driver.expect(words in str(error) and "Traceback" not in str(error), f"{name}: {error}")
    else:
        driver.expect(False, f"{name} went through")
    return name


def replace_file(driver) -> str:
    driver.version = 1 - driver.version
    replace(driver.models, driver.version)
    recipe = driver.rng.choice([recipe for recipe in RECIPES if recipe.file == files.REPLACED])
    driver.check(recipe)
    return f"version {driver.version}, {recipe}"


def delete_file(driver) -> str:
    """While its model may still be cached; then it is put back."""
    path = driver.models / assets.FOLDERS["t2v"] / DELETED
    content = path.read_bytes()
    if driver.rng.random() < 0.5:
        driver.check(Recipe(DELETED))
    path.unlink()
    try:
        driver.client.run(prompt_of(Recipe(DELETED), driver.info, driver.count()))
    except ServerError as error:
        driver.expect(DELETED in str(error) and "Traceback" not in str(error), f"a deleted file: {error}")
    else:
        driver.expect(False, "a file that is not there was loaded")
    beside = path.with_suffix(".part")
    beside.write_bytes(content)
    beside.replace(path)
    driver.check(Recipe(DELETED))
    return DELETED


def two_clients(driver) -> str:
    chosen = driver.rng.sample(RECIPES, 2)
    found: dict[Recipe, object] = {}

    def run(recipe: Recipe, prompt: dict) -> None:
        try:
            found[recipe] = driver.latent(Client(driver.server.url).run(prompt))
        except Exception as error:
            found[recipe] = error

    prompts = [prompt_of(recipe, driver.info, driver.count()) for recipe in chosen]
    threads = [threading.Thread(target=run, args=pair) for pair in zip(chosen, prompts, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for recipe in chosen:
        driver.compare(recipe, found[recipe])
    return " and ".join(map(str, chosen))


def save_and_load(driver) -> str:
    """A quantized model is saved, and the file then loaded in its place."""
    node_of_ours = driver.rng.random() < 0.7
    recipe = driver.rng.choice([recipe for recipe in RECIPES if recipe.stages[-1:] == ("quantize int8",)])
    prompt = prompt_of(recipe, driver.info, driver.count())
    model = {"model": [f"stage{len(recipe.stages) - 1}", 0], "filename_prefix": f"order/saved{driver.count()}"}
    ours = node("X2VSaveModel", **model, dialect=driver.rng.choice(("x2v", "comfyui", "lightx2v")), package="file")
    prompt["save"] = ours if node_of_ours else node("ModelSave", **model)
    expected = driver.latent(driver.client.run(prompt))
    driver.compare(recipe, expected)
    (saved,) = (driver.server.base / "output" / "order").glob("saved*.safetensors")
    path = driver.models / assets.FOLDERS["t2v"] / f"order_{saved.name}"
    saved.rename(path)
    found = driver.latent(driver.client.run(prompt_of(Recipe(path.name), driver.info, driver.count())))
    path.unlink()
    off = distance(found, expected)
    driver.expect(off < 1e-4, f"{recipe} saved and loaded: the latents are {off:.2g} off")
    return f"{recipe} by {prompt['save']['class_type']}"


def compare_models(driver) -> str:
    """Compare says of the same two models what it said first."""
    prompt = prompt_of(Recipe(INT8), driver.info, driver.count())
    sampler = inputs_of(prompt, "KSampler")
    given = {name: value for name, value in sampler.items() if name not in ("model", "denoise")}
    del prompt["latent"]
    prompt["other"] = node("X2VLoadDiT", model_name=driver.rng.choice((INT4, NVFP4)))
    prompt["compare"] = node("X2VCompare", reference=sampler["model"], candidate=["other", 0], **given)
    prompt["compare"]["inputs"]["denoise"] = 1.0 - driver.count() * 1e-9
    result = driver.client.run(prompt).outputs["compare"]
    told = [text for text in result["text"] if text]
    known = driver.told.setdefault(prompt["other"]["inputs"]["model_name"], told)
    driver.expect(told == known, f"Compare says {told} and said {known}")
    return prompt["other"]["inputs"]["model_name"]


# action -> how often, relative to the others
ACTIONS: dict[Callable, int] = {
    sample: 10,
    again: 4,
    free: 6,
    interrupt: 2,
    clear_queue: 1,
    broken_prompt: 3,
    replace_file: 2,
    delete_file: 1,
    two_clients: 2,
    save_and_load: 2,
    compare_models: 1,
}
