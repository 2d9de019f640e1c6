"""The law of the house: what may be registered, how it is proved, what a verdict says.

Read it in the order a document travels:
intake (receive) → record, statement (what is said of it) → sequencer, ledger (the tree)
→ tsa, tsp (outside time) → issue (the certificate) → verify (the verdict).
Doors: web/, cli/. The assembled house: office. Imports go one way; docs/architecture.md
draws the rows and tests/test_architecture.py holds them.
"""

__version__ = "0.1.0"
