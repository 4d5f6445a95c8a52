"""Find the files of a checkpoint: in a folder, in the local cache, or on the hub."""

import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from weights_loader.answers import bounded_answers
from weights_loader.layout import CONFIG, TOKENIZER_FILES, WEIGHTS, config_files, tokenizer_files, weight_files
from weights_loader.reading import CheckpointError, checkpoint_errors

TIMEOUT_SECONDS = 10  # how long to wait for an answer from the hub
LOCAL_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}  # not the network's fault


@dataclass(frozen=True)
class HubModel:
    """A model on the hub, at one revision."""

    repo: str
    revision: str
    sha256: dict[str, str] = field(default_factory=dict)  # by file name, for the files whose sum is published


# The official models by their short names, each at a revision that is known to work.
OFFICIAL_MODELS = {
    "gpt2": HubModel(
        "openai-community/gpt2",
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        {
            WEIGHTS: "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
            "tokenizer.json": "8414cab924d8b9b33013f0d221c5862f365ee9be39c5c2bfae8a5a9e970478a6",
        },
    ),
    "gpt2-medium": HubModel("openai-community/gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"),
    "gpt2-large": HubModel("openai-community/gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519"),
    "gpt2-xl": HubModel(
        "openai-community/gpt2-xl",
        "15ea56dee5df4983c59b2538573817e1667135e2",
        {WEIGHTS: "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a"},
    ),
    "distilgpt2": HubModel(
        "distilbert/distilgpt2",
        "2290a62682d06624634c1f46a6ad5be0f47f38aa",
        {WEIGHTS: "e1ff18884359fe8beb795a5f414feb85a6ce3d929ad019c0d958c039d2b94a1b"},
    ),
}


def locate_config(name: str | os.PathLike, revision: str | None = None, local_files_only: bool = False) -> Path:
    """Return the folder with the configuration of a model, see locate_weights."""
    return _locate(name, revision, local_files_only, config_files)


def locate_weights(name: str | os.PathLike, revision: str | None = None, local_files_only: bool = False) -> Path:
    """Return the folder with the configuration and the weights of a model.

    name: a folder, or a model of the hub. An official name ("gpt2") stands for its repository at a fixed revision,
    any other ("user/model") for its main branch by default. Files in the local cache are used without asking the
    network. Missing files are downloaded, verified and cached; local_files_only forbids that. Raises CheckpointError.
    """
    return _locate(name, revision, local_files_only, weight_files)


def locate_tokenizer(name: str | os.PathLike, revision: str | None = None, local_files_only: bool = False) -> Path:
    """Return the folder with the files of a model's tokenizer, see locate_weights."""
    return _locate(name, revision, local_files_only, tokenizer_files)


def _locate(name, revision, local_files_only, required_files):
    """Return the folder that has all the files that required_files(names, source) picks from a source's file names."""
    with checkpoint_errors(f"{name} is no name of a folder"):  # it may be too long for one
        folder = Path(name).expanduser()
        is_folder = str(name) and folder.is_dir()
    if is_folder:
        required_files([path.name for path in folder.iterdir()], folder)
        return folder
    name = str(name)
    if folder.is_file():
        raise CheckpointError(f"{name} is a file; give the folder that it is in")
    if name not in OFFICIAL_MODELS and not _is_repository(name):
        known = ", ".join(OFFICIAL_MODELS)
        raise CheckpointError(
            f"there is no folder or model {name!r}; official models are {known}, others are named user/model"
        )
    model = _model_of(name)
    revision = revision or model.revision
    cached = _cached_folder(model.repo, revision, required_files)
    if cached:
        return cached
    if local_files_only or _hub_is_switched_off():
        raise CheckpointError(
            f"{name} is not in the local cache, and the network is switched off. {_download_by_hand(model.repo)}"
        )
    return _download(model, revision, required_files)


def _is_repository(name):
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name and not name.startswith(".")


def _download_by_hand(repo):
    return (
        f"On a machine with a network run `hf download {repo} --local-dir FOLDER`, copy FOLDER here "
        "and give its path as the model's name"
    )


