"""Talking to the Hugging Face hub: what is cached, what a repository holds, and fetching it through bad days.

Every failure becomes a `FetchError` that says in a few words what happened, and whether trying again may help. Where a
revision (a commit, branch or tag) is `None`, the main branch is meant; a cache folder, an address of the hub or a
timeout in seconds that is `None` is the user's own (HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_ETAG_TIMEOUT).
"""

import errno
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, errors, snapshot_download

from undertow.backbones.weights.digests import ModelSource, find_mismatch
from undertow.backbones.weights.layout import PATTERNS, Layout, find_problem

# The library beneath differs between versions of the hub's client, which names its base error in all of them.
_FAILURES = (errors.HTTPError, OSError, ValueError)  # type: ignore[attr-defined]
# Seconds to wait before trying again after a failure that may pass.
RETRY_WAITS = (1.0, 4.0)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READABLE = {
    errno.EACCES: "permission denied",
    errno.EROFS: "it is read-only",
    errno.ENOTDIR: "it lies in a file",
    errno.EEXIST: "a file is in its place",
}

Kind = Literal["account", "absent", "network", "passing", "disk", "content"]


class FetchError(Exception):
    """Why one repository could not be fetched.

    Attributes:
        hub_id: The repository.
        kind: What stands in the way: an `account` without access, an `absent` repository, no `network`, something
            `passing` (worth another try at once), the local `disk`, or files of another `content` than wanted.
        reason: What happened, in a few words.
    """

    def __init__(self, hub_id: str, kind: Kind, reason: str) -> None:
        super().__init__(f"{hub_id}: {reason}")
        self.hub_id, self.kind, self.reason = hub_id, kind, reason


@dataclass(frozen=True)
class Listing:
    """What a repository holds of a model.

    Attributes:
        commit: The revision, as a commit.
        gated: Whether the hub gives the files only to accounts that accepted a licence.
        sizes: Bytes of each file that fetching takes, by path.
        digests: sha256 of the large ones among them, by path.
    """

    commit: str
    gated: bool
    sizes: Mapping[str, int]
    digests: Mapping[str, str]


def cache_folder(cache: Path | str | None = None) -> Path:
    """Returns the Hugging Face cache: `cache` itself, or the user's for `None`."""
    return Path(constants.HF_HUB_CACHE if cache is None else cache).expanduser()


def cached(hub_id: str, revision: str | None = None, cache: Path | str | None = None) -> list[Path]:
    """Returns the snapshots of a repository that are in the cache, best first; they may be incomplete.

    Given a revision, no other is returned; else the newest known of the main branch comes first.
    """
    root = cache_folder(cache) / f"models--{hub_id.replace('/', '--')}"
    snapshots = root / "snapshots"
    reference = root / "refs" / (revision or constants.DEFAULT_REVISION)
    names = [reference.read_text().strip()] if reference.is_file() else []
    if revision is not None:
        names.append(revision)
    elif snapshots.is_dir():
        names += sorted(
            (each.name for each in snapshots.iterdir()), key=lambda name: -(snapshots / name).stat().st_mtime
        )
    return [snapshots / name for name in dict.fromkeys(names) if (snapshots / name).is_dir()]


def ask(
    hub_id: str, revision: str | None = None, *, endpoint: str | None = None, timeout: float | None = None
) -> Listing:
    """Returns what a repository holds, in one request.

    Raises:
        FetchError: if it does not answer, or refuses.
    """
    try:
        info = HfApi(endpoint=endpoint).model_info(
            hub_id, revision=revision, files_metadata=True, timeout=timeout or constants.HF_HUB_ETAG_TIMEOUT
        )
    except (*_FAILURES, TypeError, KeyError) as error:  # the last two: the answer is not a hub's
        raise explain(error, hub_id, endpoint) from error
    wanted = [file for file in info.siblings or [] if any(fnmatch(file.rfilename, each) for each in PATTERNS)]
    return Listing(
        commit=info.sha or "",
        gated=bool(info.gated),
        sizes={file.rfilename: file.size or 0 for file in wanted},
        digests={file.rfilename: file.lfs.sha256 for file in wanted if file.lfs is not None},
    )


