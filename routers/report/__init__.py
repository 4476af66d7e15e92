"""An evaluation for people and for programs: a terminal's text, JSON, and one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from routers.findings import Evaluation
from routers.report.document import render as render_document
from routers.report.page import render as render_page
from routers.report.text import render as render_text


@dataclass(frozen=True, slots=True)
class Report:
    """One evaluation, shown in three ways; see `coe.tools.RouterReport`."""

    evaluation: Evaluation

    def text(self, *, wrong: bool = False) -> str:
        """Return lines for a terminal; `wrong` adds the texts that went wrong."""
        return render_text(self.evaluation, wrong=wrong)

    def document(self) -> dict[str, Any]:
        """Return all of it as plain values; what is undefined or infinite is None."""
        return render_document(self.evaluation)

    def page(self) -> str:
        """Return one HTML page that needs no other file, no script and no network."""
        return render_page(self.evaluation)
