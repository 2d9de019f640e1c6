// `certificate.json`, read exactly: every member named, none left over (certs/certificate.py).

import { concat, equal, fromB64, fromB64url, fromHex, fromUtf8, hex, sha256, utf8 } from "./bytes.js";
import { Malformed, Unreadable, UnsupportedFormat } from "./errors.js";
import { canonicalText, parseCanonical } from "./json.js";

export const MAX_BYTES = 8 * 1024 * 1024;
const TYPE = "evidence-certificate/v1";
const FAMILY = "evidence-certificate/";
const MEMBERS = [
  "type", "certificate_id", "version", "issuer", "issued_for", "record", "disclosures",
  "statement", "log", "timestamps", "times", "keys", "signature",
];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NOT_EMPTY = /^[^]+$/;
const B64URL = /^[A-Za-z0-9_-]+$/;
const TIME = /^([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.[0-9]{6}Z$/;
// COSE_Key {1: 1 (OKP), -1: 6 (Ed25519), -2: x} in deterministic CBOR, as far as x's 32 bytes.
const COSE_OKP_ED25519 = fromHex("a301012006215820");

/** RFC 9679 COSE key thumbprint of a raw Ed25519 public key: its kid. */
export function thumbprint(publicKey) {
  return sha256(concat(COSE_OKP_ED25519, publicKey));
}

/** Whether a moment of these numbers is in the calendar. */
export function exists(year, month, day, hour, minute, second) {
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  return (
    year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] &&
    hour <= 23 && minute <= 59 && second <= 59
  );
}

/** One JSON value and where it is. Every method throws Unreadable. */
class Node {
  constructor(value, where) {
    this.value = value;
    this.where = where;
  }

  wrong(expected) {
    return new Unreadable(`${this.where} is not ${expected}`);
  }

  object() {
    if (!(this.value instanceof Map)) throw this.wrong("an object");
    return this.value;
  }

  member(name) {
    const found = this.object();
    if (!found.has(name)) throw new Unreadable(`${this.where} has no member '${name}'`);
    return new Node(found.get(name), `${this.where}.${name}`);
  }

  members(names, maybe = []) {
    const found = this.object();
    const wanted = [...names, ...maybe.filter((name) => found.has(name))];
    if (found.size !== wanted.length || wanted.some((name) => !found.has(name))) {
      throw new Unreadable(`${this.where} has the wrong members`);
    }
    return Object.fromEntries(wanted.map((name) => [name, this.member(name)]));
  }

  each(most, read) {
    if (!Array.isArray(this.value)) throw this.wrong("an array");
    if (this.value.length > most) throw this.wrong(`at most ${most} items`);
    return this.value.map((item, at) => read(new Node(item, `${this.where}[${at}]`)));
  }

  text(pattern = null) {
    if (typeof this.value !== "string") throw this.wrong("a string");
    if (pattern !== null && !pattern.test(this.value)) throw this.wrong(`a string like ${pattern}`);
    return this.value;
  }

  oneOf(words) {
    const text = this.text();
    if (!words.includes(text)) throw this.wrong(words.join(" or "));
    return text;
  }

  boolean() {
    if (typeof this.value !== "boolean") throw this.wrong("true or false");
    return this.value;
  }

  integer(least) {
    if (typeof this.value !== "number" || this.value < least) {
      throw this.wrong(`an integer of at least ${least}`);
    }
    return this.value;
  }

  /** RFC 3339 in UTC with six digits: sorts as a text the way it does as a time. */
  time() {
    const text = this.text(TIME);
    if (!exists(...TIME.exec(text).slice(1).map(Number))) throw this.wrong("a time that exists");
    return text;
  }

  bytes(decode, exactly) {
    let raw;
    try {
      raw = decode(this.text());
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      throw this.wrong("base64 in its one spelling");
    }
    if (raw.length === 0) throw this.wrong("base64 of at least one byte");
    if (exactly !== undefined && raw.length !== exactly) {
      throw this.wrong(`base64 of ${exactly} bytes`);
    }
    return raw;
  }

  base64(exactly) {
    return this.bytes(fromB64, exactly);
  }

  base64url(exactly) {
    return this.bytes(fromB64url, exactly);
  }
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
  const part = top.members(MEMBERS);
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
    signature: signature(part.signature),
    signedBytes: signedBytes(data, part.signature.value),
  };
}

/** What the issuer signed: the type, a line feed, the file without its member `signature`. */
function signedBytes(data, member) {
  const text = fromUtf8(data);
  const spelled = `"signature":${canonicalText(member)},`;
  const at = text.indexOf(spelled);
  return utf8(`${TYPE}\n${text.slice(0, at)}${text.slice(at + spelled.length)}`);
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
  const part = node.members(["covers", "authority", "self_operated", "response", "chain"]);
  return {
    covers: part.covers.oneOf(["checkpoint", "original"]),
    authority: part.authority.text(NOT_EMPTY),
    selfOperated: part.self_operated.boolean(),
    response: part.response.base64(),
    chain: part.chain.each(16, (item) => item.base64()),
  };
}

function times(node) {
  const part = node.members(["received_at", "registered_at", "timestamped_at", "issued_at"]);
  return {
    receivedAt: part.received_at.time(),
    registeredAt: part.registered_at.time(),
    timestampedAt: part.timestamped_at.value === null ? null : part.timestamped_at.time(),
    issuedAt: part.issued_at.time(),
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

function signature(node) {
  const part = node.members(["alg", "kid", "value"]);
  part.alg.oneOf(["EdDSA"]);
  return { kid: part.kid.base64url(32), value: part.value.base64(64) };
}
