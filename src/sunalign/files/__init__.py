"""Files: corrections written and taken back (`sunalign.files.io`), images found by time (`sunalign.files.catalog`)."""
