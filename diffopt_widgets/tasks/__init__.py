"""The tasks of the bench."""

from __future__ import annotations

from diffopt_widgets.tasks.task import ParameterGroup, Problem, Samples, Task

__all__ = ["ParameterGroup", "Problem", "Samples", "Task"]
