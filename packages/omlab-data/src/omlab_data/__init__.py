"""Own data without code: tables of cases, splits by patient, few-shot episodes, verification."""

__version__ = "0.1.0"
