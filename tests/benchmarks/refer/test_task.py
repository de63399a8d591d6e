"""The task of expressions: what each set of rules makes of the same masks."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from undertow.base import MaskError, SettingsError
from undertow.benchmarks.core.methods import Method, baseline_method
from undertow.benchmarks.core.outcomes import read_outcomes
from undertow.benchmarks.core.runner import run_benchmark, score_folder
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.refer.methods import BASELINES, everything, nothing
from undertow.benchmarks.refer.sample import FileTruth, ReferSample
from undertow.benchmarks.refer.scoring import innermost
from undertow.metrics import contour_accuracy, region_similarity

HEIGHT, WIDTH, LENGTH = 24, 32, 4
TASK = get_task("refer")


def square(step: int, top: int = 2) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + 8, 4 + step : 14 + step] = True
    return mask


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def make(root: Path, name: str, **facts: Any) -> ReferSample:
    """A video with objects 1 and 2, and unknown pixels at the bottom."""
    frames = tuple(f"{index:05d}" for index in range(LENGTH))
    truth = {}
    for step, frame in enumerate(frames):
        save(root / f"frames/{frame}.png", np.full((HEIGHT, WIDTH, 3), step))
        labels = square(step) + 2 * square(step, 12)
        labels[-2:] = 255
        save(root / f"masks/{frame}.png", labels)
        truth[frame] = FileTruth(root / f"masks/{frame}.png", ((1,),), (255,))
    given: dict[str, Any] = {"texts": ("the first",), "truth": truth} | facts
    return ReferSample(
        dataset="made", name=name, video=root / "frames", frames=frames, size=(HEIGHT, WIDTH), **given
    )  # fmt: skip


@pytest.fixture
def sample(tmp_path: Path) -> ReferSample:
    return make(tmp_path / "data", "v/0")


@pytest.fixture
def together(tmp_path: Path) -> ReferSample:
    """Two objects of one annotator."""
    made = make(tmp_path / "data", "anno_0/v", texts=("one", "two"), objects=2, annotator=0)
    return replace(made, truth={name: replace(each, values=((1,), (2,))) for name, each in made.truth.items()})  # type: ignore[type-var]


def write(out: Path, sample: ReferSample, masks: Callable[[int], np.ndarray], skip: tuple[int, ...] = ()) -> Path:
    for index in range(LENGTH):
        if index not in skip:
            TASK.write(out, sample, index, masks(index))
    return out


def figures(out: Path, samples: list[ReferSample], rules: str) -> dict[str, float]:
    return TASK.summarise(score_folder(out, samples, rules=rules))


def test_expressions_score_as_their_definition_says(sample: ReferSample, tmp_path: Path) -> None:
    """The mean over frames, then over expressions; a frame that is missing scores 0."""
    other = replace(sample, name="v/1")
    out = write(tmp_path / "out", sample, lambda i: square(i + 2)[None])
    write(out, other, lambda i: square(i, 3)[None], skip=(1,))
    expected = {}
    for name, measure in (("J", region_similarity), ("F", contour_accuracy)):
        one, two = [], []
        for i in range(LENGTH):
            (true,), void = sample.load(i)
            one.append(measure(square(i + 2), true, void))
            two.append(0.0 if i == 1 else measure(square(i, 3), true, void))
        expected[name] = (np.mean(one) + np.mean(two)) / 2
    outcomes = score_folder(out, [sample, other], rules="expressions")
    found = TASK.summarise(outcomes)
    assert (found["J"], found["F"]) == pytest.approx((expected["J"], expected["F"]))
    assert found["J&F"] == pytest.approx((expected["J"] + expected["F"]) / 2) and 0 < found["change of J"] < 1
    assert [outcome.facts["missing"] for outcome in outcomes] == [0, 1]
    assert outcomes[1].series["expression"]["J"][1] == 0


def test_a_missing_expression_scores_0(sample: ReferSample, tmp_path: Path) -> None:
    other = replace(sample, name="w/0")
    out = write(tmp_path / "out", sample, lambda i: sample.load(i)[0])
    found = figures(out, [sample, other], "expressions")
    assert (found["J"], found["F"]) == (0.5, 0.5)


def test_unknown_pixels_do_not_count(sample: ReferSample, tmp_path: Path) -> None:
    def spilled(index: int) -> np.ndarray:
        mask = sample.load(index)[0].copy()
        mask[:, -2:] = True
        return mask

    out = write(tmp_path / "out", sample, spilled)
    assert figures(out, [sample], "region") == {"J": 1.0, "change of J": 0.0}
    plain = {name: replace(each, ignore=()) for name, each in sample.truth.items()}  # type: ignore[type-var]
    assert figures(out, [replace(sample, truth=plain)], "region")["J"] < 1


def test_classes_count_once_each(sample: ReferSample, tmp_path: Path) -> None:
    samples = [
        replace(sample, name=f"v{i}/{word}", category=word, exhaustive=exhaustive)
        for i, (word, exhaustive) in enumerate([("dog", True), ("dog", True), ("cat", False)])
    ]
    out = tmp_path / "out"
    shifts = (0, 4, 2)
    for each, shift in zip(samples, shifts, strict=True):
        write(out, each, lambda i, shift=shift: square(i + shift)[None])  # type: ignore[misc]
    # Frames are averaged, then the videos of a class, then the classes.
    first, second, cat = (
        np.mean([region_similarity(square(i + shift), sample.load(i)[0][0], sample.load(i)[1]) for i in range(LENGTH)])
        for shift in shifts
    )
    dog = (first + second) / 2
    assert figures(out, samples, "class-macro")["J"] == pytest.approx((dog + cat) / 2)
    assert figures(out, samples, "class-macro-exhaustive")["J"] == pytest.approx(dog)
    assert dog != cat


def test_images(sample: ReferSample, tmp_path: Path) -> None:
    samples = [
        replace(sample, name=str(i), frames=sample.frames[:1], image=True, video=sample.video / "00000.png")
        for i in range(3)
    ]
    out = tmp_path / "out"
    (true,), _ = sample.load(0)
    for shift in (0, 3):
        TASK.write(out, samples[shift // 3], 0, square(shift)[None])
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png"]
    shared = [np.count_nonzero(square(shift) & true) for shift in (0, 3)]
    union = [np.count_nonzero(square(shift) | true) for shift in (0, 3)]
    second = shared[1] / union[1]
    found = figures(out, samples, "images")
    # What is missing has IoU 0, and its truth is in the union.
    assert found["oIoU"] == pytest.approx(sum(shared) / (sum(union) + np.count_nonzero(true)))
    assert found["mIoU"] == pytest.approx((1 + second + 0) / 3) and 0.5 < second < 0.6
    precision = {float(name[2:]): value for name, value in found.items() if name[:2] == "P@"}
    assert precision == pytest.approx({0.5: 2 / 3, 0.6: 1 / 3, 0.7: 1 / 3, 0.8: 1 / 3, 0.9: 1 / 3})
    # Both squares have their middle in the truth; nothing says how many objects there are.
    assert found["PA"] == pytest.approx(2 / 3) and "chance" not in found


def test_innermost_is_farthest_from_the_edge() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        mask = random.random((9, 11)) < 0.8
        outside = np.argwhere(~np.pad(mask, 1)) - 1
        steps = {tuple(place): np.abs(outside - place).sum(axis=1).min() for place in np.argwhere(mask)}
        assert steps[innermost(mask)] == max(steps.values())
    assert innermost(np.ones((5, 7), bool)) == (2, 3)


def test_kinds_are_counted_for_each_that_is_spoken_of(sample: ReferSample, tmp_path: Path) -> None:
    image = replace(sample, image=True, frames=sample.frames[:1], video=sample.video / "00000.png")
    said = {"0": ("colour", "shape"), "1": ("shape",), "2": ("position",)}
    samples = [replace(image, name=name, kinds=kinds, chance=0.5) for name, kinds in said.items()]
    for each, shift in zip(samples, (0, 3, 12), strict=True):
        TASK.write(tmp_path / "out", each, 0, square(shift)[None])
    found = figures(tmp_path / "out", samples, "kinds")
    assert (found["PA"], found["PA colour"], found["PA shape"], found["PA position"]) == (2 / 3, 1, 1, 0)
    assert np.isnan(found["PA group"])
    assert figures(tmp_path / "out", samples, "images")["chance"] == 0.5


def test_baselines_by_colour() -> None:
    picture = np.full((60, 80, 3), (60, 140, 60), np.uint8)
    picture[5:20, 10:25], picture[25:50, 30:60] = (180, 40, 40), (50, 90, 180)
    blue, red = (np.all(picture == colour, axis=2) for colour in ((50, 90, 180), (180, 40, 40)))

    def answer(name: str, text: str) -> np.ndarray:
        return next(BASELINES[name].make_predictor(get_protocol("full"))(iter([picture]), text))

    def alike(one: np.ndarray, other: np.ndarray) -> bool:
        return np.count_nonzero(one & other) / np.count_nonzero(one | other) > 0.85

    assert alike(answer("colour-words", "the red square"), red) and alike(answer("colour-words", "a blue bar"), blue)
    assert alike(answer("largest", "the red square"), blue) and alike(answer("colour-words", "the square"), blue)
    assert alike(answer("centre", "the red square"), blue)


def test_swapped_objects_are_forgiven_by_matching_alone(together: ReferSample, tmp_path: Path) -> None:
    out = write(tmp_path / "out", together, lambda i: together.load(i)[0][::-1])
    assert figures(out, [together], "referformer")["J&F"] == 1
    assert figures(out, [together], "rem")["J&F"] == 1
    assert figures(out, [together], "strict")["J"] == 0


def test_objects_compete_unless_the_rules_let_them_overlap(together: ReferSample, tmp_path: Path) -> None:
    def overlapping(index: int) -> np.ndarray:
        first, second = together.load(index)[0]
        return np.stack([first | second, second])

    out = write(tmp_path / "out", together, overlapping)
    # The first expression takes what both want, so nothing is left of the second.
    assert figures(out, [together], "strict")["J"] == pytest.approx(0.25, abs=0.05)
    # Alone, the second object is found exactly.
    assert figures(out, [together], "rem")["J"] == pytest.approx(0.75, abs=0.05)
    soft = write(tmp_path / "soft", together, lambda i: overlapping(i) * np.array([0.6, 0.9])[:, None, None])
    assert figures(soft, [together], "strict")["J"] == 1


def test_annotators_are_averaged(together: ReferSample, tmp_path: Path) -> None:
    samples = [replace(together, name=f"anno_{k}/v", annotator=k) for k in range(2)]
    out = write(tmp_path / "out", samples[0], lambda i: together.load(i)[0])
    write(out, samples[1], lambda i: np.zeros((2, HEIGHT, WIDTH), bool))
    assert figures(out, samples, "strict")["J&F"] == 0.5
    other = replace(together, name="anno_1/w", annotator=1, objects=1, texts=("one",))
    other = replace(other, truth={name: replace(each, values=((1,),)) for name, each in other.truth.items()})  # type: ignore[type-var]
    write(out, other, lambda i: other.load(i)[0])
    with pytest.raises(SettingsError, match="the annotators cannot be averaged"):
        figures(out, [samples[0], other], "strict")


@pytest.mark.parametrize("rules", ["strict", "referformer", "rem"])
def test_matched_rules_stop_at_a_missing_file(rules: str, together: ReferSample, tmp_path: Path) -> None:
    out = write(tmp_path / "out", together, lambda i: together.load(i)[0], skip=(2,))
    with pytest.raises(MaskError, match=r"00002\.png' is missing"):
        score_folder(out, [together], rules=rules)
    with pytest.raises(SettingsError, match="predictions for 'anno_3/v' are missing"):
        score_folder(out, [replace(together, name="anno_3/v")], rules=rules)


def test_unknown_objects_are_named(together: ReferSample, tmp_path: Path) -> None:
    out = write(tmp_path / "out", together, lambda i: together.load(i)[0])
    save(out / "anno_0/v/00001.png", np.full((HEIGHT, WIDTH), 3))
    with pytest.raises(MaskError, match="has object 3, but 'anno_0/v' has 1 to 2"):
        score_folder(out, [together], rules="strict")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\nabc"), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "cannot be read"),
        (lambda path: Image.new("L", (5, 5)).save(path), "is 5x5 but the frame 32x24"),
        (lambda path: Image.new("L", (WIDTH, HEIGHT)).save(path, format="JPEG"), "is JPEG, which alters"),
    ],
    ids=["empty", "no picture", "cut off", "another size", "lossy"],
)
def test_broken_files_are_named(
    damage: Callable[[Path], Any], message: str, sample: ReferSample, tmp_path: Path
) -> None:
    out = write(tmp_path / "out", sample, lambda i: sample.load(i)[0])
    damage(out / "v/0/00002.png")
    with pytest.raises(MaskError, match=rf"00002\.png' {message}"):
        score_folder(out, [sample])


def test_wrong_folders_are_named(sample: ReferSample, tmp_path: Path) -> None:
    out = write(tmp_path / "out/Annotations", sample, lambda i: sample.load(i)[0]).parent
    with pytest.raises(SettingsError, match=r"is a submission; give '.*Annotations'"):
        score_folder(out, [sample])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="empty' is empty"):
        score_folder(tmp_path / "empty", [sample])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_any_picture_that_is_not_black_is_a_mask(mode: str, sample: ReferSample, tmp_path: Path) -> None:
    out = tmp_path / "out/v/0"
    out.mkdir(parents=True)
    for index, frame in enumerate(sample.frames):
        image = Image.fromarray(np.where(sample.load(index)[0][0], 255, 0).astype(np.uint8))
        image.convert(mode).save(out / f"{frame}.png")
    assert figures(tmp_path / "out", [sample], "expressions")["J"] == 1


def test_baselines(sample: ReferSample, together: ReferSample, tmp_path: Path) -> None:
    images = np.zeros((2, 4, 5, 3), np.uint8)
    assert [mask.all() for mask in everything(iter(images), "x")] == [True, True]
    assert [mask.any() for mask in nothing(iter(images), "x")] == [False, False]
    methods = [baseline_method("everything"), baseline_method("nothing")]
    run_benchmark([sample], methods, tmp_path / "a", keep=True)
    full, empty = (TASK.headline(outcome) for outcome in read_outcomes(tmp_path / "a"))
    assert full > empty == 0
    assert figures(tmp_path / "a/results/everything", [sample], "expressions")["J&F"] == pytest.approx(full)
    both = replace(together, dataset="ref-davis17")
    outcomes = run_benchmark([both], methods, tmp_path / "b", keep=True, rules="rem")
    # Both expressions give the whole frame, which is 80 pixels of 22 x 32 for either object.
    assert TASK.summarise(outcomes[:1])["J"] == pytest.approx(80 / 704, abs=1e-6)
    assert (tmp_path / "b/results/everything/anno_0/v/2/00003.png").is_file()


def test_texts_take_turns(together: ReferSample, tmp_path: Path) -> None:
    """Images are read once and in step, so that no method for one text makes the others keep the video."""
    turns: list[str] = []

    def answer(images: Iterator[np.ndarray], text: str) -> Iterator[np.ndarray]:
        for image in images:
            turns.append(f"{text}{image[0, 0, 0]}")
            yield together.load(int(image[0, 0, 0]))[0][("one", "two").index(text)]

    method = Method("answer", lambda protocol: answer, {}, "refer")
    both = replace(together, dataset="ref-davis17")
    (outcome,) = run_benchmark([both], [method], tmp_path / "out", rules="strict")
    assert TASK.headline(outcome) == 1
    assert turns == [f"{text}{index}" for index in range(LENGTH) for text in ("one", "two")]


def test_wrong_masks_are_named(sample: ReferSample, tmp_path: Path) -> None:
    method = Method("small", lambda protocol: lambda images, text: (np.ones((3, 3), bool) for _ in images), {}, "refer")
    with pytest.raises(MaskError, match=r"the mask for frame '00000' of 'v/0' has shape \(3, 3\)"):
        run_benchmark([sample], [method], tmp_path / "out")


def test_private_truth_can_be_answered(sample: ReferSample, tmp_path: Path) -> None:
    private = replace(sample, truth={}, private=True)
    (outcome,) = run_benchmark([private], [baseline_method("everything")], tmp_path / "out", keep=True)
    assert outcome.frames == () and len(list((tmp_path / "out/results/everything/v/0").iterdir())) == LENGTH
    assert np.isnan(TASK.summarise([outcome])["J&F"])
