"""A folder of ours to the Hugging Face hub, in one commit. (`adopting.of_hub` is the way back.)"""

from __future__ import annotations

import re
from pathlib import Path

from omniform.core.errors import CheckpointError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def repository_of(where: str | Path) -> str | None:
    """OWNER/NAME where that is what a place says ("hf:OWNER/NAME" or OWNER/NAME that is no folder here); None: it is a folder."""
    if isinstance(where, Path):
        return None
    if where.startswith("hf:"):
        name = where.removeprefix("hf:")
        if not _REPOSITORY.fullmatch(name):
            raise CheckpointError(f"{where!r} is not the name of a repository; write hf:OWNER/NAME")
        return name
    return where if _REPOSITORY.fullmatch(where) and not Path(where).exists() and not Path(where).parent.exists() else None


def send(folder: Path, name: str, *, private: bool = False) -> str:
    """All files of a folder as one commit of a repository of models, made if it is not there; its address. The user's own token of the hub is used."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = huggingface_hub.HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message="A system of Omniform"))
    except HFValidationError as error:
        raise CheckpointError(f"{name!r} is not the name of a repository ({_first(error)}); write OWNER/NAME") from error
    except HfHubHTTPError as error:
        raise CheckpointError(f"the hub does not take {name}: {_first(error)}; log in (hf auth login) as somebody who may write there") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the hub does not take {name}: {_first(error)}; check the network") from error


def _first(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
