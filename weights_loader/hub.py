"""Where the files of a checkpoint are: in a folder, in the local cache, or on the hub."""

import errno
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from weights_loader.layout import CONFIG, TOKENIZER_FILES, WEIGHTS, config_files, tokenizer_files, weight_files
from weights_loader.tensors import CheckpointError

TIMEOUT = 10  # seconds without an answer from the hub
OUR_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
}  # errors that the network has no part in


@dataclass(frozen=True)
class Official:
    """An official model on the hub, at the revision that is known to be right."""

    repo: str
    revision: str
    sha256: dict[str, str] = field(default_factory=dict)  # of the files for which it is published


OFFICIAL = {
    "gpt2": Official(
        "openai-community/gpt2",
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        {
            WEIGHTS: "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
            "tokenizer.json": "8414cab924d8b9b33013f0d221c5862f365ee9be39c5c2bfae8a5a9e970478a6",
        },
    ),
    "gpt2-medium": Official("openai-community/gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"),
    "gpt2-large": Official("openai-community/gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519"),
    "gpt2-xl": Official(
        "openai-community/gpt2-xl",
        "15ea56dee5df4983c59b2538573817e1667135e2",
        {WEIGHTS: "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a"},
    ),
    "distilgpt2": Official(
        "distilbert/distilgpt2",
        "2290a62682d06624634c1f46a6ad5be0f47f38aa",
        {WEIGHTS: "e1ff18884359fe8beb795a5f414feb85a6ce3d929ad019c0d958c039d2b94a1b"},
    ),
}


def locate_config(name, revision=None, offline=False):
    """The folder with the config of a model; see _locate."""
    return _locate(name, revision, offline, config_files)


def locate_weights(name, revision=None, offline=False):
    """The folder with the config and the weights of a model; see _locate."""
    return _locate(name, revision, offline, weight_files)


def locate_tokenizer(name, revision=None, offline=False):
    """The folder with the files of a model's tokenizer; see _locate."""
    return _locate(name, revision, offline, tokenizer_files)


def _locate(name, revision, offline, choose):
    """The folder that holds the files which choose(names, place) picks, for a folder or a model of the hub.

    An official name ("gpt2") stands for its repository at a fixed revision; another ("user/model") for its main branch
    unless told. Files in the local cache are used as they are, without a look at the network; what is missing is
    downloaded, verified, and cached. Raises CheckpointError.
    """
    folder = Path(name).expanduser()
    if str(name) and folder.is_dir():
        choose([path.name for path in folder.iterdir()], folder)
        return folder
    name = str(name)
    if folder.is_file():
        raise CheckpointError(f"{name} is a file; give the folder that it lies in")
    if name not in OFFICIAL and not _is_repository(name):
        known = ", ".join(OFFICIAL)
        raise CheckpointError(
            f"there is no folder or model {name!r}; official models are {known}, others are named user/model"
        )
    official = OFFICIAL.get(name) or next((o for o in OFFICIAL.values() if o.repo == name), Official(name, "main"))
    revision = revision or official.revision
    cached = _cached(official.repo, revision, choose)
    if cached:
        return cached
    if offline or _hub_is_switched_off():
        raise CheckpointError(
            f"{name} is not in the local cache, and the network is switched off. {_by_hand(official.repo)}"
        )
    return _download(official, revision, choose)


def _is_repository(name):
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name and not name.startswith(".")


def _by_hand(repo):
    return (
        f"On a machine with a network run `hf download {repo} --local-dir FOLDER`, copy FOLDER here "
        "and give its path as the model's name"
    )


def _hub_is_switched_off():
    import huggingface_hub

    return huggingface_hub.is_offline_mode()


def _cached(repo, revision, choose):
    """The snapshot folder in the local cache, or None if it is not there or lacks a file."""
    import huggingface_hub

    for file in (CONFIG, *(files[0] for files in TOKENIZER_FILES)):
        path = huggingface_hub.try_to_load_from_cache(repo, file, revision=revision)
        if isinstance(path, str):
            folder = Path(path).parent
            try:
                choose([path.name for path in folder.iterdir() if path.exists()], folder)
            except CheckpointError:
                return None
            return folder
    return None


def _download(official, revision, choose):
    import huggingface_hub
    from huggingface_hub import errors

    repo = official.repo
    try:
        info = huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=TIMEOUT)
        files = choose([sibling.rfilename for sibling in info.siblings or ()], f"{repo} on the hub")
        for file in files:
            known_before = huggingface_hub.try_to_load_from_cache(repo, file, revision=info.sha)
            path = huggingface_hub.hf_hub_download(repo, file, revision=revision, etag_timeout=TIMEOUT)
            if not isinstance(known_before, str):
                _verify(Path(path), file, official if revision == official.revision else None)
    except CheckpointError:
        raise
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{repo} asks for permission: request it on its page, then run `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(f"the hub has no model {repo!r} (or it is private: run `hf auth login`)") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{repo} has no revision {revision!r}") from error
    except errors.RemoteEntryNotFoundError as error:
        raise CheckpointError(f"{repo} lists {file}, but does not deliver it") from error
    except Exception as error:  # the network's failures have many types, those of the HTTP library among them
        if isinstance(error, OSError) and error.errno in OUR_DISK:
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise CheckpointError(
            f"{repo} could not be downloaded ({type(error).__name__}: {reason}). Files that arrived whole are kept: "
            f"try again later. {_by_hand(repo)}"
        ) from error
    return Path(path).parent


def _verify(path, file, official):
    """Compare a downloaded file with its known sha256; remove it if it differs.

    The hub stores large files under the name of their sha256. For official weights we do not take its word for it.
    """
    blob = path.resolve()
    expected = blob.name if re.fullmatch(r"[0-9a-f]{64}", blob.name) else None
    if official:
        expected = official.sha256.get(file, expected)
    if expected is None:
        return
    found = None
    try:
        with open(blob, "rb") as data:
            found = hashlib.file_digest(data, "sha256").hexdigest()
    finally:
        if found != expected:  # also when interrupted: nothing stays in the cache that was not verified
            os.unlink(path)
            blob.unlink(missing_ok=True)
    if found != expected:
        raise CheckpointError(
            f"{file} arrived damaged or altered (sha256 {found}, expected {expected}) and was removed; run it again"
        )
