"""The pictures on models' pages, one a package, made by the project's own commands on drawn data and ../shared.

python -m tools.pictures [PACKAGE ...]      write docs/images/models/PACKAGE.webp and .txt, what it shows

Published weights are not at hand here. A picture shows what a small network of the form learned in a minute, beside
the truth and its curve, or what a recipe does to its images; its text says so. An untrained network's answer says
nothing and is not shown.
"""
