"""MONAI bundles as models: their configuration is read, none of it is run."""
