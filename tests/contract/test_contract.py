"""What every registered method must keep, whoever wrote it; and that each clause notices a method that does not."""

import functools

import pytest

from baselines.registry import method_names
from suites.contract import CLAUSES, Clause, NotApplicable, Subject

subject = functools.cache(Subject)


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("name", method_names())
def test_every_registered_method_keeps_every_clause(name: str, clause: Clause) -> None:
    try:
        clause(subject(name))
    except NotApplicable as reason:
        pytest.skip(str(reason))
