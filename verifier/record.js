// The salted record and the sections that it commits to (notary/record.py).

import { b64url, fromB64url, sha256, utf8 } from "./bytes.js";
import { Broken, Malformed, Unreadable } from "./errors.js";
import { parseCanonical, parseJson } from "./json.js";

export const EVIDENCE = "evidence-record/v1";
export const CUSTODY = "custody-event/v1";
const MEMBERS = ["_sd", "_sd_alg", "id", "received_at", "type"];

/** Throws Malformed when it is not exactly canonical or lacks the members of its type. */
export function parseRecord(text) {
  let value;
  try {
    value = parseCanonical(utf8(text));
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    throw new Malformed("record is not canonical JSON (RFC 8785)");
  }
  const good =
    value instanceof Map && value.size === MEMBERS.length &&
    MEMBERS.every((name) => value.has(name)) &&
    value.get("_sd_alg") === "sha-256" &&
    [EVIDENCE, CUSTODY].includes(value.get("type")) &&
    typeof value.get("id") === "string" && typeof value.get("received_at") === "string" &&
    Array.isArray(value.get("_sd")) && ascends(value.get("_sd"));
  if (!good) throw new Malformed("record lacks the members of its type");
  return value;
}

/** That all are texts, each behind the one before by code points, none twice. */
function ascends(texts) {
  return texts.every((text, at) =>
    typeof text === "string" && (at === 0 || comparePoints(texts[at - 1], text) < 0));
}

function comparePoints(a, b) {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let at = 0; at < Math.min(left.length, right.length); at += 1) {
    const difference = left[at].codePointAt(0) - right[at].codePointAt(0);
    if (difference) return difference;
  }
  return left.length - right.length;
}

/** The disclosed sections (a Map), each proved to be one of the record's. Throws Malformed, Broken. */
export function disclosed(record, disclosures) {
  const committed = new Set(record.get("_sd"));
  const sections = new Map();
  for (const disclosure of disclosures) {
    const [name, value] = parseDisclosure(disclosure);
    const digest = b64url(sha256(utf8(disclosure)));
    if (!committed.has(digest)) {
      throw new Broken(`section '${name}' has digest ${digest}, which the record does not list`);
    }
    if (sections.has(name)) throw new Broken(`section '${name}' is disclosed twice`);
    sections.set(name, value);
  }
  return sections;
}

function parseDisclosure(disclosure) {
  let triple;
  try {
    triple = parseJson(fromB64url(disclosure));
  } catch (error) {
    if (!(error instanceof Unreadable || error instanceof Malformed)) throw error;
    throw new Malformed(`disclosure '${disclosure.slice(0, 24)}' cannot be read`);
  }
  const good =
    Array.isArray(triple) && triple.length === 3 &&
    typeof triple[0] === "string" && typeof triple[1] === "string";
  if (!good) throw new Malformed("disclosure is not [salt, name, value]");
  return [triple[1], triple[2]];
}
