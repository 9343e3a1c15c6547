"""Small scripts of the workspace: its packages, the generated tables and pages, the checks around a release."""
