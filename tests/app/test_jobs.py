"""The queue and the news of the app."""

from threading import Event
from types import SimpleNamespace

import pytest

pytest.importorskip("fastapi", reason="needs the extra app")


def test_jobs_are_done_in_order_and_cancelled_before_and_while_they_run():
    from undertow.app.jobs import Jobs
    from undertow.base import SettingsError

    changes, begun, done = [], Event(), []
    jobs, owner = Jobs(lambda job: changes.append((job.number, job.state))), SimpleNamespace(message="")

    def long(job):
        begun.set()
        job.stop.wait(20)
        job.check()
        raise AssertionError("it was not stopped")

    def refused(job):
        raise SettingsError("no such thing")

    for work in (
        long,
        lambda job: done.append(1) or "one",
        lambda job: done.append(2) or "two",
        refused,
        lambda job: 1 / 0,
    ):
        jobs.add(owner, "work", "work on a clip", work)
    assert begun.wait(20) and [each["state"] for each in jobs.list()] == ["running", *["waiting"] * 4]
    with pytest.raises(SettingsError, match="at work"), jobs.aside():
        pass
    jobs.stop(2)
    assert jobs.list()[1]["state"] == "stopped" and owner.message == "taken off the queue"
    jobs.stop(1)
    jobs.wait()
    assert [each["state"] for each in jobs.list()] == ["stopped", "stopped", "done", "failed", "failed"]
    assert done == [2] and [each["message"] for each in jobs.list()][2:4] == ["two", "no such thing"]
    assert "division" in owner.message and changes.count((3, "running")) == 1
    with jobs.aside():
        pass


def test_whoever_was_away_too_long_is_told_so():
    from undertow.app.jobs import KEPT_NEWS, News

    news = News()
    place, _ = news.since(0)
    for number in range(3):
        news.tell("frame", number)
    assert news.since(place) == (3, [("frame", 0), ("frame", 1), ("frame", 2)]) and news.since(3) == (3, [])
    for number in range(KEPT_NEWS + 1):
        news.tell("frame", number)
    assert news.since(3)[1] == [("missed", {})] and len(news.since(4)[1]) == KEPT_NEWS
