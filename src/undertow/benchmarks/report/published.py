"""What papers print for a dataset, to stand beside our own rows and be marked as theirs.

Figures are in percent as printed. They were obtained with weights, sizes and hardware of their authors; a row says
nothing about what this library would measure with the same weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass

DRIFT = "Kim et al., 'Image Diffusion Models Exhibit Emergent Temporal Propagation in Videos', arXiv 2511.19936"
VIDSEG = "VidSeg, CVPR 2025, arXiv 2405.16947"
DIFFTRACK = "DiffTrack, arXiv 2506.17220"
REFAM = "RefAM, arXiv 2509.22650"
REM = "REM (ReferEverything), its tables"
VSPW_NOTE = "first 30 videos of the validation split"


@dataclass(frozen=True)
class Published:
    """One row of a paper.

    Attributes:
        method: As the paper calls it.
        figures: Percent by measure.
        source: The paper.
        note: What else decides the row.
    """

    method: str
    figures: Mapping[str, float]
    source: str
    note: str = ""


def _rows(source: str, measures: str, *rows: tuple[str, str, str]) -> tuple[Published, ...]:
    """Returns rows from (method, figures separated by spaces, note); "-" stands for a figure that is not printed."""
    names = measures.split(" | ")
    return tuple(
        Published(
            method,
            {name: float(value) for name, value in zip(names, figures.split(), strict=True) if value != "-"},
            source,
            note,
        )
        for method, figures, note in rows
    )


_POINTS = "delta_avg | <1 | <2 | <4 | <8 | <16"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "davis-2017": (
        *_rows(
            DRIFT,
            "J&F | J | F",
            ("DINO ViT-B/8", "71.4 67.9 74.9", ""),
            ("DIFT", "70.0 67.4 72.5", "SD 2.1"),
            ("SAM-PT", "77.6 74.8 80.4", "CoTracker, SAM ViT-H"),
            ("DRIFT, propagation only", "71.1 67.0 75.1", "SD 2.1, random noise"),
            ("DRIFT + inversion", "71.8 67.9 75.6", "SD 2.1"),
            ("DRIFT + inversion, tuning, head weights", "74.8 70.7 78.9", "SD 2.1"),
            ("DRIFT + inversion, SAM", "80.7 78.2 83.2", "SD 2.1, SAM ViT-H"),
            ("DRIFT, all of it", "81.3 78.8 83.7", "SD 2.1, SAM ViT-H"),
        ),
        *_rows(
            VIDSEG,
            "J&F | J | F",
            ("EmerDiff", "18.6 15.9 21.3", "SD 2.1"),
            ("VidSeg, SVD", "40.7 40.9 40.4", ""),
            ("VidSeg, SD 2.1", "60.1 57.6 62.6", ""),
        ),
    ),
    "davis-2016": (
        *_rows(
            DRIFT,
            "J&F | J | F",
            ("DRIFT, no SAM", "85.0 83.7 86.3", "SD 2.1"),
            ("DRIFT, all of it", "86.6 87.2 86.2", "SD 2.1, SAM ViT-H"),
        ),
        *_rows(
            VIDSEG,
            "J&F | J | F",
            ("EmerDiff", "22.1 20.3 23.9", "SD 2.1"),
            ("VidSeg, SVD", "66.1 67.7 64.6", ""),
            ("VidSeg, SD 2.1", "- 70.5 69.3", "the printed J&F of 79.0 is not the mean of its J and F"),
        ),
    ),
    "youtube-vos-2018": _rows(
        DRIFT, "G", ("DRIFT, no SAM", "68.5", "SD 2.1"), ("DRIFT, all of it", "75.3", "SD 2.1, SAM ViT-H")
    ),
    "long-videos": _rows(
        DRIFT, "J&F", ("DRIFT, no SAM", "48.3", "SD 2.1"), ("DRIFT, all of it", "49.1", "SD 2.1, SAM ViT-H")
    ),
    "clvos": _rows(
        VIDSEG,
        "J&F | J | F",
        ("EmerDiff", "0.8 0.7 0.9", "SD 2.1"),
        ("VidSeg, SVD", "23.2 22.1 24.3", ""),
        ("VidSeg, SD 2.1", "46.7 46.8 46.5", ""),
    ),
    "vspw": _rows(
        VIDSEG,
        "mIoU | mVC8 | mVC16",
        ("EmerDiff", "31.0 68.8 64.0", VSPW_NOTE),
        ("EmerDiff + dense CRF", "31.8 75.5 71.0", VSPW_NOTE),
        ("VidSeg", "47.2 89.4 87.9", VSPW_NOTE),
        ("VidSeg, random forest", "47.9 90.5 89.0", VSPW_NOTE),
    ),
    "tapvid-davis": _rows(
        DIFFTRACK,
        _POINTS,
        ("DINO B/16", "37.3 2.9 10.7 34.3 59.8 77.0", "queries in frame 0"),
        ("DINOv2 B/14", "42.1 3.1 12.1 38.7 70.7 85.8", "queries in frame 0"),
        ("DIFT, SD 2.1", "39.7 3.6 13.3 40.1 65.8 75.7", "queries in frame 0"),
        ("DiffTrack, HunyuanVideo", "44.1 4.4 18.2 44.8 70.1 82.8", "queries in frame 0"),
        ("DiffTrack, CogVideoX-2B", "46.3 4.8 19.4 49.2 73.6 84.3", "queries in frame 0"),
        ("DiffTrack, CogVideoX-5B", "46.9 5.2 20.5 50.7 73.9 84.3", "queries in frame 0"),
    ),
    "tapvid-kinetics": _rows(
        DIFFTRACK,
        _POINTS,
        ("DINO B/16", "36.1 2.8 10.9 33.9 58.2 74.8", "queries in frame 0"),
        ("DINOv2 B/14", "38.4 3.0 11.4 34.6 63.0 80.3", "queries in frame 0"),
        ("DIFT, SD 2.1", "42.9 3.7 14.9 45.4 70.9 79.6", "queries in frame 0"),
        ("DiffTrack, CogVideoX-2B", "46.3 6.2 23.3 51.2 71.2 79.9", "queries in frame 0"),
        ("DiffTrack, CogVideoX-5B", "49.2 6.8 25.9 55.4 74.9 82.7", "queries in frame 0"),
    ),
    "refcoco": _rows(
        REFAM,
        "oIoU",
        ("Grad-CAM", "23.44", "val"),
        ("Ref-Diff", "35.16", "val"),
        ("HybridGL", "41.81", "val"),
        ("RefAM", "46.91", "val"),
    ),
    "refcoco+": _rows(
        REFAM,
        "oIoU",
        ("Grad-CAM", "26.67", "val"),
        ("Ref-Diff", "35.56", "val"),
        ("HybridGL", "35.74", "val"),
        ("RefAM", "38.57", "val"),
    ),
    "refcocog": _rows(
        REFAM,
        "oIoU",
        ("Grad-CAM", "23.00", "val"),
        ("Ref-Diff", "38.62", "val"),
        ("HybridGL", "42.47", "val"),
        ("RefAM", "45.53", "val"),
    ),
    "ref-davis17": (
        *_rows(
            REFAM,
            "J&F | J | F",
            ("Grounded-SAM2", "66.2 62.6 69.7", ""),
            ("AL-Ref-SAM2", "74.2 70.4 78.0", "GPT-4, GroundingDINO, SAM 2"),
            ("RefAM + SAM2", "57.6 54.5 60.6", ""),
        ),
        *_rows(
            REM,
            "J&F | J | F",
            ("ReferFormer", "61.1 58.1 64.1", ""),
            ("REM, ModelScope 1.4B", "72.6 69.9 75.3", "rules 'rem'"),
            ("REM, Wan 14B", "75.0 71.3 78.7", "rules 'rem'"),
        ),
    ),
    "ref-youtube-vos": _rows(
        REM,
        "J&F",
        ("ReferFormer", "62.9", ""),
        ("REM, ModelScope 1.4B", "68.4", ""),
        ("REM, Wan 14B", "71.7", ""),
    ),
    "mevis": _rows(
        REM,
        "J&F | J | F",
        ("ReferFormer", "31.0 - -", "split valid"),
        ("REM, ModelScope 1.4B", "53.5 50.8 56.3", "split valid"),
        ("REM, Wan 14B", "60.3 57.2 63.4", "split valid"),
    ),
    "burst": _rows(
        REM, "J", ("UNINEXT", "30.2", ""), ("REM, ModelScope 1.4B", "37.5", ""), ("REM, Wan 14B", "40.9", "")
    ),
    "vspw-stuff": _rows(
        REM, "J", ("VD-IT", "12.7", ""), ("REM, ModelScope 1.4B", "15.2", ""), ("REM, Wan 14B", "18.5", "")
    ),
    "ref-vps": _rows(
        REM, "J", ("VD-IT", "37.9", ""), ("REM, ModelScope 1.4B", "49.0", ""), ("REM, Wan 14B", "50.0", "")
    ),
}


def published_rows(dataset: str) -> tuple[Published, ...]:
    """Returns the rows of papers for a dataset, none if none is known."""
    return PUBLISHED.get(dataset, ())
