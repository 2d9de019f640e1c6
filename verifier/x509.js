// X.509 certificates (RFC 5280), as far as a time-stamping authority's chain needs them. What is
// read only when it is asked for may be unreadable then: `UnreadablePart`.

import { exists } from "./certificate.js";
import {
  BIT_STRING, GENERALIZED_TIME, INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE, SET, UTC_TIME,
  context, wholeBits,
} from "./der.js";
import { Broken, Malformed, Unverifiable } from "./errors.js";
import { isPoint } from "./signatures.js";

export const BASIC_CONSTRAINTS = "2.5.29.19";
export const KEY_USAGE = "2.5.29.15";
export const EXTENDED_KEY_USAGE = "2.5.29.37";
const SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
const CERTIFICATE_POLICIES = "2.5.29.32";
export const UNDERSTOOD = [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, CERTIFICATE_POLICIES];
const COMMON_NAME = "2.5.4.3";
const STRONG_CURVES = {
  "1.2.840.10045.3.1.7": "secp256r1", "1.3.132.0.34": "secp384r1", "1.3.132.0.35": "secp521r1",
};
const WEAK_CURVES = [
  "1.2.840.10045.3.1.1", "1.3.132.0.33", "1.3.132.0.10", "1.3.132.0.1", "1.3.132.0.15",
  "1.3.36.3.3.2.8.1.1.7", "1.3.36.3.3.2.8.1.1.11", "1.3.36.3.3.2.8.1.1.13",
];

/** Throws Malformed for bytes that are no X.509 certificate. */
export function readCertificate(der) {
  const outer = Reader.inside(der, SEQUENCE, "X.509 certificate");
  const signed = outer.takeEncoded(SEQUENCE);
  const signatureAlgorithm = outer.takeEncoded(SEQUENCE);
  const signature = wholeBits(outer);
  outer.end();
  const tbs = Reader.inside(signed, SEQUENCE, "TBSCertificate");
  const version = tbs.takeIf(context(0));
  if (version !== null && !(version.length === 3 && version[0] === INTEGER && version[2] <= 2)) {
    throw tbs.malformed("a version not known");
  }
  const serial = tbs.integer();
  const innerAlgorithm = tbs.takeEncoded(SEQUENCE);
  const issuer = tbs.takeEncoded(SEQUENCE);
  const validity = tbs.enter(SEQUENCE, "Validity");
  const [notBefore, notAfter] = [time(validity), time(validity)];
  validity.end();
  const subject = tbs.takeEncoded(SEQUENCE);
  const publicKey = tbs.takeEncoded(SEQUENCE);
  tbs.takeIf(0x81);
  tbs.takeIf(0x82);
  const extensions = tbs.takeIf(context(3));
  tbs.end();
  return {
    der, signed, signatureAlgorithm, innerAlgorithm, signature, serial, issuer, subject, notBefore,
    notAfter, publicKey, extensions, called: called(subject),
  };
}

/** `YYYY-MM-DDThh:mm:ss.000000Z` of a UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5). */
function time(reader) {
  const short = reader.nextTag() === UTC_TIME;
  const text = String.fromCharCode(...reader.take(short ? UTC_TIME : GENERALIZED_TIME));
  const match = /^(\d{2,4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text);
  if (match === null || text.length !== (short ? 13 : 15)) throw reader.malformed("a time");
  const [, digits, ...rest] = match;
  const year = short ? (Number(digits) >= 50 ? "19" : "20") + digits : digits;
  if (!exists(Number(year), ...rest.map(Number))) throw reader.malformed("a time");
  return `${year}-${rest[0]}-${rest[1]}T${rest[2]}:${rest[3]}:${rest[4]}.000000Z`;
}

/** Its common name, or the last of its names, for a message. Throws Malformed for no Name. */
function called(name) {
  const reader = Reader.inside(name, SEQUENCE, "Name");
  let found = "";
  let common = null;
  while (reader.nextTag() !== null) {
    const set = reader.enter(SET, "RelativeDistinguishedName");
    while (set.nextTag() !== null) {
      const pair = set.enter(SEQUENCE, "AttributeTypeAndValue");
      const kind = pair.oid();
      const value = new Reader(pair.takeAny(), "AttributeValue");
      pair.end();
      const bytes = value.take(value.nextTag());
      found = new TextDecoder().decode(bytes);
      if (kind === COMMON_NAME) common = found;
    }
  }
  return `'${common ?? found}'`;
}

/** A Map of OID to {critical, value}. Throws UnreadablePart, also where one is there twice. */
export function readExtensions(certificate) {
  return readable(() => {
    const found = new Map();
    if (certificate.extensions === null) return found;
    const list = Reader.inside(certificate.extensions, SEQUENCE, "Extensions");
    while (list.nextTag() !== null) {
      const extension = list.enter(SEQUENCE, "Extension");
      const oid = extension.oid();
      const critical = extension.booleanIf();
      const value = extension.take(OCTET_STRING);
      extension.end();
      if (found.has(oid)) throw list.malformed(`extension ${oid} is there twice`);
      found.set(oid, { critical, value: (PARSED[oid] ?? ((raw) => raw))(value) });
    }
    return found;
  });
}

/** Part of a certificate that cannot be read, met where it is asked for. */
export class UnreadablePart extends Error {}

function readable(read) {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new UnreadablePart(error.message);
  }
}

