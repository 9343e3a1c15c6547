"""What `tools/gpu_check.sh` runs on a machine with a GPU: a module for each phase, all of them without a registry."""
