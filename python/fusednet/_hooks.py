"""The callbacks of a training, called together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_HOOKS = ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end", "on_exception")
_COMPLETE = "_on_epoch_complete"  # ModelCheckpoint's, for once the others have seen the epoch


class Hooks:
    """The methods of the callbacks, by their names; an object need not have them all."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks must be a list of callbacks, not {callbacks!r}")
        self._callbacks = list(callbacks)
        for callback in self._callbacks:
            if isinstance(callback, type) or not any(hasattr(callback, hook) for hook in _HOOKS):
                raise TypeError(
                    f"a callback must be an object with methods like fn.Callback's, not {callback!r}"
                )
        self._methods = {
            hook: [getattr(callback, hook) for callback in self._callbacks if hasattr(callback, hook)]
            for hook in (*_HOOKS, _COMPLETE)
        }

    def run(self, hook: str, *arguments: Any) -> None:
        """Call one method of all callbacks, in their order.

        What one raises in `on_exception` becomes a note on the exception that it was told of.
        """
        for method in self._methods[hook]:
            try:
                method(*arguments)
            except Exception as error:
                if hook != "on_exception":
                    raise
                arguments[-1].add_note(f"{method!r} raised {error!r}")

    def states(self) -> list[tuple[str, dict[str, Any]]]:
        """Return class and state of those callbacks that have a state to keep."""
        return [(type(callback).__name__, state) for callback, state in self._stateful()]

    def load_states(self, states: Sequence[dict[str, Any]]) -> None:
        """Give the callbacks back what `states` returned."""
        for (callback, _), state in zip(self._stateful(), states, strict=True):
            try:
                callback.load_state_dict(state)
            except (KeyError, TypeError, ValueError) as error:
                name = type(callback).__name__
                raise ValueError(f"the file's state of {name} is not one that it saved: {error!r}") from error

    def _stateful(self) -> list[tuple[Any, dict[str, Any]]]:
        states = [(each, each.state_dict()) for each in self._callbacks if hasattr(each, "state_dict")]
        return [(callback, state) for callback, state in states if state]
