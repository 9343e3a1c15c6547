"""Pages about slides whose features are there: a report for each slide, and a table of the cohort."""
