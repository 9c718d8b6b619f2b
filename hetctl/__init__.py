"""Plan, launch and benchmark one vLLM engine over GPU and CPU ranks.

Importing this package never imports torch or vLLM (a test checks it).
"""

try:
    # Written when hetctl is built or installed: reading its metadata takes longer than --help.
    from hetctl._version import __version__
except ImportError:
    # Run from a working tree that was never installed.
    __version__ = "0.0.0+unknown"

__all__ = ["__version__"]
