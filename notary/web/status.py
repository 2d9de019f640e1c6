"""Is it alive, is it ready, how is it doing: /healthz, /readyz, /metrics."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from apiflask import APIBlueprint
from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from werkzeug.wsgi import ClosingIterator

from notary.errors import NotaryError
from notary.office import Office
from notary.remains import Kind
from notary.traffic import FOLDER, IN_FLIGHT, is_leaving
from notary.web.api import as_json
from notary.web.auth import office
from notary.web.openapi import TEXT, answer, describe, ref
from storage.errors import StorageError

bp = APIBlueprint("status", __name__, enable_openapi=False)

LATE_S = 60
"""An entry that waits longer than this for a timestamp makes the house not ready to boast."""

REQUESTS = Counter("evidence_requests", "Requests answered", ["route", "method", "status"])
REFUSED = Counter(
    "evidence_statements_refused", "Signed statements refused at the door", ["reason"]
)
SECONDS = Histogram("evidence_request_seconds", "Time to answer, in seconds", ["route"])


class CountInFlight:
    """WSGI middleware: a request is under way until the last byte of its answer was taken."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        IN_FLIGHT.inc()
        try:
            return ClosingIterator(self._application(environ, start_response), IN_FLIGHT.dec)
        except BaseException:
            IN_FLIGHT.dec()
            raise


def watch(app: Flask) -> None:
    """Counts and times every request by its route, never by what was in it."""

    app.wsgi_app = CountInFlight(app.wsgi_app)  # type: ignore[method-assign]  # Flask's own way

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule is not None else "none"
        REQUESTS.labels(route, request.method, str(response.status_code)).inc()
        SECONDS.labels(route).observe(time.perf_counter() - g.began)
        if is_leaving():
            # Else a proxy's idle connection would be cut under its next request.
            response.headers["Connection"] = "close"
        return response


@bp.get("/healthz")
@describe("The process answers", answers={200: answer("alive", ref("Health"))}, public=True)
def healthz() -> Response:
    return as_json({"status": "alive"})


@bp.get("/readyz")
@describe(
    "Every part can do its work",
    public=True,
    answers={200: answer("ready", ref("Readiness")), 503: answer("not", ref("Readiness"))},
)
def readyz() -> Response:
    if is_leaving():
        return as_json({"status": "leaving", "checks": {"node": "leaving"}}, 503)
    found, ready = readiness(office())
    status = "ready" if ready else "not ready"
    return as_json({"status": status, "checks": found}, 200 if ready else 503)


def readiness(house: Office) -> tuple[dict[str, str], bool]:
    """(each part's state in words, whether deposits can be taken). Late timestamps are told and
    do not make it unready: a deposit never waits for an authority."""
    found: dict[str, str] = {}
    ready = True
    probes: tuple[tuple[str, Callable[[], None]], ...] = (
        ("database", lambda: _probe_database(house)),
        ("storage", lambda: house.objects.check()),
    )
    for name, probe in probes:
        try:
            probe()
            found[name] = "ok"
        except (NotaryError, StorageError) as exc:
            found[name], ready = f"failed: {exc.__class__.__name__}", False
    if not ready:
        return found, False
    try:
        house.sequencer.check_writing()
    except NotaryError as exc:  # stopped, a key missing, or a token that does not answer
        found["ledger"] = f"failed: {exc.code}"
        return found, False
    late = timestamp_age_s(house)
    found["timestamps"] = "ok" if late <= LATE_S else f"late: oldest entry waits {late:.0f} s"
    lag, age = journal_lag(house)
    found["journal"] = "ok" if age <= LATE_S else f"late: {lag} entries since {age:.0f} s"
    for witness in house.witnesses.states().values():
        if witness.failures:
            found[f"witness {witness.name}"] = f"failing: {witness.failures} times in a row"
    for state in house.stamps.authorities():
        if state.failures:
            found[f"authority {state.name}"] = f"failing: {state.failures} times in a row"
    return found, True


def _probe_database(house: Office) -> None:
    house.ledger.head()
    house.database.check_writable()


def timestamp_age_s(house: Office) -> float:
    """Seconds since the newest checkpoint was signed, if no token covers it; else 0."""
    head = house.ledger.head()
    if house.stamps.newest_size() >= head.size:
        return 0.0
    return (house.clock.now() - head.signed_at).total_seconds()


def journal_lag(house: Office) -> tuple[int, float]:
    """(entries that would be lost with the database, seconds since the oldest was entered)."""
    lag = house.journal.lag()
    since = 0.0 if lag.since is None else (house.clock.now() - lag.since).total_seconds()
    return lag.entries, max(0.0, since)


