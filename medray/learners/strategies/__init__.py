"""How the ranks of a learner share weights, gradients and the optimizer's state: one file a strategy."""

from medray.learners.strategies.base import Strategy
from medray.learners.strategies.replicated import DataParallel, SingleProcess
from medray.learners.strategies.select import connect_ranks, make_strategy

__all__ = ["DataParallel", "SingleProcess", "Strategy", "connect_ranks", "make_strategy"]
