"""What pictures of results are drawn with: words, classes and their names, prompts, a legend (extra `pictures`)."""
