"""Who may place no new orders, because an operator or a loss limit said so. Cancels always pass."""


class Halts:
    """The halts of one account: of all of it, and of single strategies; each stands until it is lifted itself.

    `scope` tells halts of the whole fleet ("") from those of one venue (its name).
    """

    def __init__(self) -> None:
        self._reasons: dict[tuple[str | None, str], str] = {}

    def halt(self, tag: str | None, scope: str, reason: str) -> None:
        """Halt a strategy, or with None everybody; the first reason stays."""
        self._reasons.setdefault((tag, scope), reason)

    def resume(self, tag: str | None, scope: str) -> None:
        """Lift that halt, and no other."""
        self._reasons.pop((tag, scope), None)

    def reason(self, tag: str) -> str:
        """Return why a strategy may place nothing, "" when it may."""
        if not self._reasons:
            return ""
        return next((why for (halted, _), why in self._reasons.items() if halted in (None, tag)), "")

    @property
    def all(self) -> str:
        """Why nobody may, "" when the account is not halted."""
        return next((why for (halted, _), why in self._reasons.items() if halted is None), "")
