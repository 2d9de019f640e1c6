"""Revisions of the database's tables, in order: what `notary migrate` runs, each once.

A revision is a file with `revision`, `down_revision` and `upgrade()`; what its docstring says is
shown to the operator. It runs in one transaction, on SQLite and PostgreSQL alike, and must be right
with a ledger of ten million entries:

 - It only adds: tables, columns that may be null or have a constant default, indices of new tables.
   So nothing is rewritten, and software that knows only the revision before it goes on working.
 - What software no longer uses is dropped one release later, by a revision whose name says so:
   `0007_from_0005` may be served by software that knows 0005 or more. Without `_from_` it is the
   one just before; where a release adds several, each names the newest of the last release.
 - A new table is watched for the journal where `journal_tables.WAYS` says so: `watch`.
 - A revision that was released is never changed.

`notary.schema` says which one is the newest, and which one this software needs.
"""
