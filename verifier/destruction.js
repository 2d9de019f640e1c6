// `destruction.json`, read exactly: that a deposit was disposed of, by whom, and what became of it
// (certs/destruction.py).

import { Unreadable, UnsupportedFormat } from "./errors.js";
import { parseCanonical } from "./json.js";
import { Node, readSignature, withoutSignature } from "./reading.js";

const MAX_BYTES = 1024 * 1024;
const TYPE = "evidence-destruction/v1";
const FAMILY = "evidence-destruction/";
const OBJECT_STATES = ["removed", "waiting", "never_stored"];
const MEMBERS = [
  "type", "disposal", "deposit", "issuer", "reason", "basis", "requested", "approved", "destroyed",
  "entry", "issued_at", "signature",
];
const ENTRY = [
  "record", "disclosures", "statement", "index", "size", "inclusion_proof", "checkpoint",
];

/** Throws Unreadable, or UnsupportedFormat for another version. */
export function parseDestruction(data) {
  if (data.length > MAX_BYTES) {
    throw new Unreadable(`it has ${data.length} bytes, the limit is ${MAX_BYTES}`);
  }
  const said = new Node(parseCanonical(data), "destruction").members(MEMBERS);
  const type = said.type.text();
  if (type !== TYPE) {
    const Kind = type.startsWith(FAMILY) ? UnsupportedFormat : Unreadable;
    throw new Kind(`type is '${type}', this reads ${TYPE}`);
  }
  const deposit = said.deposit.members(["id", "index"]);
  const issuer = said.issuer.members(["name", "origin", "software"]);
  return {
    disposalId: said.disposal.text(),
    depositId: deposit.id.text(),
    depositIndex: deposit.index.integer(0),
    issuer: { name: issuer.name.text(), origin: issuer.origin.text(), software: issuer.software.text() },
    reason: said.reason.text(),
    basis: said.basis.text(),
    requested: act(said.requested),
    approved: act(said.approved),
    destroyed: destroyed(said.destroyed),
    entry: entry(said.entry),
    issuedAt: said.issued_at.time(),
    signature: readSignature(said.signature),
    signedBytes: withoutSignature(TYPE, data, said.signature.value),
  };
}

function act(node) {
  const said = node.members(["by", "at"]);
  return { by: said.by.text(), at: said.at.time() };
}

function destroyed(node) {
  const said = node.members(["details_at", "key_at", "object", "object_at"]);
  return {
    detailsAt: said.details_at.time(),
    keyAt: timeOrNull(said.key_at),
    object: said.object.oneOf(OBJECT_STATES),
    objectAt: timeOrNull(said.object_at),
  };
}

function timeOrNull(node) {
  return node.value === null ? null : node.time();
}

function entry(node) {
  const said = node.members(ENTRY);
  return {
    record: said.record.text(),
    disclosures: said.disclosures.each(16, (each) => each.text()),
    statement: said.statement.base64(),
    index: said.index.integer(0),
    size: said.size.integer(1),
    inclusionProof: said.inclusion_proof.each(64, (each) => each.base64(32)),
    checkpoint: said.checkpoint.text(),
  };
}
