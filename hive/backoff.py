"""How long to wait before a dead process is started again. Time is a parameter."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Doubles the wait with each death, and forgets them after a calm life.

    Args:
        first_s, longest_s: the shortest and the longest wait.
        calm_s: a process that lived so long starts the count anew.
    """

    first_s: float = 0.1
    longest_s: float = 30.0
    calm_s: float = 60.0
    _deaths: dict = field(default_factory=dict)

    def wait_s(self, who: object, lived_s: float) -> float:
        """Return the wait before `who` is started again, after a life of `lived_s` seconds."""
        deaths = 1 if lived_s >= self.calm_s else self._deaths.get(who, 0) + 1
        self._deaths[who] = deaths
        return min(self.longest_s, self.first_s * 2 ** (deaths - 1))
