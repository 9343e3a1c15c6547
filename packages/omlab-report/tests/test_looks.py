"""What can be checked of the looks without eyes: contrast, sizes, and plots of odd data."""

import io
import re
import subprocess
import sys
from importlib import resources

import matplotlib.image
import numpy as np
import pytest

from omlab.roles import Metric
from omlab_report import case_strip, curves_with_intervals, dot_intervals, encode_png, heat_map, loss_curve
from omlab_report.themes import NARROW_INCHES, THEMES, WIDE_INCHES, render_svg


def luminance(colour):
    channels = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a, b):
    """Contrast ratio of WCAG 2.2."""
    high, low = sorted([luminance(a), luminance(b)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_plots_have_the_contrast_of_text(theme):
    for colour in (theme.ink, theme.muted, *theme.series):
        assert contrast(colour, theme.paper) >= 4.5, colour


def test_the_page_has_the_contrast_of_text():
    css = resources.files("omlab_report").joinpath("templates", "page.css").read_text(encoding="utf-8")
    palettes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    assert len(palettes) == 2
    for palette, name in zip(palettes, ("light_wide", "dark_wide"), strict=True):
        assert palette["paper"] == THEMES[name].paper  # dots of plots and their page agree
        for colour in ("ink", "muted", "accent", "brand", "warm"):
            assert contrast(palette[colour], palette["paper"]) >= 4.5


METRICS = [
    Metric(name="Dice", label="liver", value=0.9, low=0.8, high=0.95),
    Metric(name="Dice", label="a $very$ long_name of a class that has no end", value=None),
    Metric(name="HD95", label="liver", value=3.0, unit="mm", higher_is_better=False),
    Metric(name="HD95", value=3.0, low=2.0, high=4.0, unit="mm", higher_is_better=False),
]
PLOTS = {
    "loss": loss_curve([{"epoch": n, "loss": 1 / n, **({"val_loss": 2 / n} if n > 2 else {})} for n in range(1, 6)]),
    "loss of one row": loss_curve([{"loss": 0.3}]),
    "dots": dot_intervals(METRICS),
    "curves": curves_with_intervals({"a $": [("1", METRICS[0]), ("all", METRICS[1])]}, across="shots", up="AUROC"),
    "strip": case_strip({"liver": [0.9, None, float("nan"), 0.7], "none": [None], "empty": []}, name="Dice"),
    "strip with unit": case_strip({"liver": [3.0]}, name="HD95", unit="mm"),
    "heat map": heat_map([[0.1, None], [0.5, 0.9]], rows=["a", "b"], columns=["x", "y"]),
}


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_every_plot_draws_at_its_width(name, theme):
    svg = render_svg(PLOTS[name], theme).decode()
    width = float(re.search(r'width="([\d.]+)pt"', svg)[1])
    assert width == pytest.approx(72 * (NARROW_INCHES if theme.narrow else WIDE_INCHES), abs=0.01)
    assert theme.ink in svg
    assert render_svg(PLOTS[name], theme).decode() == svg


def test_a_heat_map_needs_its_names():
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        heat_map([[0.1, 0.2]], rows=["a"], columns=["x"])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (33, 20)])
def test_png_holds_the_array(shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    read = matplotlib.image.imread(io.BytesIO(encode_png(rgb)), format="png")
    np.testing.assert_array_equal(np.rint(read[..., :3] * 255).astype(np.uint8), rgb)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_png_refuses_what_is_no_picture(wrong):
    with pytest.raises(ValueError, match="uint8"):
        encode_png(wrong)


def test_matplotlib_is_imported_where_a_plot_is_drawn() -> None:
    code = "import sys, omlab_report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
