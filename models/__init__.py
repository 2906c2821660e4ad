"""The models that are measured: plain PyTorch, one file for each family. Nothing here knows the
harness.
"""
