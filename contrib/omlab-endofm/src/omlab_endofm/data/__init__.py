"""The data sets that Endo-FM was trained and judged on, as its authors have them on disk."""
