"""The pictures of the site, made by the project's own commands on drawn data and ../shared.

Models' pages have one a package; pages of docs open with one.

python -m tools.pictures [NAME ...]      write docs/images/{models/PACKAGE,PAGE}.webp, and .txt: what it shows

Published weights are not at hand here. A picture shows what a small network of the form learned in a minute, beside
the truth and its curve, or what a recipe does to its images; its text says so. An untrained network's answer says
nothing and is not shown.
"""
