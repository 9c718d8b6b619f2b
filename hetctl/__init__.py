"""Plan, launch and benchmark one vLLM engine over GPU and CPU ranks.

Importing this package never imports torch or vLLM (a test checks it).
"""

__version__ = "0.1.0"
