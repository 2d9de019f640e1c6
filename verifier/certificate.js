// `certificate.json`, read exactly: every member named, none left over (certs/certificate.py).

import { concat, equal, fromHex, hex, sha256, utf8 } from "./bytes.js";
import { Unreadable, UnsupportedFormat } from "./errors.js";
import { parseCanonical } from "./json.js";
import { NOT_EMPTY, Node, readSignature, withoutSignature } from "./reading.js";

export const MAX_BYTES = 8 * 1024 * 1024;
const TYPE = "evidence-certificate/v1";
const FAMILY = "evidence-certificate/";
const MEMBERS = [
  "type", "certificate_id", "version", "issuer", "issued_for", "record", "disclosures",
  "statement", "log", "timestamps", "times", "keys", "signature",
];
const MAYBE = ["withheld", "evidence_records"];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const B64URL = /^[A-Za-z0-9_-]+$/;
// COSE_Key {1: 1 (OKP), -1: 6 (Ed25519), -2: x} in deterministic CBOR, as far as x's 32 bytes.
const COSE_OKP_ED25519 = fromHex("a301012006215820");

/** RFC 9679 COSE key thumbprint of a raw Ed25519 public key: its kid. */
export function thumbprint(publicKey) {
  return sha256(concat(COSE_OKP_ED25519, publicKey));
}

/** Throws Unreadable, or UnsupportedFormat for another version. */
export function parseCertificate(data) {
  if (data.length > MAX_BYTES) {
    throw new Unreadable(`certificate has ${data.length} bytes, the limit is ${MAX_BYTES}`);
  }
  const top = new Node(parseCanonical(data), "certificate");
  const type = top.member("type").text();
  if (type !== TYPE && type.startsWith(FAMILY)) {
    throw new UnsupportedFormat(`certificate is of type '${type}', known is '${TYPE}'`);
  }
  const part = top.members(MEMBERS, MAYBE);
  part.type.oneOf([TYPE]);
  return {
    certificateId: part.certificate_id.text(UUID),
    version: part.version.integer(1),
    issuer: texts(part.issuer, ["name", "origin", "software"]),
    issuedFor: part.issued_for.text(NOT_EMPTY),
    record: part.record.text(NOT_EMPTY),
    disclosures: part.disclosures.each(64, (item) => item.text(B64URL)),
    statement: part.statement.base64(),
    log: logEntry(part.log),
    timestamps: part.timestamps.each(64, timestamp),
    times: times(part.times),
    keys: keys(part.keys),
    withheld: some(part.withheld, withheldSection),
    evidenceRecords: some(part.evidence_records, evidenceRecord),
    signature: readSignature(part.signature),
    signedBytes: withoutSignature(TYPE, data, part.signature.value),
  };
}

function texts(node, names) {
  const part = node.members(names);
  return Object.fromEntries(names.map((name) => [name, part[name].text(NOT_EMPTY)]));
}

function logEntry(node) {
  const part = node.members(
    ["origin", "index", "size", "inclusion_proof", "checkpoint"], ["witness_policy"],
  );
  const entry = {
    origin: part.origin.text(NOT_EMPTY),
    index: part.index.integer(0),
    size: part.size.integer(1),
    inclusionProof: part.inclusion_proof.each(64, (item) => item.base64(32)),
    checkpoint: part.checkpoint.text(NOT_EMPTY),
    witnessPolicy: part.witness_policy === undefined ? null : part.witness_policy.text(NOT_EMPTY),
  };
  if (entry.index >= entry.size) {
    throw new Unreadable(`log index ${entry.index} is not below size ${entry.size}`);
  }
  return entry;
}

function timestamp(node) {
  const part = node.members(
    ["covers", "authority", "self_operated", "response", "chain"], ["revocation"],
  );
  return {
    covers: part.covers.oneOf(["checkpoint", "original"]),
    authority: part.authority.text(NOT_EMPTY),
    selfOperated: part.self_operated.boolean(),
    response: part.response.base64(),
    chain: part.chain.each(16, (item) => item.base64()),
    revocation: part.revocation === undefined ? null : revocation(part.revocation),
  };
}

function revocation(node) {
  const part = node.members(["crls", "ocsp_responses"]);
  return {
    crls: part.crls.each(16, (item) => item.base64()),
    responses: part.ocsp_responses.each(16, (item) => item.base64()),
  };
}

function withheldSection(node) {
  const part = node.members(["section", "digest"]);
  return { section: part.section.text(NOT_EMPTY), digest: part.digest.base64url(32) };
}

function evidenceRecord(node) {
  const part = node.members(["authority", "self_operated", "record", "certificates"]);
  return {
    authority: part.authority.text(NOT_EMPTY),
    selfOperated: part.self_operated.boolean(),
    record: part.record.base64(),
    certificates: part.certificates.each(64, (item) => item.base64()),
  };
}

/** None where the member is absent; else at least one, so that a certificate has one form. */
function some(node, read) {
  if (node === undefined) return [];
  const found = node.each(64, read);
  if (!found.length) throw new Unreadable(`${node.where} is empty`);
  return found;
}

function times(node) {
  const part = node.members(
    ["received_at", "registered_at", "timestamped_at", "issued_at"], ["timestamp_quorum"],
  );
  return {
    receivedAt: part.received_at.time(),
    registeredAt: part.registered_at.time(),
    timestampedAt: part.timestamped_at.value === null ? null : part.timestamped_at.time(),
    issuedAt: part.issued_at.time(),
    timestampQuorum: part.timestamp_quorum === undefined ? null : part.timestamp_quorum.integer(2),
  };
}

function keys(node) {
  const part = node.members(["log", "statement", "certificate"]);
  return {
    log: part.log.each(64, (item) => item.text(NOT_EMPTY)),
    statement: part.statement.each(64, key),
    certificate: part.certificate.each(64, key),
  };
}

function key(node) {
  const part = node.members(["kid", "alg", "public_key"]);
  part.alg.oneOf(["EdDSA"]);
  const found = { kid: part.kid.base64url(32), publicKey: part.public_key.base64(32) };
  if (!equal(thumbprint(found.publicKey), found.kid)) {
    throw new Unreadable(`${node.where}: kid ${hex(found.kid)} is not the thumbprint of its key`);
  }
  return found;
}
