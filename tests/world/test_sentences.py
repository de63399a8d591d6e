from undertow.world import make_family_scene, scene_captions
from undertow.world.captions import COUNTS, describe, vocabulary_words


def test_captions_are_different_full_sentences_of_the_vocabulary():
    words = set(vocabulary_words())
    for family in ("leaves", "occlusion", "reentry", "entrances", "crossing"):
        scene = make_family_scene(family, 2, 60, 100)
        found = scene_captions(scene)
        assert 2 <= len(found) == len(set(found)) <= 5
        assert found == scene_captions(scene)
        for sentence in found:
            assert sentence.endswith(".") and set(sentence[:-1].split()) <= words, sentence


def test_counts_are_those_of_the_first_picture():
    counted = 0
    for family in ("plain", "look-alikes", "entrances"):
        for seed in range(3):
            scene = make_family_scene(family, seed, 60, 100)
            shown = set(scene.surfaces(0.0).ravel()) - {0}
            for sentence in scene_captions(scene, 9):
                if sentence.startswith("there are"):
                    _, _, count, kind, _ = sentence.split()
                    kinds = [scene.layers[number - 1].shape.kind for number in shown]
                    assert kinds.count(kind) == COUNTS.index(count)
                    counted += 1
    assert counted >= 3


def test_the_first_words_of_the_vocabulary_never_move():
    # Tokenizers of released models number words in this order.
    words = vocabulary_words()
    assert len(words) == len(set(words))
    assert words[:4] == ["there", "are", "shapes", "a"]
    assert (words.index("no"), words.index("cloudy"), words.index("black"), words.index("disc")) == (23, 31, 40, 54)
    assert words[61:64] == ["ring", "that", "which"] and words[-1] == "away" and len(words) == 117
    assert describe.__doc__
