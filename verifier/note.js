// C2SP signed notes, their keys and the checkpoint inside (notary/tlog/note.py, checkpoint.py).

import { concat, equal, fromB64, hex, sha256, utf8 } from "./bytes.js";
import { Broken, Malformed, Unverifiable } from "./errors.js";
import { ed25519Holds, mlDsa44Holds } from "./signatures.js";

export const ED25519 = 1;
export const ED25519_COSIGNATURE = 4;
export const MLDSA44_COSIGNATURE = 6;
const PUBLIC_KEY_BYTES = { 1: 32, 4: 32, 6: 1312 };
const SIGNATURE_BYTES = { 1: 64, 4: 72, 6: 2428 };
const MAX_NOTE_BYTES = 1 << 20;
const MAX_SIGNATURES = 100;
const MAX_SIZE = 2n ** 63n - 1n;
const TIMESTAMP_BYTES = 8;

const VKEY = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/;
const DECIMAL = /^(?:0|[1-9][0-9]{0,18})$/;
/* eslint-disable no-control-regex */
const CONTROL = /[\u0000-\u0009\u000b-\u001f]/;
const ANY_CONTROL = /[\u0000-\u001f]/;
// What Python's str.isspace takes for a space.
const SPACE = /[\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
/* eslint-enable no-control-regex */

function requireName(name) {
  if (!name || name.includes("+") || CONTROL.test(name) || SPACE.test(name)) {
    throw new Malformed(`key name '${name.slice(0, 100)}' is empty, or has spaces, controls or a +`);
  }
}

/** A vkey line: {name, keyId (hex), type, publicKey}. Throws Malformed. */
export function parseVkey(line) {
  const match = VKEY.exec(line);
  if (match === null) throw new Malformed(`not a vkey: '${line.slice(0, 100)}'`);
  const [, name, keyId, encoded] = match;
  const blob = fromB64(encoded);
  const [type, publicKey] = [blob[0], blob.subarray(1)];
  requireName(name);
  if (PUBLIC_KEY_BYTES[type] !== publicKey.length) {
    throw new Malformed(`not a vkey: type ${type} with ${publicKey.length} bytes`);
  }
  const derived = hex(sha256(concat(utf8(`${name}\n`), blob))).slice(0, 8);
  if (derived !== keyId) {
    throw new Malformed(`not a vkey: key id ${keyId}, but the key gives ${derived}`);
  }
  return { name, keyId, type, publicKey };
}

export function sameKey(a, b) {
  return a.name === b.name && a.type === b.type && equal(a.publicKey, b.publicKey);
}

/** {text, signatures}. Throws Malformed; nothing is verified. */
export function parseNote(signed) {
  if (utf8(signed).length > MAX_NOTE_BYTES) throw new Malformed("note of more than 1 MiB");
  const at = signed.lastIndexOf("\n\n");
  if (at < 0 || !signed.endsWith("\n") || at + 2 >= signed.length) {
    throw new Malformed("note has no empty line before whole signature lines");
  }
  const text = signed.slice(0, at + 1);
  const lines = signed.slice(at + 2, -1).split("\n");
  if (CONTROL.test(text)) throw new Malformed("note text has control characters");
  if (lines.length > MAX_SIGNATURES) throw new Malformed(`${lines.length} signatures`);
  return { text, signatures: lines.map(signatureLine) };
}

function signatureLine(line) {
  const [dash, name = "", ...rest] = line.split(" ");
  if (dash !== "—") {
    throw new Malformed(`signature line does not begin with an em dash: '${line.slice(0, 100)}'`);
  }
  const blob = fromB64(rest.join(" "));
  requireName(name);
  if (blob.length <= 4) throw new Malformed(`empty signature by '${name}'`);
  return { name, keyId: hex(blob.subarray(0, 4)), signature: blob.subarray(4) };
}

/** {origin, size (BigInt), root}. Throws Malformed. */
export function parseCheckpoint(text) {
  if (!text.endsWith("\n")) throw new Malformed("checkpoint does not end with a newline");
  const lines = text.slice(0, -1).split("\n");
  if (lines.length < 3) throw new Malformed(`checkpoint of ${lines.length} lines, at least 3`);
  if (!DECIMAL.test(lines[1]) || BigInt(lines[1]) > MAX_SIZE) {
    throw new Malformed(`not a decimal of 0 to 2^63 - 1: '${lines[1].slice(0, 100)}'`);
  }
  const root = fromB64(lines[2]);
  for (const line of [lines[0], ...lines.slice(3)]) {
    if (!line || ANY_CONTROL.test(line)) {
      throw new Malformed("a checkpoint line is empty or has controls");
    }
  }
  if (root.length !== 32) throw new Malformed(`root hash of ${root.length} bytes, not 32`);
  return { origin: lines[0], size: BigInt(lines[1]), root };
}

function signedMessage(key, text, time) {
  if (key.type === ED25519) return utf8(text);
  if (time[0] & 0x80) throw new Malformed("a cosignature time beyond 2^63 - 1");
  const checkpoint = parseCheckpoint(text);
  if (key.type === ED25519_COSIGNATURE) {
    const seconds = BigInt(`0x${hex(time)}`);
    return utf8(`cosignature/v1\ntime ${seconds}\n${text}`);
  }
  return concat(
    utf8("subtree/v1\n\0"), shortVector(key.name), time, shortVector(checkpoint.origin),
    new Uint8Array(8), bigEndian(checkpoint.size), checkpoint.root,
  );
}

function shortVector(text) {
  const data = utf8(text);
  if (data.length > 255) throw new Malformed(`a name of ${data.length} bytes, at most 255`);
  return concat([data.length], data);
}

function bigEndian(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, number);
  return bytes;
}