const PARSED = {
  [BASIC_CONSTRAINTS](raw) {
    const reader = Reader.inside(raw, SEQUENCE, "BasicConstraints");
    const ca = reader.booleanIf();
    const pathLength = reader.integerIf();
    reader.end();
    return { ca, pathLength };
  },
  [KEY_USAGE](raw) {
    const reader = new Reader(raw, "KeyUsage");
    const [, first = 0, second = 0] = reader.take(BIT_STRING);
    reader.end();
    return { bits: (first << 8) | second };
  },
  [EXTENDED_KEY_USAGE](raw) {
    const reader = Reader.inside(raw, SEQUENCE, "ExtKeyUsageSyntax");
    const purposes = [];
    while (reader.nextTag() !== null) purposes.push(reader.oid());
    return purposes;
  },
  [SUBJECT_KEY_IDENTIFIER](raw) {
    const reader = new Reader(raw, "SubjectKeyIdentifier");
    const identifier = reader.take(OCTET_STRING);
    reader.end();
    return identifier;
  },
};

/** The bits of a key usage, by RFC 5280 section 4.2.1.3's names. */
export const USAGES = {
  digitalSignature: 0x8000, contentCommitment: 0x4000, keyEncipherment: 0x2000,
  dataEncipherment: 0x1000, keyAgreement: 0x0800, keyCertSign: 0x0400, crlSign: 0x0200,
};

/** {kind: "rsa" | "ecdsa" | "ed25519", …}. Throws Broken for a weak key, Unverifiable for kinds
 *  not known here, a key that cannot be read among them. */
export function strongKey(certificate) {
  try {
    return readKey(certificate.publicKey);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new Unverifiable(`public key of a kind not known here: ${error.message}`);
  }
}

function readKey(encoded) {
  const info = Reader.inside(encoded, SEQUENCE, "SubjectPublicKeyInfo");
  const algorithm = info.enter(SEQUENCE, "AlgorithmIdentifier");
  const bits = wholeBits(info);
  info.end();
  const oid = algorithm.oid();
  if (oid === "1.2.840.113549.1.1.1") {
    algorithm.takeIf(NULL);
    algorithm.end();
    return rsaKey(bits);
  }
  if (oid === "1.2.840.10045.2.1" && algorithm.nextTag() === OID) return curveKey(algorithm.oid(), bits);
  if (oid === "1.3.101.112" && bits.length === 32) return { kind: "ed25519", point: bits };
  throw new Unverifiable(`public key of a kind not known here: ${oid}`);
}

function rsaKey(bits) {
  const numbers = Reader.inside(bits, SEQUENCE, "RSAPublicKey");
  const [modulus, exponent] = [numbers.integer(), numbers.integer()];
  numbers.end();
  if (modulus <= 0n || exponent < 3n || !(exponent & 1n) || exponent >= modulus) {
    throw numbers.malformed("numbers of no RSA key");
  }
  const size = modulus.toString(2).length;
  if (size < 2048 || size > 8192) {
    throw new Broken(`RSA key of ${size} bits, accepted are 2048 to 8192`);
  }
  return { kind: "rsa", modulus, exponent };
}

function curveKey(oid, point) {
  if (WEAK_CURVES.includes(oid)) throw new Broken(`curve ${oid} is too weak`);
  const curve = STRONG_CURVES[oid];
  if (curve === undefined || !isPoint(curve, point)) {
    throw new Unverifiable(`public key of a kind not known here: ${oid}`);
  }
  return { kind: "ecdsa", curve, point };
}

/** {r, s} of an ECDSA-Sig-Value in DER; null for anything else. */
export function readEcdsa(signature) {
  try {
    const pair = Reader.inside(signature, SEQUENCE, "ECDSA-Sig-Value");
    const [r, s] = [pair.integer(), pair.integer()];
    pair.end();
    return r > 0n && s > 0n ? { r, s } : null;
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}
