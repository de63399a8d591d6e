"""Names and counts of strangers, given to the command line; the whole sweep is benchmarks/faults/attacks.py."""

import pytest
from attacks import count_attacks, name_attacks, result

SOME = [*[(attack, False) for attack in name_attacks()][::60], *[(attack, True) for attack in count_attacks()][2::25]]


@pytest.mark.parametrize(("attack", "limited"), SOME, ids=[attack.name for attack, _ in SOME])
def test_nothing_outside_changes_and_all_ends_in_a_sentence(attack, limited):
    assert result(attack, limited) in ("succeeded", "refused")