/** Throws Broken unless the line of `key` over `text` holds. */
function checkLine(key, text, signature) {
  let good = signature.length === SIGNATURE_BYTES[key.type];
  if (good) {
    const timed = key.type === ED25519 ? 0 : TIMESTAMP_BYTES;
    const value = signature.subarray(timed);
    const check = key.type === MLDSA44_COSIGNATURE ? mlDsa44Holds : ed25519Holds;
    try {
      good = check(value, signedMessage(key, text, signature.subarray(0, timed)), key.publicKey);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      good = false;
    }
  }
  if (!good) throw new Broken(`signature by '${key.name}', key id ${key.keyId}, does not verify`);
}

/** Which of `keys` signed the note, in its order, each once. Throws Broken where a line by one of
 *  them does not verify, Unverifiable where no line is by one, or two share name and key ID. */
export function openNote(note, keys) {
  const known = new Map();
  for (const key of keys) {
    const place = `${key.name}+${key.keyId}`;
    if (!sameKey(known.get(place) ?? key, key)) {
      throw new Unverifiable(`two keys are named '${key.name}' with key id ${key.keyId}`);
    }
    if (!known.has(place)) known.set(place, key);
  }
  const verified = new Set();
  for (const line of note.signatures) {
    const signer = known.get(`${line.name}+${line.keyId}`);
    if (signer === undefined) continue;
    checkLine(signer, note.text, line.signature);
    verified.add(signer);
  }
  if (!verified.size) {
    const names = note.signatures.slice(0, 16).map((line) => `'${line.name}' ${line.keyId}`);
    throw new Unverifiable(`no signature by a known key, only by ${names.join(", ")}`);
  }
  return [...verified];
}

/** {text, checkpoint, signatures} of a log's own checkpoint: no other key makes one of it. */
export function openCheckpoint(signed, keys) {
  const note = parseNote(signed);
  const checkpoint = parseCheckpoint(note.text);
  const types = [ED25519, MLDSA44_COSIGNATURE];
  const own = keys.filter((key) => key.name === checkpoint.origin && types.includes(key.type));
  return { text: note.text, checkpoint, signatures: openNote(note, own).length };
}
