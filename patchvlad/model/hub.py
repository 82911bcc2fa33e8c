"""Files of the Hugging Face hub: fetched with resume and verification, whole or not at all."""

import hashlib
import logging
import os
from pathlib import Path

from ..errors import DownloadError, ModelError, OutputError
from ..files.locks import locked
from ..files.room import check_file, told

log = logging.getLogger(__name__)


def fetch(repository: str, remote_file: str, path: Path, endpoint: str | None = None) -> None:
    """Downloads beside the final path, going on where an interrupted download stopped; verifies the hub's checksum.

    Not by hf_hub_download: it starts anew after an interruption (huggingface_hub 2), and waits long before it gives up.

    Args:
        repository: on the hub.
        remote_file: name of the file there.
        path: where the file shall lie.
        endpoint: of the hub; None takes huggingface_hub's own ($HF_ENDPOINT).

    Raises:
        ModelError: the hub cannot be reached, or what came is not the file it should be.
        OutputError: the disk is full, or the file may not be written.
    """
    check_file(path)
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with locked(f"{partial}.lock"):
            if path.is_file():  # another process has fetched it meanwhile
                return
            url = hf_hub_url(repository, remote_file, endpoint=endpoint)
            published = get_hf_file_metadata(url, endpoint=endpoint)
            with told(path, published.size), open(partial, "ab") as file:
                if file.tell() > (published.size or 0):  # left by another version of the file
                    file.seek(0)
                    file.truncate()
                http_get(
                    url,
                    file,
                    resume_size=file.tell(),
                    headers=build_hf_headers(),
                    expected_size=published.size,
                    displayed_filename=remote_file,
                )
            if published.etag and len(published.etag) == 64:  # large files are named by their SHA-256
                _verify(partial, published.etag)
            os.replace(partial, path)
    except OutputError:
        raise
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise ModelError(next(iter(str(error).strip().splitlines()), type(error).__name__)) from error


def _verify(path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        path.unlink()
        raise ModelError("the checksum of what came is wrong, so it was deleted")


def cached_file(repository: str, remote_file: str, what: str) -> Path:
    """A file in the hub's own cache, fetched into it once.

    Args:
        repository: on the hub.
        remote_file: name of the file there.
        what: the file holds, for messages.
    """
    from huggingface_hub import hf_hub_download

    log.warning("downloading %s, once", what)
    try:
        with told(remote_file):
            return Path(hf_hub_download(repository, remote_file))
    except OutputError:
        raise
    except Exception as error:  # see fetch
        raise DownloadError(
            f"{what} could not be downloaded: give the file with --backbone-weights, or start from a checkpoint"
        ) from error
