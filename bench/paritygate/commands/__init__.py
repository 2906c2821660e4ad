"""The commands of ``paritygate`` that measure, one module each; see ``paritygate.__main__``."""
