"""Who may do what: one table, deny by default. PURE.

Administrators run the system and cannot read evidence. Auditors read everything about acts and
nothing of content. A party sees its own cases only; an API client its own deposits only. What a
caller may not know of is answered like what does not exist.
"""

from __future__ import annotations

from enum import StrEnum

from notary.errors import NotAllowed, NotFound
from notary.model import Principal, Role


class Act(StrEnum):
    DEPOSIT = "deposit"
    BATCH = "batch"
    READ_DEPOSIT = "read-deposit"
    READ_CONTENT = "read-content"
    ISSUE_CERTIFICATE = "issue-certificate"
    READ_CUSTODY = "read-custody"
    OPEN_CASE = "open-case"
    READ_CASE = "read-case"
    ADD_PARTY = "add-party"
    MANAGE_ACCOUNTS = "manage-accounts"
    MANAGE_ISSUERS = "manage-issuers"
    READ_EVENTS = "read-events"
    READ_AUDITS = "read-audits"
    OWN_KEYS = "own-keys"
    SET_RETENTION = "set-retention"
    HOLD = "hold"
    REQUEST_DISPOSAL = "request-disposal"
    APPROVE_DISPOSAL = "approve-disposal"
    READ_DISPOSALS = "read-disposals"
    WITHDRAW_CERTIFICATE = "withdraw-certificate"


class Reach(StrEnum):
    """Which deposits and cases a permission extends to."""

    ALL = "all"
    OWN_CASES = "own cases"
    OWN_DEPOSITS = "own deposits"


_CLERK = dict.fromkeys(
    (
        Act.DEPOSIT,
        Act.BATCH,
        Act.READ_DEPOSIT,
        Act.READ_CONTENT,
        Act.ISSUE_CERTIFICATE,
        Act.READ_CUSTODY,
        Act.OPEN_CASE,
        Act.READ_CASE,
        Act.ADD_PARTY,
        Act.OWN_KEYS,
        Act.SET_RETENTION,
        Act.HOLD,
        Act.REQUEST_DISPOSAL,
        Act.APPROVE_DISPOSAL,
        Act.READ_DISPOSALS,
        Act.WITHDRAW_CERTIFICATE,
    ),
    Reach.ALL,
)
_AUDITOR = dict.fromkeys(
    (
        Act.READ_DEPOSIT,
        Act.READ_CUSTODY,
        Act.READ_CASE,
        Act.READ_EVENTS,
        Act.READ_AUDITS,
        Act.OWN_KEYS,
        Act.READ_DISPOSALS,
    ),
    Reach.ALL,
)
_PARTY = dict.fromkeys(
    (Act.DEPOSIT, Act.READ_DEPOSIT, Act.READ_CONTENT, Act.ISSUE_CERTIFICATE, Act.READ_CASE),
    Reach.OWN_CASES,
)
_API_CLIENT = {
    **dict.fromkeys(
        (Act.READ_DEPOSIT, Act.READ_CONTENT, Act.ISSUE_CERTIFICATE, Act.READ_CUSTODY),
        Reach.OWN_DEPOSITS,
    ),
    **dict.fromkeys((Act.DEPOSIT, Act.BATCH, Act.OPEN_CASE, Act.READ_CASE), Reach.ALL),
}
_ADMINISTRATOR = dict.fromkeys(
    (Act.MANAGE_ACCOUNTS, Act.MANAGE_ISSUERS, Act.READ_EVENTS, Act.READ_AUDITS), Reach.ALL
)

TABLE: dict[Role, dict[Act, Reach]] = {
    Role.ADMINISTRATOR: _ADMINISTRATOR,
    Role.CLERK: _CLERK,
    Role.AUDITOR: _AUDITOR,
    Role.PARTY: _PARTY,
    Role.API_CLIENT: _API_CLIENT,
}


def check(principal: Principal, act: Act) -> Reach:
    """How far the permission reaches. Raises NotAllowed where the role or the key has none."""
    reach = TABLE[principal.role].get(act)
    if reach is None:
        raise NotAllowed(f"role {principal.role} may not {act}")
    if principal.scopes is not None and act not in principal.scopes:
        raise NotAllowed(
            f"this key has no scope {act}; it has {sorted(principal.scopes)}", code="scope_missing"
        )
    return reach


def check_deposit(principal: Principal, act: Act, *, depositor: str, in_own_case: bool) -> None:
    """Raises NotFound where the caller may not know of this deposit."""
    reach = check(principal, act)
    known = (
        reach is Reach.ALL
        or (reach is Reach.OWN_CASES and (in_own_case or depositor == principal.account_id))
        or (reach is Reach.OWN_DEPOSITS and depositor == principal.account_id)
    )
    if not known:
        raise NotFound("no such deposit", code="deposit_not_found")


def check_case(principal: Principal, act: Act, *, is_party: bool) -> None:
    """Raises NotFound where the caller may not know of this case."""
    reach = check(principal, act)
    if reach is not Reach.ALL and not is_party:
        raise NotFound("no such case", code="case_not_found")
