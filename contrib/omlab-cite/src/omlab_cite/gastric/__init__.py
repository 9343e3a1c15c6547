"""PatchGastricADC22: its table, the rules of its lists, its figures, and the data set."""
