import torch

from undertow.tracking.memory import Memory, Reference


def reference(index, objects=1):
    return Reference(
        index, torch.zeros(1, 4, 2), torch.full((objects + 1, 4), float(index)), torch.ones(objects + 1).bool()
    )


def test_recent_frames_give_way_and_anchors_stay():
    memory = Memory(limit=2)
    memory = memory.with_anchor(reference(0))
    for index in range(1, 5):
        memory = memory.with_recent(reference(index))
    assert [r.index for r in memory.references()] == [0, 3, 4]


def test_no_recent_frames_leaves_only_anchors():
    memory = Memory(limit=0)
    memory = memory.with_anchor(reference(0))
    memory = memory.with_recent(reference(1))
    assert [r.index for r in memory.references()] == [0]


def test_an_anchor_given_twice_is_replaced():
    memory = Memory(limit=1)
    memory = memory.with_anchor(reference(0))
    memory = memory.with_anchor(Reference(0, torch.zeros(1, 4, 2), torch.full((2, 4), 7.0), torch.ones(2).bool()))
    assert len(memory.references()) == 1 and float(memory.references()[0].labels[0, 0]) == 7.0


def test_old_references_do_not_know_new_objects():
    memory = Memory(limit=2)
    memory = memory.with_anchor(reference(0))
    memory = memory.with_recent(reference(1))
    memory = memory.with_objects(2)
    for each in memory.references():
        assert each.labels.shape == (4, 4) and not each.labels[2:].any()
        assert each.known.tolist() == [True, True, False, False]


def test_what_is_forgotten_is_not_known_and_references_without_objects_go():
    memory = Memory(limit=2)
    memory = memory.with_anchor(reference(1, objects=2))
    memory = memory.with_recent(reference(2, objects=2))
    memory = memory.without_knowledge([2])
    for each in memory.references():
        assert each.known.tolist() == [True, True, False] and each.labels[1].any() and not each.labels[2].any()
    memory = memory.without_knowledge([1])
    assert memory.references() == []


def test_what_a_removed_object_held_is_background():
    memory = Memory(limit=2).with_anchor(reference(1, objects=2)).with_recent(reference(2, objects=2))
    thinner = memory.without_object(1)
    for before, after in zip(memory.references(), thinner.references(), strict=True):
        assert torch.equal(after.labels, torch.stack([before.labels[0] + before.labels[1], before.labels[2]]))
    assert thinner.without_object(1).references() == []
