"""Followed points for other tools: TAP-Vid arrays, CSV, Nuke's Tracker4 and After Effects' keyframe text."""

import csv
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
    """What formats of points share; they are small, and written at the end."""

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


class Nuke(Points):
    """CLIP.nk, a Tracker4 node to be pasted into Nuke: y up, key frames where a point is seen."""

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


class AfterEffects(Points):
    """A text of keyframes per point, to be pasted onto a layer in After Effects; frames count from the first."""

    template, fields = "{clip}_{label}", ("object",)

    def close(self) -> None:
        """Writes the files."""
        height, width = self.plan.size
        if self.plan.fps <= 0:
            raise SettingsError("the run has no frame rate; give --fps")
        head = (
            f"Adobe After Effects 8.0 Keyframe Data\n\n\tUnits Per Second\t{float(self.plan.fps):.6g}\n"
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