def _hub_is_switched_off():
    import huggingface_hub

    return huggingface_hub.is_offline_mode()


def _cached_folder(repo, revision, required_files):
    """Return the snapshot's folder in the local cache, or None if there is none or it lacks a file."""
    import huggingface_hub

    for file in (CONFIG, *(files[0] for files in TOKENIZER_FILES)):
        path = huggingface_hub.try_to_load_from_cache(repo, file, revision=revision)
        if isinstance(path, str):
            folder = Path(path).parent
            try:
                required_files([path.name for path in folder.iterdir() if path.exists()], folder)
            except CheckpointError:
                return None
            return folder
    return None


def _download(model, revision, required_files):
    """Download the files of a model at a revision and return their folder in the cache. Raises CheckpointError."""
    from huggingface_hub import errors

    repo = model.repo
    try:
        with bounded_answers():
            return _download_files(model, revision, required_files)
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
    except Exception as error:  # network failures have many types, some of them the HTTP library's
        if isinstance(error, OSError) and error.errno in LOCAL_DISK_ERRORS:
            raise
        raise CheckpointError(
            f"{repo} could not be downloaded ({type(error).__name__}: {_first_line(error)}). Files that arrived "
            f"whole are kept: try again later. {_download_by_hand(repo)}"
        ) from error


def _download_files(model, revision, required_files):
    import huggingface_hub

    repo = model.repo
    info = huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=TIMEOUT_SECONDS)
    names = [sibling.rfilename for sibling in info.siblings or ()]
    files = required_files([name for name in names if Path(name).name == name], f"{repo} on the hub")
    for file in files:
        cached = huggingface_hub.try_to_load_from_cache(repo, file, revision=info.sha)
        try:
            path = huggingface_hub.hf_hub_download(repo, file, revision=revision, etag_timeout=TIMEOUT_SECONDS)
        except huggingface_hub.errors.RemoteEntryNotFoundError as error:
            raise CheckpointError(f"{repo} lists {file}, but does not deliver it") from error
        if not isinstance(cached, str):
            _verify(Path(path), model.sha256.get(file) if revision == model.revision else None)
    return Path(path).parent


def verify_cached(name: str | os.PathLike) -> list[str]:
    """Compare the files of a model in the local cache with their sha256 again; return the names of those that have one.

    name: an official name or one of the hub. A file that differs is removed. Raises CheckpointError, also for a model
    that is not in the cache, or in a folder of its own, whose sums nobody has published.
    """
    name = str(name)
    folder = locate_config(name, local_files_only=True)
    if Path(name).expanduser().is_dir():
        raise CheckpointError(f"{name} is a folder: only files of the hub have a sha256 to compare them with")
    published = _model_of(name).sha256
    return [path.name for path in sorted(folder.iterdir()) if _verify(path, published.get(path.name))]


def _model_of(name):
    by_repo = {model.repo: model for model in OFFICIAL_MODELS.values()}
    return OFFICIAL_MODELS.get(name) or by_repo.get(name) or HubModel(name, "main")


def _first_line(error):
    return str(error).strip().partition("\n")[0]


def _verify(path, sha256):
    """Compare a downloaded file with its sha256 and remove it if it differs. Raises CheckpointError.

    sha256: the published one. If None, the hub's own, by which the cache names a large file. Return whether there is
    one.
    """
    import hashlib  # here, because it is slow to import and only a download needs it

    blob = path.resolve()
    expected = sha256 or (blob.name if re.fullmatch(r"[0-9a-f]{64}", blob.name) else None)
    if expected is None:
        return False
    found = None
    try:
        with open(blob, "rb") as data:
            found = hashlib.file_digest(data, "sha256").hexdigest()
    finally:
        if found != expected:  # or interrupted: a file that was not verified must not stay in the cache
            os.unlink(path)
            blob.unlink(missing_ok=True)
    if found != expected:
        raise CheckpointError(
            f"{path.name} arrived damaged or altered (sha256 {found}, expected {expected}) and was removed: try again"
        )
    return True
