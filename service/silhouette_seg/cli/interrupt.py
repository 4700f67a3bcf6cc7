"""Runs a command so that SIGINT, SIGTERM and SIGHUP let it clean up before it ends."""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar

import typer

T = TypeVar("T")

_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
)


class Interrupted(Exception):
    """A signal stopped the command, which has cleaned up."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number

    def end_process(self) -> NoReturn:
        """Ends the process: with code 130 after SIGINT, otherwise by the signal itself."""
        if self.number is not signal.SIGINT:
            signal.signal(self.number, signal.SIG_DFL)
            signal.raise_signal(self.number)
        raise typer.Exit(128 + self.number)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end and returns its result.

    SIGINT, SIGTERM and SIGHUP cancel it. Raises Interrupted when the cancelled coroutine has ended.
    """
    received: list[signal.Signals] = []

    async def run_main() -> T:
        with _cancel_on_signal(received):
            return await main

    try:
        return asyncio.run(run_main())
    except asyncio.CancelledError:
        if not received:
            raise
        raise Interrupted(received[0]) from None


@contextmanager
def _cancel_on_signal(received: list[signal.Signals]) -> Iterator[None]:
    """Context manager that cancels the current task at each signal, and notes the signal.

    A signal that the parent process has set to be ignored stays ignored.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def on_signal(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        loop.call_soon_threadsafe(task.cancel)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in previous.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
