"""Works through a batch: what is done is skipped, what fails is listed, and the rest goes on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertow.base import Progress, SettingsError, SilentProgress, UndertowError, write_text
from undertow.batches.log import open_log, read_logs
from undertow.batches.manifest import Row, read_manifest
from undertow.batches.settings import BatchSettings
from undertow.batches.units import ClipUnit
from undertow.engines import Failed, Finished, try_units


class BatchFailed(UndertowError):
    """Some clips of a batch failed; the exit code is that of the first."""


@dataclass(frozen=True)
class BatchResult:
    """What a batch has come to.

    Attributes:
        rows: Number of clips of this part.
        made: How many of them were done by this call.
        kept: How many were done before.
        failures: What is known of each that failed: line, clip, out, error, code and attempts.
    """

    rows: int
    made: int
    kept: int
    failures: tuple[dict[str, Any], ...] = ()

    @property
    def left(self) -> int:
        """How many were not tried, as only those that failed before were asked for."""
        return self.rows - self.made - self.kept - len(self.failures)


def batch(manifest: Path | str, out: Path | str, *, progress: Progress | None = None, **options: Any) -> BatchResult:
    """Runs a task on every clip of a manifest and returns what came of it.

        result = ut.batch("clips.csv", "out", task="track", workers=4)

    Called again, it goes on where it was. A program that uses more than one worker needs
    `if __name__ == "__main__":` around the call, as every worker imports it first.

    Args:
        manifest: A table, CSV or JSON lines, whose columns are options of the task's command; see
            `undertow.batches.manifest`.
        out: Folder of the batch.
        progress: Advanced by every clip.
        **options: Fields of `BatchSettings`, such as `model` and `workers`.

    Raises:
        SettingsError: if something is wrong with the manifest; then nothing is begun.
    """
    settings = BatchSettings(Path(out), **options)
    return run_batch(read_manifest(manifest, settings), settings, progress)


def run_batch(rows: Sequence[Row], settings: BatchSettings, progress: Progress | None = None) -> BatchResult:
    """Runs a task on the clips of some rows, and returns what came of it.

    A clip whose row is as it was and whose run is complete is skipped; the run of any other begins or goes on. Those
    that fail are listed in `failures.jsonl`, and keep no others from being done.

    Args:
        rows: As `read_manifest` returns them.
        settings: Of the batch.
        progress: Advanced by every clip.

    Raises:
        SettingsError: if another process works on the same part, the engine cannot be used, or failed clips are to be
            done and none failed, though some are left.
    """
    progress = progress or SilentProgress()
    units = [ClipUnit(row, settings) for row in share(rows, settings.shard)]
    digests = [unit.digest for unit in units]
    if settings.retry and (left := sort_out(units, digests)[0]) and not failed_before(units, left):
        raise SettingsError(
            f"nothing has failed in '{settings.out}'; leave --retry out to run what is left of the table"
        )
    settings.out.mkdir(parents=True, exist_ok=True)
    with open_log(settings.out, settings.shard) as log:
        left, failed = sort_out(units, digests)
        kept = len(units) - len(left)
        if settings.retry:
            left = failed_before(units, left)
        progress.start(f"batch {settings.task}", len(left) + kept)
        progress.advance(kept, stored=True)

        def heard(place: int, message: Finished | Failed, tries: int) -> None:
            index = left[place]
            row, facts = units[index].row, {"attempts": tries}
            if isinstance(message, Finished):
                failed.pop(index, None)
                log.add(out=row.out, digest=digests[index], error=None, **facts, **message.outcome)
                return
            code, said = getattr(message.error, "exit_code", 2), str(message.error)
            failed[index] = {
                "line": row.line, "clip": row.request.video, "out": row.out, "code": code,
                "error": said if row.title in said else f"{row.title}: {said}",
            } | facts  # fmt: skip
            log.add(digest=digests[index], **failed[index])

        try:
            made, _ = try_units(
                [units[index] for index in left], progress, engine=settings.engine, workers=settings.workers,
                threads=settings.threads, attempts=settings.attempts, heard=heard,
            )  # fmt: skip
        finally:
            list_failures(settings, [failed[index] for index in sorted(failed)])
    return BatchResult(len(units), len(made), kept, tuple(failed[index] for index in sorted(failed)))


def share(rows: Sequence[Row], shard: tuple[int, int]) -> Sequence[Row]:
    """Returns the rows of one part: dealt out in turns, so that a row stays in its part when others are added."""
    number, count = shard
    return rows[number - 1 :: count]


def sort_out(units: Sequence[ClipUnit], digests: Sequence[str]) -> tuple[list[int], dict[int, dict[str, Any]]]:
    """Returns which units are not done, and what is known of those that failed the last time, by their places."""
    settings = units[0].settings if units else None
    known = {} if settings is None else read_logs(settings.out)
    left, failed = [], {}
    for index, (unit, digest) in enumerate(zip(units, digests, strict=True)):
        found = known.get((unit.row.out, digest))
        if found is not None and found["error"] is not None:
            failed[index] = {key: value for key, value in found.items() if key != "digest"} | {"line": unit.row.line}
        if found is None or found["error"] is not None or unit.settings.overwrite or not unit.complete():
            left.append(index)
    return left, failed


def failed_before(units: Sequence[ClipUnit], left: Sequence[int]) -> list[int]:
    """Returns which of the units that are left failed before, also if their input or row was corrected since."""
    known = read_logs(units[0].settings.out) if left else {}
    failed = {out for (out, _), line in known.items() if line["error"] is not None}
    return [index for index in left if units[index].row.out in failed]


def failures_file(settings: BatchSettings) -> Path:
    """Returns the file that lists what failed; each part of a batch has its own."""
    number, count = settings.shard
    return settings.out / ("failures.jsonl" if count == 1 else f"failures-{number}-of-{count}.jsonl")


def list_failures(settings: BatchSettings, failures: Sequence[dict[str, Any]]) -> None:
    """Writes what failed, a line for each clip; without any there is no such file."""
    path = failures_file(settings)
    if failures:
        write_text(path, "".join(json.dumps(each) + "\n" for each in failures))
    else:
        path.unlink(missing_ok=True)


def check_result(result: BatchResult, settings: BatchSettings) -> None:
    """Raises BatchFailed if clips failed, naming the first and the file that lists all."""
    if not result.failures:
        return
    first, count = result.failures[0], len(result.failures)
    error = BatchFailed(
        f"{count} of {result.rows} clips failed, the first at {first['error']}; all are listed in "
        f"'{failures_file(settings)}', and the same command tries them again"
    )
    error.exit_code = first["code"]
    raise error
