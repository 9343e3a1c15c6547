"""Report pages: tables, plots and overlays in one self-contained HTML file."""

__version__ = "0.1.0"