class HouseCollector(Collector):
    """What the database says, asked at each scrape: the same from every process."""

    def __init__(self, house: Office) -> None:
        self._house = house

    def collect(self) -> Iterator[Metric]:
        house = self._house
        head = house.ledger.head()
        waiting, _ = house.stamps.waiting()
        registered, statements_waiting = house.issuers.counts()
        unjournalled, unjournalled_s = journal_lag(house)
        for name, text, value in (
            ("evidence_tree_size", "Entries in the ledger", head.size),
            (
                "evidence_timestamped_size",
                "Entries covered by a timestamp",
                house.stamps.newest_size(),
            ),
            (
                "evidence_timestamp_lag_seconds",
                "Age of the newest entry no token covers",
                timestamp_age_s(house),
            ),
            ("evidence_documents_waiting", "Originals waiting for their own token", waiting),
            (
                "evidence_retention_due",
                "Originals registered and not known to be retained",
                house.retention.waiting(),
            ),
            ("evidence_statements", "Statements of outside issuers registered", registered),
            (
                "evidence_statements_waiting",
                "Statements of outside issuers waiting to be registered",
                statements_waiting,
            ),
            ("evidence_journal_lag_entries", "Entries not in the journal yet", unjournalled),
            (
                "evidence_journal_lag_seconds",
                "Age of the oldest entry not in the journal",
                unjournalled_s,
            ),
        ):
            yield GaugeMetricFamily(name, text, value=float(value))
        yield from _audit_metrics(house)
        yield from _remains_metrics(house)
        failures = GaugeMetricFamily(
            "evidence_authority_failures", "Failures in a row", labels=["authority"]
        )
        for state in house.stamps.authorities():
            failures.add_metric([state.name], float(state.failures))
        yield failures
        witnessed = GaugeMetricFamily(
            "evidence_witness_size", "Size this witness cosigned last", labels=["witness"]
        )
        refusals = GaugeMetricFamily(
            "evidence_witness_failures", "Failures in a row", labels=["witness"]
        )
        for witness in house.witnesses.states().values():
            witnessed.add_metric([witness.name], float(witness.size))
            refusals.add_metric([witness.name], float(witness.failures))
        yield witnessed
        yield refusals


def _audit_metrics(house: Office) -> Iterator[Metric]:
    last, running = house.auditing.audits.newest_finished(), house.auditing.audits.unfinished()
    finished_at = None if last is None else last.finished_at
    for name, text, value in (
        (
            "evidence_audit_finished_seconds",
            "When the last audit of all originals was finished, Unix time; 0 before the first",
            0.0 if finished_at is None else finished_at.timestamp(),
        ),
        (
            "evidence_audit_originals",
            "Originals that it read again",
            0 if last is None else last.counts.originals,
        ),
        (
            "evidence_audit_bytes",
            "Bytes that it read again",
            0 if last is None else last.counts.bytes,
        ),
        (
            "evidence_audit_findings",
            "What it and the audits begun since found to contradict the ledger",
            house.auditing.rereads.open_findings(last),
        ),
        (
            "evidence_audit_progress_ratio",
            "Part of the audit under way that is done; 1 where none is",
            1.0 if running is None else running.counts.done / max(running.counts.ranges, 1),
        ),
    ):
        yield GaugeMetricFamily(name, text, value=float(value))


def _remains_metrics(house: Office) -> Iterator[Metric]:
    remains = house.reconciling.remains
    last = remains.newest_finished()
    finished_at = None if last is None else last.finished_at
    yield GaugeMetricFamily(
        "evidence_reconciled_seconds",
        "When the last pass of the reconciliation was finished, Unix time; 0 before the first",
        value=0.0 if finished_at is None else finished_at.timestamp(),
    )
    yield GaugeMetricFamily(
        "evidence_reconciled_mended", "What it mended", value=0.0 if last is None else last.mended
    )
    standing = GaugeMetricFamily(
        "evidence_remains", "What stands and needs a person", labels=["kind"]
    )
    counts = remains.counts()
    for kind in Kind:
        standing.add_metric([kind.value], float(counts.get(kind, 0)))
    yield standing


@bp.get("/metrics")
@describe(
    "Prometheus metrics", answers={200: answer("text", TEXT, media="text/plain")}, public=True
)
def metrics() -> Response:
    registry = CollectorRegistry()
    if FOLDER in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # theirs
    else:
        registry.register(REQUESTS)
        registry.register(SECONDS)
        registry.register(REFUSED)
        registry.register(IN_FLIGHT)
    registry.register(HouseCollector(office()))
    return Response(generate_latest(registry), content_type="text/plain; version=0.0.4")
