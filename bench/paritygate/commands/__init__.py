"""The commands of ``paritygate`` that measure; a module each, see ``paritygate.__main__``."""
