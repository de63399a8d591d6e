"""Followed points for other tools: TAP-Vid arrays, CSV, Nuke's Tracker4 and After Effects' keyframe text."""

import csv
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from undertow.base import SettingsError, atomic_path, write_text
from undertow.export.exporter import Exporter, Plan, Shot
from undertow.runs.record import decimal_seconds

# The columns of Tracker4: kind, whether shown, width, name.
_COLUMNS = (
    *((5, 1, 20, "enable", "e"), (3, 1, 75, "name", "name"), (2, 1, 58, "track_x", "track_x")),
    *((2, 1, 58, "track_y", "track_y"), (2, 1, 63, "offset_x", "offset_x"), (2, 1, 63, "offset_y", "offset_y")),
    *((4, 1, 27, each, each) for each in "TRS"),
    (2, 0, 45, "error", "error"),
    *((1, 1, 0, each, each) for each in ("error_min", "error_max")),
    *((1, 1, 0, f"{area}_{side}", f"{area}_{side}") for area in ("pattern", "search") for side in "xyrt"),
    (2, 1, 0, "key_track", "key_track"),
    *((2, 1, 0, f"key_{area}_{side}", f"key_{area}_{side}") for area in ("search", "track") for side in "xyrt"),
    *((2, 1, 0, f"key_centre_offset_{side}", f"key_centre_offset_{side}") for side in "xy"),
)


class Points(Exporter):
    """What formats of points share; they are small, and written at the end.

    Attributes:
        keyed: Whether a point is only where it is seen.
    """

    unit, tolerance = "numbers", 1e-3
    keyed: ClassVar[bool] = False

    tasks: ClassVar[tuple[str, ...]] = ("points",)
    fields: ClassVar[tuple[str, ...]] = ()
    template = "{clip}"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        first = plan.run.frames.index(plan.frames[0])
        places = slice(first, first + len(plan.frames))
        tracks, chosen = plan.run.tracks, list(plan.names)
        self.positions = tracks.positions[chosen][:, places].astype(np.float64)
        self.visible, self.confidence = tracks.visible[chosen][:, places], tracks.confidence[chosen][:, places]
        self.numbers = [frame.number + plan.settings.frame_offset for frame in plan.frames]

    def frame(self, shot: Shot) -> None:
        """Takes nothing: all points of the run are known."""

    def expected(self, shot: Shot) -> Mapping[int, np.ndarray]:
        """Returns x, y and whether it is seen of each point; if it is `keyed`, of those that are seen."""
        rows = zip(self.plan.names, self.positions[:, shot.place], self.visible[:, shot.place], strict=True)
        return {number: np.array([*at, seen], np.float64) for number, at, seen in rows if seen or not self.keyed}

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the same of what is in the files."""
        found: dict[int, dict[int, np.ndarray]] = {}
        for number, frame, x, y, seen in self.rows():
            found.setdefault(int(frame), {})[int(number)] = np.array([x, y, seen], np.float64)
        for number in self.numbers:
            yield found.get(number, {})

    @abstractmethod
    def rows(self) -> Iterator[tuple[float, ...]]:
        """Yields point, frame, x, y and whether it is seen, as they are in the files."""


class TapVid(Points):
    """CLIP.npz with TAP-Vid's arrays: points (q, t, 2) as shares of width and height, occluded (q, t)."""

    def close(self) -> None:
        """Writes the file."""
        height, width = self.plan.size
        points = (self.positions / (width, height)).astype(np.float32)
        with atomic_path(self.plan.file(".npz")) as temporary:
            np.savez_compressed(
                temporary, allow_pickle=False, points=points, occluded=~self.visible, frames=np.array(self.numbers)
            )

    def rows(self) -> Iterator[tuple[float, ...]]:
        """Yields what is in the arrays."""
        height, width = self.plan.size
        with np.load(self.plan.file(".npz")) as arrays:
            for number, points, occluded in zip(self.plan.names, arrays["points"], arrays["occluded"], strict=True):
                for frame, (x, y), hidden in zip(arrays["frames"], points, occluded, strict=True):
                    yield number, frame, x * width, y * height, not hidden


