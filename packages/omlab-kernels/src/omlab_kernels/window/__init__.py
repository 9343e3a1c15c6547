"""The sliding window: scores added up with weights, and labels decided without a volume for each class."""