def fetch(
    card: ModelSource,
    hub_id: str,
    revision: str | None = None,
    *,
    layout: Layout = "diffusers",
    cache: Path | str | None = None,
    endpoint: str | None = None,
) -> Path:
    """Returns the snapshot of one repository, downloaded into the cache and checked.

    Failures that may pass are tried again, after a while. Files that arrived whole are kept for the next attempt, and
    a file during which the connection breaks goes on where it stopped.

    Raises:
        FetchError: if the files cannot be had, or are not those that the hub lists and `card` pins.
    """
    for wait in (*RETRY_WAITS, None):
        try:
            return _fetch_once(card, hub_id, revision, layout, cache_folder(cache), endpoint)
        except FetchError as failure:
            if wait is None or failure.kind != "passing":
                raise
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _fetch_once(
    card: ModelSource, hub_id: str, revision: str | None, layout: Layout, cache: Path, endpoint: str | None
) -> Path:
    listing = ask(hub_id, revision, endpoint=endpoint)
    for name, pinned in card.sha256.items():
        if "/" in name and name not in listing.sizes:
            raise FetchError(hub_id, "content", f"it has no {name}, which the card pins")
        if (digest := listing.digests.get(name, pinned)) != pinned:
            raise FetchError(hub_id, "content", f"{name} has sha256 {digest[:12]}… where the card pins {pinned[:12]}…")
    here = cached(hub_id, listing.commit, cache)
    missing = sum(size for name, size in listing.sizes.items() if not any((each / name).is_file() for each in here))
    if missing > (free := free_space(cache)):
        raise FetchError(hub_id, "disk", f"{gigabytes(missing)} are needed and {gigabytes(free)} are free in {cache}")
    try:
        folder = Path(
            snapshot_download(
                hub_id, revision=revision, cache_dir=cache, allow_patterns=list(PATTERNS), endpoint=endpoint
            )
        )
    except _FAILURES as error:
        raise explain(error, hub_id, endpoint, cache) from error
    if absent := sorted(set(listing.sizes) - {name for name in listing.sizes if (folder / name).is_file()}):
        raise FetchError(hub_id, "passing", f"{absent[0]} did not arrive")
    if problem := find_problem(folder, layout):
        raise FetchError(hub_id, "content", problem.replace(str(folder), "it"))
    if mismatch := find_mismatch(card, folder, listing.digests, layout):
        if mismatch.damaged:
            _forget(mismatch.file)
        reason = mismatch.reason.replace(f"{folder}/", "")
        raise FetchError(hub_id, "passing" if mismatch.damaged else "content", reason)
    return folder


def _forget(file: Path) -> None:
    """Removes a cached file, so that it is downloaded again."""
    file.resolve().unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def free_space(folder: Path) -> int:
    """Returns the bytes free on the disk of `folder`, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def gigabytes(count: int) -> str:
    """Returns a number of bytes as people read it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def explain(error: BaseException, hub_id: str, endpoint: str | None = None, cache: Path | None = None) -> FetchError:
    """Returns what a failure of the hub's client means for `hub_id`."""
    host = urlsplit(endpoint or constants.ENDPOINT).netloc
    for each in _chain(error):
        status = getattr(getattr(each, "response", None), "status_code", None)
        if status is not None:
            return FetchError(hub_id, *_refusal(each, int(status)))
        # By name, since the client library that defines them differs between versions of the hub's package.
        kinds = {kind.__name__ for kind in type(each).__mro__}
        if "OfflineModeIsEnabled" in kinds:
            return FetchError(hub_id, "network", "HF_HUB_OFFLINE forbids asking")
        if "ProxyError" in kinds:
            return FetchError(hub_id, "network", f"the proxy does not let {host} through")
        if "ConnectTimeout" in kinds or "ReadTimeout" in kinds:
            return FetchError(hub_id, "passing", f"{host} does not answer in time")
        if "ConnectError" in kinds:
            return FetchError(hub_id, "network", f"no connection to {host}")
        if "TransportError" in kinds:
            return FetchError(hub_id, "passing", f"the connection to {host} broke")
        if isinstance(each, OSError) and each.errno in _NO_SPACE:
            return FetchError(hub_id, "disk", f"the disk of {cache or cache_folder()} is full")
        if isinstance(each, OSError) and each.errno is not None:
            why = _READABLE.get(each.errno, (each.strerror or "the system refused").lower())
            return FetchError(hub_id, "disk", f"{each.filename or cache or cache_folder()} cannot be written ({why})")
        if "should be of size" in str(each):
            return FetchError(hub_id, "passing", "a file arrived with another size than the hub lists")
    return FetchError(hub_id, "passing", f"{host} does not answer as a hub ({type(error).__name__})")


def _refusal(error: Any, status: int) -> tuple[Kind, str]:
    if isinstance(error, errors.GatedRepoError):
        return "account", f"{status}, its licence must be accepted first"
    if isinstance(error, errors.RevisionNotFoundError):
        return "absent", f"{status}, it has no such revision"
    # The hub answers 401 for repositories that do not exist, too, and tells a bad token by its words.
    if status == 401 and "credentials" in error.response.headers.get("X-Error-Message", "").lower():
        return "account", "401, the token is not accepted"
    if isinstance(error, errors.DisabledRepoError):
        return "absent", f"{status}, the hub has disabled it"
    if status in (401, 404):
        return "absent", f"{status}, no such repository, or a private one"
    if status == 403:
        return "account", "403, the account has no access"
    if status == 429:
        return "passing", "429, too many requests"
    return ("passing" if status >= 500 else "absent"), f"the hub answers {status}"


def _chain(error: BaseException | None) -> Iterator[Any]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
