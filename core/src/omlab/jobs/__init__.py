"""The jobs behind the commands: predict, adapt, evaluate. Each is one run (`omlab.runs`)."""
