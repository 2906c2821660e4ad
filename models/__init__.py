"""The models that are measured: plain PyTorch, one file a family. Nothing here knows the
harness.
"""
