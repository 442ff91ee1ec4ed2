"""What every method must keep, as checks that run on any registered method, one of another package too."""

from suites.contract.clauses import CLAUSES, Clause, NotApplicable, Subject
from suites.contract.run import BrokenClause

__all__ = ["CLAUSES", "BrokenClause", "Clause", "NotApplicable", "Subject"]
