"""What the `nephoscope` command does, one module per subject.

`simulator.cli` declares commands and options and calls in here; each module that is a family of
commands of its own (``models``, ``train``, ``scenes``) has a Typer application named ``app``.
"""
