"""Live progress on a terminal or in a log: one line for each step while it runs, a table with times at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(kw_only=True)
class Progress:
    """The steps so far."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    steps: list[tuple[str, float, str]] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce, time and remember one step."""
        self.console.print(f"[bold]▶ {title}[/bold]")
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self.steps.append((title, time.monotonic() - began, "FAILED"))
            raise
        self.steps.append((title, time.monotonic() - began, "ok"))

    def say(self, text: str) -> None:
        """One line of detail below the step."""
        for line in text.splitlines():
            self.console.print(f"    {line}", markup=False)

    def table(self) -> None:
        """All steps with their times."""
        table = Table(title="The main job, step by step")
        table.add_column("step")
        table.add_column("seconds", justify="right")
        table.add_column("result")
        for title, seconds, result in self.steps:
            table.add_row(title, f"{seconds:.1f}", result)
        table.add_row("all", f"{sum(seconds for _, seconds, _ in self.steps):.1f}", "", style="bold")
        self.console.print(table)
