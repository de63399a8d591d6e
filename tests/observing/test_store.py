"""Tensors in memory and on disk: bounded, found again, forgotten."""

from pathlib import Path

import torch

from undertow.observing.store import TensorStore


def tensors(value):
    return {"a": torch.full((10,), float(value)), "b": torch.full((3, 2), value, dtype=torch.float16)}


def same(found, value):
    return all(torch.equal(found[name], each) for name, each in tensors(value).items())


def test_what_exceeds_memory_is_read_from_disk():
    one = sum(each.nbytes for each in tensors(0).values())
    store = TensorStore(memory=2 * one)
    for value in range(5):
        store.put(f"x_{value}", tensors(value))
        assert store._used <= 2 * one
    folder = store._temporary.name
    assert all(same(store.get(f"x_{value}"), value) for value in (0, 4, 2, 3, 1))
    assert not store.holds("x_9")
    store.close()
    assert not store.holds("x_0") and not Path(folder).exists()


def test_nothing_is_written_while_there_is_room(tmp_path):
    store = TensorStore()
    store.put("x", tensors(1))
    assert store._temporary is None and same(store.get("x"), 1)
    kept = TensorStore(tmp_path)
    kept.put("x", tensors(2))
    kept.close()
    again = TensorStore(tmp_path)
    assert again.holds("x") and same(again.get("x"), 2)
    again.forget()
    assert not again.holds("x")


def test_a_damaged_file_is_as_none(tmp_path):
    TensorStore(tmp_path).put("x", tensors(1))
    (tmp_path / "x.safetensors").write_bytes(b"no tensors")
    store = TensorStore(tmp_path)
    assert not store.holds("x")
    store.put("x", tensors(3))
    assert same(TensorStore(tmp_path).get("x"), 3)
