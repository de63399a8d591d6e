import torch

from undertow.tracking.memory import Memory, Reference


def reference(index, objects=1):
    return Reference(
        index, torch.zeros(1, 4, 2), torch.full((objects + 1, 4), float(index)), torch.ones(objects + 1).bool()
    )


def test_ring_drops_the_oldest_and_anchors_stay():
    memory = Memory(recent=2)
    memory.add_anchor(reference(0))
    for index in range(1, 5):
        memory.push(reference(index))
    assert [r.index for r in memory.references()] == [0, 3, 4]


def test_no_recent_frames_leaves_only_anchors():
    memory = Memory(recent=0)
    memory.add_anchor(reference(0))
    memory.push(reference(1))
    assert [r.index for r in memory.references()] == [0]


def test_an_anchor_given_twice_is_replaced():
    memory = Memory(recent=1)
    memory.add_anchor(reference(0))
    memory.add_anchor(Reference(0, torch.zeros(1, 4, 2), torch.full((2, 4), 7.0), torch.ones(2).bool()))
    assert len(memory.references()) == 1 and float(memory.references()[0].labels[0, 0]) == 7.0


def test_old_references_do_not_know_new_objects():
    memory = Memory(recent=2)
    memory.add_anchor(reference(0))
    memory.push(reference(1))
    memory.add_objects(2)
    for each in memory.references():
        assert each.labels.shape == (4, 4) and not each.labels[2:].any()
        assert each.known.tolist() == [True, True, False, False]


def test_what_is_forgotten_is_not_known_and_references_without_objects_go():
    memory = Memory(recent=2)
    memory.add_anchor(reference(1, objects=2))
    memory.push(reference(2, objects=2))
    memory.forget([2])
    for each in memory.references():
        assert each.known.tolist() == [True, True, False] and each.labels[1].any() and not each.labels[2].any()
    memory.forget([1])
    assert memory.references() == []
