"""Tiny datasets on disk: textured squares that drift over a textured ground, and trees as published ones lie."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.masks import write_label_map

HEIGHT, WIDTH = 48, 64


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth random colours, so that optical flow has something to hold on to."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def scene(step: int, objects: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map: object 1 moves right and object 2 down, a pixel per step."""
    image, labels = texture(0, HEIGHT, WIDTH).copy(), np.zeros((HEIGHT, WIDTH), np.uint16)
    for number, (top, left) in enumerate([(6, 6 + step), (24 + step, 40)][:objects], start=1):
        image[top : top + 16, left : left + 20] = texture(number, 16, 20)
        labels[top : top + 16, left : left + 20] = number
    return image, labels


def write_sequence(frames: Path, masks: Path, count: int, objects: int = 1) -> None:
    frames.mkdir(parents=True)
    for step in range(count):
        image, labels = scene(step, objects)
        Image.fromarray(image).save(frames / f"{step:05d}.jpg", quality=95)
        write_label_map(masks / f"{step:05d}.png", labels)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A dataset of two sequences in the folders layout, the second with two objects."""
    for name, count, objects in [("one", 6, 1), ("two", 7, 2)]:
        write_sequence(tmp_path / f"davis-{name}/frames", tmp_path / f"davis-{name}/masks", count, objects)
    return tmp_path


@pytest.fixture
def contents():
    """Reads what a benchmark's folder holds: outcomes without their seconds, masks by their bytes."""
    import json

    def read(out: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in sorted(out.rglob("*")):
            name = str(path.relative_to(out))
            if path.is_file() and name != "manifest.json":
                found[name] = path.read_bytes()
                if path.suffix == ".json":
                    found[name] = {key: value for key, value in json.loads(found[name]).items() if key != "seconds"}
        return found

    return read


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the standard tree of a year, with two objects in each of two sequences."""

    def make(year: str) -> Path:
        for name in ("bear", "swan"):
            write_sequence(tmp_path / "JPEGImages/480p" / name, tmp_path / "Annotations/480p" / name, 5, 2)
        lists = tmp_path / "ImageSets" / year
        lists.mkdir(parents=True)
        (lists / "val.txt").write_text("swan\nbear\n")
        (lists / "train.txt").write_text("bear\n")
        return tmp_path

    return make


# Of the trees, whose frames are random.
LOW, NARROW = 24, 32


def write_frames(folder: Path, names: list[str], suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for step, name in enumerate(names):
        image = np.random.default_rng(step).integers(0, 256, (LOW, NARROW, 3), np.uint8)
        Image.fromarray(image).save(folder / f"{name}{suffix}")


def objects(step: int, ids: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """Label map in which object 1 moves right, object 2 down and object 3 left, a pixel per step."""
    labels = np.zeros((LOW, NARROW), np.uint16)
    for number, (top, left) in {1: (2, 2 + step), 2: (9 + step, 20), 3: (17, 22 - step)}.items():
        if number in ids:
            labels[top : top + 6, left : left + 8] = number
    return labels


def classes(step: int, count: int) -> np.ndarray:
    """Class numbers in stripes two pixels wide; those of the lower half shift a class every six frames."""
    rows, columns = np.mgrid[:LOW, :NARROW]
    return ((columns // 2 + np.where(rows < LOW // 2, 0, step // 6)) % count).astype(np.uint8)


def write_grey(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def numbered(count: int, step: int = 1) -> list[str]:
    return [f"{step * index:05d}" for index in range(count)]


def davis_unsupervised(root: Path) -> None:
    names = numbered(5)
    write_frames(root / "JPEGImages/480p/bear", names)
    for step, name in enumerate(names):
        labels = objects(step)
        labels[:2, -3:] = 65535
        write_label_map(root / f"Annotations_unsupervised/480p/bear/{name}.png", labels)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("bear\n")


def youtube_vos(root: Path) -> None:
    """One video in `train` with all masks, and the same in `valid` with first masks only; object 2 joins at 00010."""
    names = numbered(6, step=5)
    meta = {
        "videos": {
            "0a1b": {
                "objects": {
                    "1": {"category": "ape", "frames": names},
                    "2": {"category": "okapi", "frames": names[2:5]},
                }
            }
        }
    }
    for split in ("train", "valid"):
        write_frames(root / split / "JPEGImages/0a1b", names)
        for step, name in enumerate(names):
            labels = objects(step, (1,) if step < 2 else (1, 2))
            if split == "valid":
                labels[labels != {0: 1, 2: 2}.get(step)] = 0
            if split == "train" or step in (0, 2):
                write_label_map(root / split / f"Annotations/0a1b/{name}.png", labels)
        (root / split / "meta.json").write_text(json.dumps(meta))


def long_videos(root: Path) -> None:
    names = numbered(12)
    for video in ("blueboy", "rat"):
        write_frames(root / "long_video/JPEGImages" / video, names)
        for step in (0, 4, 8, 11):
            write_label_map(root / f"long_video/Annotations/{video}/{names[step]}.png", objects(step, (1,)))


def long_video_davis(root: Path) -> None:
    names = numbered(12)
    write_frames(root / "JPEGImages/480p/rat", names)
    for step in (0, 4, 8, 11):
        write_label_map(root / f"Annotations/480p/rat/{names[step]}.png", objects(step, (1,)))
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("rat\n")


def clvos(root: Path) -> None:
    names = numbered(9)
    write_frames(root / "JPEGImages/car", names)
    for step in (0, 3, 6, 8):
        write_label_map(root / f"Annotations/car/{names[step]}.png", objects(step, (1,)))


def pumavos(root: Path) -> None:
    """Object 3 is there from the third of five annotated frames on; the first frame has no mask."""
    names = numbered(9)
    write_frames(root / "pumavos-caps/frames", names)
    for step, ids in {1: (1,), 2: (1,), 4: (1, 3), 6: (1, 3), 8: (1, 3)}.items():
        write_label_map(root / f"pumavos-caps/masks/{names[step]}.png", objects(step, ids))


def mask_folders(root: Path) -> None:
    names = numbered(5)
    write_frames(root / "kite/frames", names)
    for step, name in enumerate(names):
        write_label_map(root / f"kite/masks/{name}.png", objects(step))


def davis_2016(root: Path) -> None:
    names = numbered(5)
    write_frames(root / "JPEGImages/480p/swan", names)
    for step, name in enumerate(names):
        white = np.where(objects(step) > 0, 255, 0).astype(np.uint8)
        # Some annotations of the release are stored as colour.
        image = np.repeat(white[..., None], 3, axis=2) if step == 2 else white
        write_grey(root / f"Annotations/480p/swan/{name}.png", image)
    (root / "ImageSets/2016").mkdir(parents=True)
    (root / "ImageSets/2016/val.txt").write_text("swan\n")


def davis_folders(root: Path) -> None:
    names = numbered(5)
    write_frames(root / "davis-kite/frames", names)
    for step, name in enumerate(names):
        write_label_map(root / f"davis-kite/masks/{name}.png", objects(step))


def camvid(root: Path) -> None:
    names = [f"0016E5_{7959 + 2 * step:05d}" for step in range(20)]
    write_frames(root / "val", names, ".png")
    for step, name in enumerate(names):
        values = classes(step, 11).copy()
        values[:2] = 11
        write_grey(root / f"valannot/{name}.png", values)
    for name in ("0001TP_006690", "0001TP_006720", "Seq05VD_f00000", "Seq05VD_f00030"):
        write_frames(root / "test", [name], ".png")
        write_grey(root / f"testannot/{name}.png", classes(0, 11))


def camvid_folder(root: Path) -> None:
    names = [f"0016E5_{7959 + 2 * step:05d}" for step in range(20)]
    write_frames(root / "camvid-val/frames", names)
    for step, name in enumerate(names):
        write_grey(root / f"camvid-val/masks/{name}.png", classes(step, 11))


def camvid_32(root: Path) -> None:
    from undertow.benchmarks.parse.streets import COLOURS_32

    colours = np.array(list(COLOURS_32.values()), np.uint8)
    names = [f"0016E5_{7957 + step:05d}" for step in range(24)] + ["0001TP_006690", "0001TP_006720"]
    write_frames(root / "701_StillsRaw_full", names, ".png")
    for step, name in enumerate(names):
        write_grey(root / f"LabeledApproved_full/{name}_L.png", colours[classes(step, 32)])


def vspw(root: Path) -> None:
    names = [f"{185 + step:08d}" for step in range(20)]
    write_frames(root / "data/10_abc/origin", names)
    for step, name in enumerate(names):
        values = classes(step, 124) + np.uint8(1)
        values[:2], values[2:4] = 0, 255
        write_grey(root / f"data/10_abc/mask/{name}.png", values)
    (root / "val.txt").write_text("10_abc\n")


def cityscapes(root: Path) -> None:
    from undertow.benchmarks.parse.streets import LABEL_IDS

    ids = np.array(list(LABEL_IDS.values()), np.uint8)
    names = [f"ulm_000003_{number:06d}_leftImg8bit" for number in range(10, 40)]
    write_frames(root / "leftImg8bit_sequence/val/ulm", names, ".png")
    values = ids[classes(0, 19)].copy()
    values[-4:] = 1
    write_grey(root / "gtFine/val/ulm/ulm_000003_000029_gtFine_labelIds.png", values)


LAYOUTS: dict[str, tuple[str, str | None, Callable[[Path], None]]] = {
    "davis-2016": ("davis-2016", None, davis_2016),
    "davis-2017-unsupervised": ("davis-2017-unsupervised", None, davis_unsupervised),
    "youtube-vos-2018": ("youtube-vos-2018", "train", youtube_vos),
    "long-videos": ("long-videos", None, long_videos),
    "long_video_davis": ("long-videos", None, long_video_davis),
    "clvos": ("clvos", None, clvos),
    "pumavos": ("pumavos", None, pumavos),
    "mask-folders": ("mask-folders", None, mask_folders),
    "camvid": ("camvid", None, camvid),
    "camvid-test": ("camvid", "test", camvid),
    "camvid-folder": ("camvid", None, camvid_folder),
    "camvid-32": ("camvid-32", None, camvid_32),
    "vspw": ("vspw", None, vspw),
    "cityscapes": ("cityscapes", None, cityscapes),
    "davis-2016-parse": ("davis-2016-parse", None, davis_2016),
    "davis-folders-parse": ("davis-folders-parse", None, davis_folders),
    "clvos-parse": ("clvos-parse", None, clvos),
}


@pytest.fixture
def layout(tmp_path: Path) -> Callable[[str], tuple[str, Path, str | None]]:
    """Writes a layout, by its name in `LAYOUTS`, and returns (dataset, root, split)."""

    def make(name: str) -> tuple[str, Path, str | None]:
        dataset, split, write = LAYOUTS[name]
        root = tmp_path / "root"
        write(root)
        return dataset, root, split

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that takes `each_layout` on every layout."""
    if "each_layout" in metafunc.fixturenames:
        metafunc.parametrize("each_layout", list(LAYOUTS))
