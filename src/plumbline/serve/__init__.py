"""Answers for scans over HTTP: requests are read as flags of ``plumbline predict``, and batched."""
