// RFC 3161 time-stamp tokens: read as DER, and judged at the token's own time (notary/tsp.py).

import { exists } from "./reading.js";
import { findPath, requireUnderstood, requireValidAt } from "./certpath.js";
import {
  IMPRINTS, checkSignature, expect, readDigestAlgorithm, readSigner, requireStrong,
  signingCertificate,
} from "./cms.js";
import {
  BIT_STRING, GENERALIZED_TIME, INTEGER, OCTET_STRING, Reader, SEQUENCE, SET, context,
} from "./der.js";
import { equal, hex } from "./bytes.js";
import { Broken, Malformed } from "./errors.js";
import {
  EXTENDED_KEY_USAGE, KEY_USAGE, USAGES, UnreadablePart, readCertificate, readExtensions,
} from "./x509.js";

const MAX_RESPONSE_BYTES = 65536;
const MAX_CERTIFICATES = 32;
const MAX_SERIAL_BITS = 160;
const MAX_ACCURACY_S = 86400n;
const SIGNED_DATA = "1.2.840.113549.1.7.2";
const TST_INFO = "1.2.840.113549.1.9.16.1.4";
const TIME_STAMPING = "1.3.6.1.5.5.7.3.8";
const GEN_TIME = /^([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:\.([0-9]*[1-9]))?Z$/;

/** The token in a TimeStampResp (RFC 3161 section 2.4.2). Throws Broken where the authority gave
 *  none, Malformed for every other fault of the bytes. */
export function parseResponse(der) {
  requireSize(der);
  const response = Reader.inside(der, SEQUENCE, "TimeStampResp");
  const info = response.enter(SEQUENCE, "PKIStatusInfo");
  const status = info.integer();
  info.takeIf(SEQUENCE);
  const failure = info.takeIf(BIT_STRING);
  info.end();
  if (status !== 0n && status !== 1n) {
    throw new Broken(`the authority gave no token: status ${status}`);
  }
  if (failure !== null) throw info.malformed("granted, and yet a failure");
  const token = response.takeEncoded(SEQUENCE);
  response.end();
  return parseToken(token);
}

function requireSize(der) {
  if (der.length > MAX_RESPONSE_BYTES) {
    throw new Malformed(`${der.length} bytes of DER, accepted are ${MAX_RESPONSE_BYTES}`);
  }
}

/** A bare TimeStampToken. Throws Malformed. */
export function parseToken(der) {
  const outer = Reader.inside(der, SEQUENCE, "ContentInfo");
  expect(outer, "contentType", outer.oid(), SIGNED_DATA);
  const wrapped = outer.enter(context(0), "ContentInfo");
  outer.end();
  const signed = wrapped.enter(SEQUENCE, "SignedData");
  wrapped.end();
  expect(signed, "version", signed.integer(), 3n);
  const algorithms = signed.enter(SET, "digestAlgorithms");
  const tstInfo = readContent(signed.enter(SEQUENCE, "EncapsulatedContentInfo"));
  const certificates = readCertificates(signed.takeIf(context(0)));
  signed.takeIf(context(1));
  const signers = signed.enter(SET, "signerInfos");
  signed.end();
  const signer = readSigner(signers, TST_INFO);
  signers.end();
  const named = new Set();
  while (algorithms.nextTag() !== null) named.add(readDigestAlgorithm(algorithms));
  if (!named.has(signer.digestAlgorithm)) {
    throw algorithms.malformed(`'${signer.digestAlgorithm}' is not among them`);
  }
  return { ...readTstInfo(tstInfo), tstInfo, certificates, signer };
}

function readContent(encapsulated) {
  expect(encapsulated, "eContentType", encapsulated.oid(), TST_INFO);
  const wrapped = encapsulated.enter(context(0), "eContent");
  encapsulated.end();
  const content = wrapped.take(OCTET_STRING);
  wrapped.end();
  return content;
}

function readCertificates(contents) {
  const reader = new Reader(contents ?? new Uint8Array(), "CertificateSet");
  const found = [];
  while (reader.nextTag() !== null) found.push(reader.takeEncoded(SEQUENCE));
  if (found.length > MAX_CERTIFICATES) throw reader.malformed(`${found.length} certificates`);
  return found;
}

function readTstInfo(content) {
  const info = Reader.inside(content, SEQUENCE, "TSTInfo");
  expect(info, "version", info.integer(), 1n);
  info.oid();
  const pair = info.enter(SEQUENCE, "MessageImprint");
  const [imprintAlgorithm, imprint] = [readDigestAlgorithm(pair), pair.take(OCTET_STRING)];
  pair.end();
  const serial = info.integer();
  if (serial < 0n || serial.toString(2).length > MAX_SERIAL_BITS) {
    throw info.malformed(`the serialNumber ${serial}`);
  }
  const genTime = readGenTime(info);
  readAccuracy(info);
  info.booleanIf();
  info.integerIf();
  info.takeIf(context(0));
  readExtensionList(info.takeIf(context(1)));
  info.end();
  return { imprintAlgorithm, imprint, genTime };
}

/** As the certificate spells times: six digits. Finer than 1 µs is cut off. */
function readGenTime(info) {
  const text = String.fromCharCode(...info.take(GENERALIZED_TIME));
  const match = GEN_TIME.exec(text);
  if (match === null || !exists(...match.slice(1, 7).map(Number))) {
    throw info.malformed(`the genTime '${text.slice(0, 40)}'`);
  }
  const [, year, month, day, hour, minute, second, fraction = "0"] = match;
  const micros = fraction.slice(0, 6).padEnd(6, "0");
  return `${year}-${month}-${day}T${hour}:${minute}:${second}.${micros}Z`;
}

function readAccuracy(info) {
  if (info.nextTag() !== SEQUENCE) return;
  const accuracy = info.enter(SEQUENCE, "Accuracy");
  const [seconds, millis, micros] = [INTEGER, 0x80, 0x81].map((tag) => accuracy.integerIf(tag) ?? 0n);
  accuracy.end();
  const good =
    seconds >= 0n && seconds <= MAX_ACCURACY_S && millis >= 0n && millis <= 999n &&
    micros >= 0n && micros <= 999n;
  if (!good) throw accuracy.malformed(`${seconds} s, ${millis} ms, ${micros} µs`);
}

function readExtensionList(contents) {
  const reader = new Reader(contents ?? new Uint8Array(), "TSTInfo extensions");
  while (reader.nextTag() !== null) {
    const extension = reader.enter(SEQUENCE, "Extension");
    const [oid, critical] = [extension.oid(), extension.booleanIf()];
    extension.take(OCTET_STRING);
    extension.end();
    if (critical) throw extension.malformed(`${oid} is critical, and not known here`);
  }
}

/** {genTime, chain: leaf first, root last} of a token over `imprint`, once all of it holds. `roots`
 *  and `intermediates` are DER. Throws Broken, Malformed, or Unverifiable where no root leads to it. */
export function verifyToken(token, { imprint, algorithm = "sha256", roots, intermediates }) {
  requireStrong("imprint", token.imprintAlgorithm, IMPRINTS);
  if (token.imprintAlgorithm !== algorithm || !equal(token.imprint, imprint)) {
    throw new Broken(
      `imprint is ${token.imprintAlgorithm} ${hex(token.imprint)}, asked for was ${algorithm} ` +
        hex(imprint),
    );
  }
  const pool = [...token.certificates, ...intermediates].map(readCertificate);
  const leaf = signingCertificate(token.signer, pool);
  checkSignature(token.signer, token.tstInfo, leaf);
  checkPurpose(leaf);
  requireValidAt(leaf, token.genTime);
  const chain = findPath(leaf, { at: token.genTime, roots: roots.map(readCertificate), pool });
  return { genTime: token.genTime, chain };
}

/** RFC 3161 section 2.3: for time-stamping, critical, alone; the key signs, and nothing else. */
function checkPurpose(leaf) {
  let extensions;
  try {
    extensions = readExtensions(leaf);
  } catch (error) {
    if (!(error instanceof UnreadablePart)) throw error;
    throw wrongPurpose(`its extensions cannot be read: ${error.message}`);
  }
  const purposes = extensions.get(EXTENDED_KEY_USAGE);
  if (purposes === undefined) throw wrongPurpose("it has no extended key usage");
  if (!purposes.critical) throw wrongPurpose("its extended key usage is not critical");
  if (purposes.value.length !== 1 || purposes.value[0] !== TIME_STAMPING) {
    throw wrongPurpose(`its extended key usage is ${purposes.value}, not time-stamping alone`);
  }
  requireUnderstood(extensions);
  const usage = extensions.get(KEY_USAGE)?.value.bits;
  const signs = USAGES.digitalSignature | USAGES.contentCommitment;
  const others =
    USAGES.keyEncipherment | USAGES.dataEncipherment | USAGES.keyAgreement | USAGES.keyCertSign |
    USAGES.crlSign;
  if (usage !== undefined && (!(usage & signs) || usage & others)) {
    throw wrongPurpose("its key usage is not signing alone");
  }
}

function wrongPurpose(why) {
  return new Broken(`the certificate is not for time-stamping: ${why}`);
}
