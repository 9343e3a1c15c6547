"""Video files, folders of frames, and files of what is found over time."""
