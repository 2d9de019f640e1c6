// X.509 certificates (RFC 5280), as far as a time-stamping authority's chain needs them. What is
// read only when it is asked for may be unreadable then: `UnreadablePart`.

import { exists } from "./reading.js";
import {
  BIT_STRING, GENERALIZED_TIME, INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE, SET, UTC_TIME,
  context, wholeBits,
} from "./der.js";
import { equal, hex } from "./bytes.js";
import { Broken, Malformed, Unverifiable } from "./errors.js";
import { isPoint } from "./signatures.js";

export const BASIC_CONSTRAINTS = "2.5.29.19";
export const KEY_USAGE = "2.5.29.15";
export const EXTENDED_KEY_USAGE = "2.5.29.37";
export const CRL_DISTRIBUTION_POINTS = "2.5.29.31";
const SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
const CERTIFICATE_POLICIES = "2.5.29.32";
export const UNDERSTOOD = [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, CERTIFICATE_POLICIES];
const [UNIVERSAL_STRING, BMP_STRING] = [0x1c, 0x1e];
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
  const [notBefore, notAfter] = [readTime(validity), readTime(validity)];
  validity.end();
  const subject = tbs.takeEncoded(SEQUENCE);
  const publicKey = tbs.takeEncoded(SEQUENCE);
  tbs.takeIf(0x81);
  tbs.takeIf(0x82);
  const extensions = tbs.takeIf(context(3));
  tbs.end();
  // Readable at least in its parts, as the command wants them, whether they are used or not.
  listExtensions(extensions);
  const info = Reader.inside(publicKey, SEQUENCE, "SubjectPublicKeyInfo");
  for (const algorithm of [signatureAlgorithm, innerAlgorithm, info.takeEncoded(SEQUENCE)]) {
    const reader = Reader.inside(algorithm, SEQUENCE, "AlgorithmIdentifier");
    reader.oid();
    if (reader.nextTag() !== null) reader.takeAny();
    reader.end();
  }
  info.take(BIT_STRING);
  info.end();
  return {
    der, signed, signatureAlgorithm, innerAlgorithm, signature, serial, issuer, subject, notBefore,
    notAfter, publicKey, extensions, called: called(subject),
  };
}

/** `YYYY-MM-DDThh:mm:ss.000000Z` of a UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5). */
export function readTime(reader, tag = reader.nextTag()) {
  const short = tag === UTC_TIME;
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
    const found = readExtensionList(certificate.extensions);
    for (const [oid, { critical, value }] of found) {
      if (PARSED[oid] !== undefined) found.set(oid, { critical, value: PARSED[oid](value) });
    }
    return found;
  });
}

/** The same of the DER of Extensions, or null, no value parsed. Throws Malformed. */
export function readExtensionList(encoded) {
  const found = new Map();
  for (const { oid, critical, value } of listExtensions(encoded)) {
    if (found.has(oid)) throw new Malformed(`extension ${oid} is there twice`);
    found.set(oid, { critical, value });
  }
  return found;
}

function listExtensions(encoded) {
  const found = [];
  if (encoded === null) return found;
  const list = Reader.inside(encoded, SEQUENCE, "Extensions");
  while (list.nextTag() !== null) {
    const extension = list.enter(SEQUENCE, "Extension");
    const [oid, critical] = [extension.oid(), extension.trueIf()];
    found.push({ oid, critical, value: extension.take(OCTET_STRING) });
    extension.end();
  }
  return found;
}

/** Part of a certificate that cannot be read, met where it is asked for. */
export class UnreadablePart extends Error {}

/** The GeneralNames, each as DER, of a DistributionPointName; null for one that is relative. */
export function readDistributionPointName(contents) {
  const place = new Reader(contents, "DistributionPointName");
  const full = place.takeIf(context(0));
  if (full === null) place.take(context(1));
  place.end();
  if (full === null) return null;
  const reader = new Reader(full, "GeneralNames");
  const names = [];
  while (reader.nextTag() !== null) names.push(reader.takeAny());
  return names;
}

export function equalGeneralNames(one, other) {
  if (equal(one, other)) return true;
  const [left, right] = [one, other].map((name) => (name[0] === context(4) ? name : null));
  if (left === null || right === null) return false;
  return equalNames(...[left, right].map((name) => new Reader(name, "GeneralName").take(context(4))));
}

/** Whether two Names (DER) say the same, in whatever kinds of strings. */
export function equalNames(one, other) {
  return equal(one, other) || spelled(one) === spelled(other);
}

function spelled(name) {
  const reader = Reader.inside(name, SEQUENCE, "Name");
  const levels = [];
  while (reader.nextTag() !== null) {
    const set = reader.enter(SET, "RelativeDistinguishedName");
    const level = new Set();
    while (set.nextTag() !== null) {
      const pair = set.enter(SEQUENCE, "AttributeTypeAndValue");
      level.add(`${pair.oid()}=${spelledValue(pair.takeAny())}`);
      pair.end();
    }
    levels.push([...level].sort());
  }
  return JSON.stringify(levels);
}

function spelledValue(encoded) {
  const reader = new Reader(encoded, "AttributeValue");
  const tag = reader.nextTag();
  const bytes = reader.take(tag);
  if (tag === BIT_STRING) return `#${hex(bytes)}`;
  if (tag === BMP_STRING) return `"${new TextDecoder("utf-16be").decode(bytes)}`;
  if (tag !== UNIVERSAL_STRING) return `"${new TextDecoder().decode(bytes)}`;
  const points = (hex(bytes).match(/.{8}/g) ?? []).map((each) => Math.min(parseInt(each, 16), 0x10ffff));
  return `"${String.fromCodePoint(...points)}`;
}

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
    const ca = reader.trueIf();
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
  [CRL_DISTRIBUTION_POINTS](raw) {
    const points = Reader.inside(raw, SEQUENCE, "CRLDistributionPoints");
    const names = [];
    while (points.nextTag() !== null) {
      const point = points.enter(SEQUENCE, "DistributionPoint");
      const place = point.takeIf(context(0));
      point.takeIf(0x81);
      point.takeIf(context(2));
      point.end();
      if (place !== null) names.push(...(readDistributionPointName(place) ?? []));
    }
    return names;
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
  const key = anyKey(certificate);
  const size = key.kind === "rsa" ? key.modulus.toString(2).length : 2048;
  if (size < 2048 || size > 8192) {
    throw new Broken(`RSA key of ${size} bits, accepted are 2048 to 8192`);
  }
  return key;
}

/** The same of an RSA key of any size. */
export function anyKey(certificate) {
  try {
    return readKey(certificate.publicKey);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new Unverifiable(`public key of a kind not known here: ${error.message}`);
  }
}

/** The BIT STRING of its public key, without the count of unused bits. */
export function keyBits(certificate) {
  const info = Reader.inside(certificate.publicKey, SEQUENCE, "SubjectPublicKeyInfo");
  info.take(SEQUENCE);
  return info.take(BIT_STRING).subarray(1);
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
