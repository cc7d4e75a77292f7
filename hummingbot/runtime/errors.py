"""What can go wrong between a strategy's configuration and its first tick."""


class RuntimeHostError(Exception):
    """Base of the errors that the Hummingbot host raises."""


class StrategyConfigError(RuntimeHostError):
    """A strategy's configuration does not load; the message names the strategy, the key and the rule."""


class StrategyStartError(RuntimeHostError):
    """A strategy's own starter did not produce a strategy."""


class UnknownVenue(RuntimeHostError):
    """A strategy asks for an exchange that the fleet has no venue for."""


class ReleaseMismatch(RuntimeHostError):
    """The installed Hummingbot is not the one that the compiled modules were built against."""
