"""The libraries that open slides, each behind the same few methods (`omlab_slide.readers.reader.Reader`)."""
