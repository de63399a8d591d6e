"""The list of datasets: how each lies on disk, where to get it, and how a sample of it is opened.

A wing names its datasets by the module that describes them (`DATASETS` of the package); the module has a `Dataset` for
each of them in a tuple of that name, and is imported when one of them is asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from undertow.base import Progress, SettingsError, UndertowError
from undertow.benchmarks.core.files import Finding
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.core.task import TASKS, get_task
from undertow.masks.labels import listed

Names = Callable[[Path, str], Sequence[str]]
Opener = Callable[[Path, str, str], Sample]


@dataclass(frozen=True)
class Dataset:
    """One dataset, or one way in which several lie on disk.

    Attributes:
        name: What the command line calls it.
        task: What is asked of its videos.
        title: Its name in print, with the paper.
        source: Where to get the data, and under which licence.
        tree: What the folder given with `--root` must look like, line by line.
        names: From the folder and a split to the names of its samples, in order; raises `SettingsError` if the tree
            is not such a dataset.
        open: From the folder, a split and a name to the sample; raises `UndertowError` if it cannot be scored.
        rules: The ways of scoring it, the usual one first.
        splits: Names of its splits, the usual one first.
        counts: How many samples the published splits have, for those where it is known.
        prepare: Makes what is not on disk yet; most datasets are simply there.
        may_show: Whether its pictures may stand in a report that is passed on.
        audit: Finds what is odd about the tree as a whole, besides what each sample shows by itself.
    """

    name: str
    task: str
    title: str
    source: str
    tree: str
    names: Names
    open: Opener
    rules: tuple[str, ...]
    splits: tuple[str, ...] = ("val",)
    counts: tuple[tuple[str, int], ...] = ()
    prepare: Callable[[Path, Progress | None], None] | None = None
    may_show: bool = False
    audit: Callable[[Path, str], Iterator[Finding]] | None = None


def _modules() -> Iterator[tuple[str, str]]:
    for wing in TASKS:
        package = f"undertow.benchmarks.{wing}"
        for module, names in import_module(package).DATASETS.items():
            yield from ((name, f"{package}.{module}") for name in names)


#: Module of each dataset, by the dataset's name.
DATASETS: Mapping[str, str] = dict(_modules())


def get_dataset(name: str, root: Path | str | None = None) -> Dataset:
    """Returns the dataset called `name`; "davis" is whichever of the DAVIS layouts `root` has.

    Raises:
        SettingsError: if there is none.
    """
    if name == "davis" and root is not None:
        from undertow.benchmarks.masks.davis import recognise

        name = recognise(Path(root))
    if name not in DATASETS:
        near = get_close_matches(name.lower(), DATASETS, 1, 0.7)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise SettingsError(f"dataset '{name}' is not one of davis, {', '.join(DATASETS)}{hint}")
    found: Sequence[Dataset] = import_module(DATASETS[name]).DATASETS
    return next(each for each in found if each.name == name)


def dataset_of(name: str, root: Path | str, task: str | None = None) -> tuple[str, str]:
    """Returns the name of a dataset and what is asked of methods on it.

    Without a task it is the dataset's own. A dataset that is there for several tasks under names of their own, as
    "world-easy" and "world-easy-points" are, is found by its short name and the task.

    Raises:
        SettingsError: if there is no such dataset, or it is not for the task.
    """
    dataset = get_dataset(name, root)
    if task is None or dataset.task == task:
        return name, dataset.task
    longer = [get_dataset(each) for each in DATASETS if each.startswith(f"{dataset.name}-")]
    others = [each.name for each in longer if each.task == task]
    if len(others) == 1:
        return others[0], task
    if get_task(dataset.task).predictors == task:
        return name, task
    raise SettingsError(
        f"dataset '{name}' is for {dataset.task}, not '{task}'; choose another dataset or leave --task out"
    )


def open_dataset(
    name: str,
    root: Path | str,
    split: str | None = None,
    progress: Progress | None = None,
    *,
    draw: bool = True,
) -> tuple[Sample, ...]:
    """Returns the samples of a dataset.

    Args:
        name: A name of `DATASETS`, or "davis".
        root: The dataset's folder; for benchmark worlds it is made if it does not exist.
        split: Split; the dataset's usual one if not given.
        progress: Advanced by every frame of a benchmark world that has to be drawn first.
        draw: Whether a benchmark world is drawn if it is not there.

    Raises:
        SettingsError: naming what is missing, if the tree is not complete.
    """
    root = Path(root)
    dataset = get_dataset(name, root)
    if dataset.prepare is not None and draw:
        dataset.prepare(root, progress)
    elif not root.is_dir():
        raise SettingsError(f"dataset folder '{root}' does not exist; give the folder with --root")
    split = _split(dataset, split)
    return tuple(dataset.open(root, split, each) for each in dataset.names(root, split))


def check_dataset(
    name: str, root: Path | str, split: str | None = None, progress: Progress | None = None
) -> Iterator[Finding]:
    """Yields everything that is wrong or odd about a dataset on disk, having read all of its truth.

    Where `open_dataset` stops at the first problem, this goes on to the next sample.

    Raises:
        SettingsError: if there is no such dataset.
    """
    root = Path(root)
    try:
        dataset = get_dataset(name, root)
    except SettingsError as error:
        if name != "davis":
            raise
        yield Finding(root, str(error))
        return
    try:
        split = _split(dataset, split)
        if dataset.prepare is not None:
            dataset.prepare(root, progress)
        elif not root.is_dir():
            raise SettingsError("there is no such folder; give the dataset's with --root")
        names = list(dataset.names(root, split))
    except UndertowError as error:
        yield Finding(root, str(error))
        return
    expected = dict(dataset.counts).get(split)
    if expected is not None and len(names) != expected:
        yield Finding(root, f"split '{split}' has {len(names)} samples where the published one has {expected}", "odd")
    if dataset.audit is not None:
        yield from dataset.audit(root, split)
    task = get_task(dataset.task)
    if progress is not None:
        progress.start(f"check {dataset.name}", total=len(names))
    for each in names:
        try:
            sample = dataset.open(root, split, each)
        except UndertowError as error:
            yield Finding(root, str(error))
        else:
            yield from task.check(sample)
        if progress is not None:
            progress.advance(1, sample=each)


def _split(dataset: Dataset, split: str | None) -> str:
    """Returns the split asked for, or the usual one.

    Other datasets judge by what is on disk, where a list of one's own may be a split, too.

    Raises:
        SettingsError: if the dataset has no splits and one is asked for.
    """
    if split is not None and dataset.splits == ("all",) and split != "all":
        raise SettingsError(f"{dataset.name} has no split '{split}', only 'all'; leave --split out")
    return split or dataset.splits[0]


def select_samples(samples: Sequence[Sample], names: Sequence[str]) -> tuple[Sample, ...]:
    """Returns the samples called `names`, in the dataset's order; all of them if no name is given.

    Where a sample is one expression of a video, the video's name means all of its expressions.

    Raises:
        SettingsError: naming a sample that is not there, and those that are.
    """
    known = [sample.name for sample in samples]
    missing = [name for name in names if not any(_is_of(each, name) for each in known)]
    if missing:
        raise SettingsError(f"sequence '{missing[0]}' is not one of {listed(known, 30)}")
    return tuple(sample for sample in samples if not names or any(_is_of(sample.name, name) for name in names))


def _is_of(sample: str, name: str) -> bool:
    return sample == name or sample.startswith(f"{name}/")
