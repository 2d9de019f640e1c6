// The signed statement: a COSE_Sign1 in deterministic CBOR, of which one form alone is taken:
//   18([ << {1: -8, 4: kid, 15: {1: iss, 2: sub}, 258: -16, 259: type} >>, {}, payload, signature ])

import { concat, fromHex, fromUtf8, hex, startsWith, utf8 } from "./bytes.js";
import { Broken, Malformed } from "./errors.js";
import { ed25519Holds } from "./signatures.js";

export const EVIDENCE_TYPE = "application/evidence-record+json";
export const CUSTODY_TYPE = "application/custody-event+json";
const BYTES = 2;
const TEXT = 3;

class Reader {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  /** That exactly these bytes, in hex, come next. */
  expect(spelled, what) {
    const wanted = fromHex(spelled);
    if (!startsWith(this.data.subarray(this.at), wanted)) throw wrong(what);
    this.at += wanted.length;
  }

  /** A byte or text string whose length is in its shortest form (RFC 8949 section 4.2.1). */
  string(major) {
    const first = this.data[this.at];
    if (first === undefined || first >> 5 !== major) throw wrong("a member has the wrong type");
    const more = { 24: 1, 25: 2, 26: 4 }[first & 31] ?? 0;
    if ((first & 31) > 26 || this.at + 1 + more > this.data.length) throw wrong("a length");
    let length = first & 31;
    if (more) {
      length = this.data.subarray(this.at + 1, this.at + 1 + more).reduce((n, b) => n * 256 + b, 0);
      if (length < (more === 1 ? 24 : 2 ** (4 * more))) throw wrong("a length not the shortest");
    }
    const start = this.at + 1 + more;
    if (start + length > this.data.length) throw wrong("it ends early");
    this.at = start + length;
    return this.data.subarray(start, this.at);
  }

  text() {
    try {
      return fromUtf8(this.string(TEXT));
    } catch (error) {
      if (error instanceof TypeError) throw wrong("a text is not UTF-8");
      throw error;
    }
  }

  end() {
    if (this.at !== this.data.length) throw wrong("bytes follow");
  }
}

function wrong(what) {
  return new Malformed(`statement cannot be read: ${what}`);
}

/** Throws Malformed for anything but the deterministic form. */
export function parseStatement(data) {
  const outer = new Reader(data);
  outer.expect("d284", "not a tagged COSE_Sign1");
  const protectedHeader = outer.string(BYTES);
  outer.expect("a05820", "not a statement over 32 bytes");
  const payload = outer.data.subarray(outer.at, (outer.at += 32));
  outer.expect("5840", "not 64 bytes of signature");
  const signature = outer.data.subarray(outer.at, (outer.at += 64));
  outer.end();
  if (signature.length !== 64) throw wrong("it ends early");
  const header = new Reader(protectedHeader);
  header.expect("a5012704", "header");
  const kid = header.string(BYTES);
  header.expect("0fa201", "CWT claims");
  const issuer = header.text();
  header.expect("02", "CWT claims");
  const subject = header.text();
  header.expect("1901022f190103", "hash envelope");
  const preimageType = header.text();
  header.end();
  return { protectedHeader, payload, signature, kid, issuer, subject, preimageType };
}

/** Throws Broken unless the raw Ed25519 key signed it (Sig_structure of RFC 9052 section 4.4). */
export function checkStatement(statement, publicKey) {
  const { protectedHeader } = statement;
  const signed = concat(
    fromHex("846a"), utf8("Signature1"), bytesHead(protectedHeader.length), protectedHeader,
    fromHex("405820"), statement.payload,
  );
  if (!ed25519Holds(statement.signature, signed, publicKey)) {
    throw new Broken(`statement is not signed by key ${hex(statement.kid).slice(0, 16)}…`);
  }
}

function bytesHead(length) {
  if (length < 24) return Uint8Array.of(0x40 + length);
  if (length < 256) return Uint8Array.of(0x58, length);
  if (length < 65536) return Uint8Array.of(0x59, length >> 8, length & 255);
  return Uint8Array.of(0x5a, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255);
}