class Csv(Points):
    """CLIP.csv: point, frame, time, x, y, visible, confidence."""

    def close(self) -> None:
        """Writes the file."""
        times = [decimal_seconds(frame.time) for frame in self.plan.frames]
        with (
            atomic_path(self.plan.file(".csv")) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["point", "label", "frame", "time", "x", "y", "visible", "confidence"])
            for place, (number, label) in enumerate(self.plan.names.items()):
                for at, time in enumerate(times):
                    x, y = self.positions[place, at]
                    seen, sure = int(self.visible[place, at]), f"{self.confidence[place, at]:.4f}"
                    table.writerow([number, label, self.numbers[at], time, f"{x:.3f}", f"{y:.3f}", seen, sure])

    def rows(self) -> Iterator[tuple[float, ...]]:
        """Yields what is in the table."""
        with self.plan.file(".csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                point, frame, x, y, seen = (float(row[name]) for name in ("point", "frame", "x", "y", "visible"))
                yield point, frame, x, y, seen


class Nuke(Points):
    """CLIP.nk, a Tracker4 node to be pasted into Nuke: y up, key frames where a point is seen."""

    keyed = True

    def close(self) -> None:
        """Writes the file."""
        height, first = self.plan.size[0], self.numbers[0]
        columns = "".join("{{ {} {} {} {} {} 1 }}\n".format(*column) for column in _COLUMNS)
        rows = []
        for place, label in enumerate(self.plan.names.values()):
            seen = [at for at in range(len(self.numbers)) if self.visible[place, at]] or [0]
            keys = [f"x{self.numbers[at]}" for at in seen]
            x, y = self.positions[place, seen].T
            across = " ".join(f"{key} {value:.4f}" for key, value in zip(keys, x, strict=True))
            up = " ".join(f"{key} {height - value:.4f}" for key, value in zip(keys, y, strict=True))
            error = " ".join(f"{key} {1 - self.confidence[place, at]:.4f}" for key, at in zip(keys, seen, strict=True))
            name = label.replace("\\", "_").replace('"', "_").replace("{", "(").replace("}", ")")
            rows.append(
                f'{{ {{curve K x{first} 1}} "{name}" {{curve {across}}} {{curve {up}}} {{curve K x{first} 0}} '
                f"{{curve K x{first} 0}} 1 0 0 {{curve {error}}} 0 1 -15 -15 15 15 -25 -25 25 25" + " {}" * 11 + " }\n"
            )
        text = (
            "set cut_paste_input [stack 0]\nversion 12.0 v1\npush $cut_paste_input\nTracker4 {\n"
            f"tracks {{ {{ 1 31 {len(rows)} }}\n{{ {columns.strip()} }}\n{{ {''.join(rows).strip()} }}\n}}\n"
            f"reference_frame {first}\nname Tracker1\nselected true\n}}\n"
        )
        write_text(self.plan.file(".nk"), text)

    def rows(self) -> Iterator[tuple[float, ...]]:
        """Yields the keys of the curves."""
        height, text = self.plan.size[0], self.plan.file(".nk").read_text(encoding="utf-8")
        curves = re.findall(r'" \{curve ([^}]*)\} \{curve ([^}]*)\}', text)
        for number, seen, (across, up) in zip(self.plan.names, map(any, self.visible), curves, strict=True):
            keys, ups = across.split(), up.split()
            for frame, x, y in zip(keys[::2], keys[1::2], ups[1::2], strict=True):
                if seen:
                    yield number, int(frame[1:]), float(x), height - float(y), 1


class AfterEffects(Points):
    """A text of keyframes per point, to be pasted onto a layer in After Effects; frames count from the first."""

    template, fields, keyed, rated = "{clip}_{label}", ("object",), True, True

    def close(self) -> None:
        """Writes the files."""
        height, width = self.plan.size
        if self.plan.fps <= 0:
            raise SettingsError("the run has no frame rate; give --fps")
        # Keys have the numbers of the clip's frames, of which a run may have left some out.
        steps = (self.numbers[-1] - self.numbers[0]) / max(1, len(self.numbers) - 1) or 1
        rate = float(self.plan.fps) * (steps if self.plan.settings.fps is None else 1)
        head = (
            f"Adobe After Effects 8.0 Keyframe Data\n\n\tUnits Per Second\t{rate:.6g}\n"
            f"\tSource Width\t{width}\n\tSource Height\t{height}\n\tSource Pixel Aspect Ratio\t1\n"
            "\tComp Pixel Aspect Ratio\t1\n\nTransform\tPosition\n\tFrame\tX pixels\tY pixels\tZ pixels\n"
        )
        for place, number in enumerate(self.plan.names):
            keys = "".join(
                f"\t{self.numbers[at] - self.numbers[0]}\t{x:.4f}\t{y:.4f}\t0\n"
                for at, (x, y) in enumerate(self.positions[place])
                if self.visible[place, at]
            )
            write_text(self.plan.file(".txt", number=number), f"{head}{keys}\n\nEnd of Keyframe Data\n")

    def rows(self) -> Iterator[tuple[float, ...]]:
        """Yields the keys of the files."""
        for number in self.plan.names:
            text = self.plan.file(".txt", number=number).read_text(encoding="utf-8")
            for frame, x, y in re.findall(r"^\t(\d+)\t([-.\d]+)\t([-.\d]+)\t0$", text, re.M):
                yield number, int(frame) + self.numbers[0], float(x), float(y), 1
