"""What can go wrong in a worker, as one tree."""


class WorkerError(Exception):
    """Base of everything that hive.workers raises."""


class BootError(WorkerError):
    """The boot message or the host cannot be used; a restart would not cure it."""


class OrderRefused(WorkerError):
    """The router did not take an order: it never left this process, and nothing else will be heard of it."""


class UnknownInstrument(WorkerError):
    """A venue does not list a pair."""


class BookMissing(WorkerError):
    """No feed publishes this pair (yet), or the venue has no feed attached."""


class UnresolvedContext(WorkerError):
    """Code that needs to know its strategy ran outside of every strategy's context."""
