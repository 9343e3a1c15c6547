"""Report pages of omlab: one self-contained HTML file made of simple blocks.

    from omlab_report import Column, KeyFigure, KeyFigures, Page, Section, Table, write_page

    page = Page("Segmentation", sections=[Section("Result", [KeyFigures([KeyFigure("Mean Dice", 0.91)])])])
    write_page(page, folder / "report.html")

Pictures are embedded, nothing is fetched, tables can be sorted, and the page reads well on a phone,
on a desktop, light, dark and printed. No torch.
"""

from omlab_report.blocks import (
    Block,
    Column,
    Facts,
    Figure,
    Gallery,
    GalleryItem,
    Interval,
    KeyFigure,
    KeyFigures,
    Notes,
    Page,
    Picture,
    Section,
    Table,
)
from omlab_report.judged import model_words, untrained_notices
from omlab_report.page import render_page, write_page, write_text
from omlab_report.plots import case_strip, curves_with_intervals, dot_intervals, heat_map, loss_curve
from omlab_report.png import described, encode_png
from omlab_report.provenance import ReportedRun, read_run, run_notices, run_of_case, run_sections
from omlab_report.tables import csv_text, plain_cell, safe_cell

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Column",
    "Facts",
    "Figure",
    "Gallery",
    "GalleryItem",
    "Interval",
    "KeyFigure",
    "KeyFigures",
    "Notes",
    "Page",
    "Picture",
    "ReportedRun",
    "Section",
    "Table",
    "case_strip",
    "csv_text",
    "curves_with_intervals",
    "described",
    "dot_intervals",
    "encode_png",
    "heat_map",
    "loss_curve",
    "model_words",
    "plain_cell",
    "read_run",
    "render_page",
    "run_notices",
    "run_of_case",
    "run_sections",
    "safe_cell",
    "untrained_notices",
    "write_page",
    "write_text",
]
