pytest_plugins = ["pytester"]
collect_ignore = ["example"]  # a plugin to run the kit on, not tests of the kit
