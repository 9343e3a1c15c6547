"""The jobs behind the commands. Each is one run (`omlab.runs`)."""
