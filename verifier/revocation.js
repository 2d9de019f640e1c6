// Whether the certificates of a token were revoked: CRLs (RFC 5280 section 5) and OCSP (RFC 6960), as
// they are kept beside it (notary/revocation.py). What cannot be read, or is of others, says nothing.

import { equal, hex } from "./bytes.js";
import { SIGNATURES, STRONG, isBy, readDigestAlgorithm, readSignatureAlgorithm } from "./cms.js";
import {
  BIT_STRING, ENUMERATED, GENERALIZED_TIME, INTEGER, OCTET_STRING, Reader, SEQUENCE, UTC_TIME,
  context, wholeBits,
} from "./der.js";
import { Broken, Malformed, Unverifiable } from "./errors.js";
import { HASHES } from "./signatures.js";
import {
  BASIC_CONSTRAINTS, CRL_DISTRIBUTION_POINTS, EXTENDED_KEY_USAGE, KEY_USAGE, USAGES, UnreadablePart,
  anyKey, equalGeneralNames, equalNames, keyBits, readCertificate, readDistributionPointName,
  readExtensions, readExtensionList, readTime,
} from "./x509.js";

const OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
const BASIC_RESPONSE = "1.3.6.1.5.5.7.48.1.1";
const CRL_NUMBER = "2.5.29.20";
const CRL_REASON = "2.5.29.21";
const AUTHORITY_KEY_IDENTIFIER = "2.5.29.35";
const ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
const REASONS = {
  0: "unspecified", 1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded",
  5: "cessationOfOperation", 6: "certificateHold", 8: "removeFromCRL", 9: "privilegeWithdrawn",
  10: "aACompromise",
};
// RFC 3161 section 4: after these a token that was made before goes on being valid.
const HARMLESS = ["unspecified", "affiliationChanged", "superseded", "cessationOfOperation"];

/** Of bytes that say nothing, for whatever reason. */
class SaysNothing extends Error {}

/** {state: "good" | "revoked" | "not_checked", code, detail} of a verified chain (leaf first, root
 *  last) and a token made `at`. Where some say good and others revoked, it is revoked. */
export function judgeRevocation(chain, { at, crls, responses }) {
  if (!crls.length && !responses.length) {
    return { state: "not_checked", code: "revocation_none", detail: "none is embedded" };
  }
  const [unsaid, stale] = [[], []];
  for (let n = 0; n + 1 < chain.length; n += 1) {
    const [subject, issuer] = [chain[n], chain[n + 1]];
    const said = [
      ...crls.map((der) => heard(byCrl, der, subject, issuer)),
      ...responses.map((der) => heard(byOcsp, der, subject, issuer)),
    ].filter((each) => each !== null);
    const fatal = said.find((each) => each.revokedAt !== null && isFatal(each, at));
    if (fatal !== undefined) return revoked(subject, fatal);
    if (!said.length) unsaid.push(`nothing about ${subject.called}`);
    else if (!said.some((each) => speaksOf(each, at))) {
      const last = said.map(({ thisUpdate }) => thisUpdate).sort().pop();
      stale.push(`${subject.called}, last said at ${last}`);
    }
  }
  if (unsaid.length || stale.length) {
    const code = unsaid.length ? "revocation_none" : "revocation_stale";
    return { state: "not_checked", code, detail: [...unsaid, ...stale].join("; ") };
  }
  return { state: "good", code: null, detail: `${chain.length - 1} certificates` };
}

function isFatal({ reason, revokedAt }, at) {
  return !HARMLESS.includes(reason) || revokedAt <= at;
}

function revoked(subject, { revokedAt, reason }) {
  const detail = `${subject.called} was revoked at ${revokedAt}: ${reason ?? "no reason given"}`;
  return { state: "revoked", code: "timestamp_revoked", detail };
}

/** It was made after the token, or was in force when the token was made. */
function speaksOf({ thisUpdate, nextUpdate }, at) {
  return thisUpdate >= at || (nextUpdate !== null && nextUpdate >= at);
}

/** {thisUpdate, nextUpdate, revokedAt, reason}; null for what says nothing. */
function heard(read, der, subject, issuer) {
  try {
    return read(der, subject, issuer);
  } catch (error) {
    const kinds = [SaysNothing, Malformed, Broken, Unverifiable, UnreadablePart];
    if (!kinds.some((kind) => error instanceof kind)) throw error;
    return null;
  }
}

function require(holds, why) {
  if (!holds) throw new SaysNothing(why);
}

/** The kind and hash of a signature algorithm; the hash is null for Ed25519. */
function readSignedWith(encoded) {
  const { algorithm, pssDigests, pssSaltBytes } =
    readSignatureAlgorithm(new Reader(encoded, "signatureAlgorithm"));
  const [kind, named] = SIGNATURES[algorithm] ?? [null, null];
  const hash = kind === "pss" ? pssDigests[0] : named;
  require(kind === "ed25519" || hash !== null, "a signature algorithm not known here");
  require(pssDigests.every((each) => each === hash), "several hashes");
  return { kind, hash, pssSaltBytes };
}

// --- CRLs -----------------------------------------------------------------------------------

function byCrl(der, subject, issuer) {
  const crl = readCrl(der);
  require(equalNames(crl.issuer, issuer.subject), "by another issuer");
  const usage = readExtensions(issuer).get(KEY_USAGE)?.value;
  require(usage === undefined || usage.bits & USAGES.crlSign, "its issuer may not sign CRLs");
  const { kind, hash, pssSaltBytes } = readSignedWith(crl.outerAlgorithm);
  require(hash === null || STRONG.includes(hash), "a weak hash");
  require(equal(crl.innerAlgorithm, crl.outerAlgorithm), "two algorithms");
  require(isBy(anyKey(issuer), kind, hash, pssSaltBytes, crl.signature, crl.signed), "not by it");
  for (const [oid, extension] of readExtensionList(crl.extensions)) {
    require(isUnderstood(oid, extension, subject), "of some alone, or the difference to another");
  }
  const entry = crl.entries.find(({ serial }) => serial === subject.serial);
  return {
    thisUpdate: crl.thisUpdate,
    nextUpdate: crl.nextUpdate,
    revokedAt: entry === undefined ? null : entry.at,
    reason: entry === undefined ? null : readReason(entry.extensions),
  };
}

function readCrl(der) {
  const outer = Reader.inside(der, SEQUENCE, "CertificateList");
  const signed = outer.takeEncoded(SEQUENCE);
  const outerAlgorithm = outer.takeEncoded(SEQUENCE);
  const signature = wholeBits(outer);
  outer.end();
  const list = Reader.inside(signed, SEQUENCE, "TBSCertList");
  if ((list.integerIf(INTEGER) ?? 1n) !== 1n) throw list.malformed("a version not known");
  const [innerAlgorithm, issuer] = [list.takeEncoded(SEQUENCE), list.takeEncoded(SEQUENCE)];
  const thisUpdate = readTime(list);
  const timed = [UTC_TIME, GENERALIZED_TIME].includes(list.nextTag());
  const nextUpdate = timed ? readTime(list) : null;
  const entries = readEntries(list.takeIf(SEQUENCE));
  const extensions = list.takeIf(context(0));
  list.end();
  return {
    signed, outerAlgorithm, innerAlgorithm, signature, issuer, thisUpdate, nextUpdate, entries,
    extensions,
  };
}

function readEntries(contents) {
  const list = new Reader(contents ?? new Uint8Array(), "revokedCertificates");
  const entries = [];
  while (list.nextTag() !== null) {
    const entry = list.enter(SEQUENCE, "revokedCertificate");
    const [serial, at] = [entry.integer(), readTime(entry)];
    const extensions = entry.nextTag() === null ? null : entry.takeEncoded(SEQUENCE);
    entry.end();
    if (serial < 0n) throw list.malformed("a serial number below 0");
    entries.push({ serial, at, extensions });
  }
  return entries;
}

function readReason(extensions) {
  const found = readExtensionList(extensions).get(CRL_REASON);
  if (found === undefined) return null;
  const reader = new Reader(found.value, "CRLReason");
  const code = reader.integer(ENUMERATED);
  reader.end();
  return reasonOf(code);
}

function reasonOf(code) {
  require(REASONS[code] !== undefined, `reason ${code}`);
  return REASONS[code];
}

/** RFC 5280 sections 5.2.5 and 6.3.3 (b): what an issuing distribution point leaves out is not the
 *  subject, and where it names its place, the subject names that place as well. */
function isUnderstood(oid, { critical, value }, subject) {
  if (oid !== ISSUING_DISTRIBUTION_POINT) {
    return !critical || [CRL_NUMBER, AUTHORITY_KEY_IDENTIFIER].includes(oid);
  }
  const scope = readScope(value);
  const extensions = readExtensions(subject);
  const isCa = extensions.get(BASIC_CONSTRAINTS)?.value.ca ?? false;
  if (scope.indirect || scope.someReasons || scope.attributes) return false;
  if ((scope.users && isCa) || (scope.authorities && !isCa)) return false;
  if (scope.fullName === null) return scope.place === null;
  const places = extensions.get(CRL_DISTRIBUTION_POINTS)?.value ?? [];
  return places.some((name) => scope.fullName.some((each) => equalGeneralNames(each, name)));
}

function readScope(raw) {
  const reader = Reader.inside(raw, SEQUENCE, "IssuingDistributionPoint");
  const place = reader.takeIf(context(0));
  const flag = (tag) => {
    const contents = reader.takeIf(tag);
    if (contents === null) return false;
    if (contents.length !== 1 || ![0, 0xff].includes(contents[0])) throw reader.malformed("a flag");
    return contents[0] === 0xff;
  };
  const [users, authorities] = [flag(0x81), flag(0x82)];
  const reasons = reader.takeIf(0x83);
  const [indirect, attributes] = [flag(0x84), flag(0x85)];
  reader.end();
  const someReasons = reasons !== null && Boolean((reasons[1] & 0x7f) | reasons[2]);
  const flags = [users, authorities, indirect, attributes].filter(Boolean).length;
  require(flags <= 1 && (flags || someReasons || place !== null), "no scope, or two");
  const fullName = place === null ? null : readDistributionPointName(place);
  return { place, fullName, users, authorities, someReasons, indirect, attributes };
}

// --- OCSP -----------------------------------------------------------------------------------

function byOcsp(der, subject, issuer) {
  const response = readResponse(der);
  const hash = HASHES[response.hash];
  require(hash !== undefined && response.serial === subject.serial, "of another certificate");
  require(equal(hash(issuer.subject), response.nameHash), "of another issuer");
  require(equal(hash(keyBits(issuer)), response.keyHash), "of another key");
  require(response.status !== null, "unknown");
  checkResponse(response, issuer);
  const { thisUpdate, nextUpdate, status } = response;
  return { thisUpdate, nextUpdate, ...status };
}

/** The one answer of a successful response (RFC 6960 section 4.2.1); `status` is null for unknown. */
function readResponse(der) {
  const outer = Reader.inside(der, SEQUENCE, "OCSPResponse");
  require(outer.integer(ENUMERATED) === 0n, "no successful response");
  const bytes = Reader.inside(outer.take(context(0)), SEQUENCE, "ResponseBytes");
  outer.end();
  const [type, basic] = [bytes.oid(), bytes.take(OCTET_STRING)];
  bytes.end();
  require(type === BASIC_RESPONSE, "another kind of response");
  const whole = Reader.inside(basic, SEQUENCE, "BasicOCSPResponse");
  const [signed, algorithm] = [whole.takeEncoded(SEQUENCE), whole.takeEncoded(SEQUENCE)];
  const signature = wholeBits(whole);
  const certificates = readCertificates(whole.takeIf(context(0)));
  whole.end();
  return { ...readAnswer(signed), signed, algorithm, signature, certificates };
}

function readCertificates(contents) {
  if (contents === null) return [];
  const list = Reader.inside(contents, SEQUENCE, "certs");
  const found = [];
  while (list.nextTag() !== null) found.push(readCertificate(list.takeEncoded(SEQUENCE)));
  return found;
}

function readAnswer(signed) {
  const data = Reader.inside(signed, SEQUENCE, "ResponseData");
  data.takeIf(context(0));
  if (data.takeIf(context(1)) === null) data.take(context(2));
  data.take(GENERALIZED_TIME);
  const answers = data.enter(SEQUENCE, "responses");
  data.takeIf(context(1));
  data.end();
  const single = answers.enter(SEQUENCE, "SingleResponse");
  answers.end();
  const id = single.enter(SEQUENCE, "CertID");
  const [hash, nameHash, keyHash, serial] =
    [readDigestAlgorithm(id), id.take(OCTET_STRING), id.take(OCTET_STRING), id.integer()];
  id.end();
  const status = readStatus(single);
  const thisUpdate = readTime(single, GENERALIZED_TIME);
  const next = single.takeIf(context(0));
  const nextUpdate = next === null ? null : readTime(new Reader(next, "nextUpdate"), GENERALIZED_TIME);
  single.takeIf(context(1));
  single.end();
  return { hash, nameHash, keyHash, serial, status, thisUpdate, nextUpdate };
}

function readStatus(single) {
  if (single.takeIf(0x80) !== null) return { revokedAt: null, reason: null };
  if (single.takeIf(0x82) !== null) return null;
  const info = single.enter(context(1), "RevokedInfo");
  const revokedAt = readTime(info, GENERALIZED_TIME);
  const given = info.takeIf(context(0));
  info.end();
  if (given === null) return { revokedAt, reason: null };
  return { revokedAt, reason: reasonOf(new Reader(given, "CRLReason").integer(ENUMERATED)) };
}

/** RFC 6960 section 4.2.2.2: by the issuer itself, or by a responder that it appointed. */
function checkResponse(response, issuer) {
  const { hash } = readSignedWith(response.algorithm);
  const appointed = response.certificates.filter((each) =>
    isAppointed(each, issuer, response.thisUpdate));
  const { signature, signed } = response;
  require([issuer, ...appointed].some((signer) => {
    const key = anyKey(signer);
    if (key.kind !== "ed25519" && !STRONG.includes(hash)) return false;
    return isBy(key, key.kind, hash, 0, signature, signed);
  }), "not by the issuer, nor by a responder of its own");
}

function isAppointed(responder, issuer, at) {
  let issued;
  try {
    const { kind, hash, pssSaltBytes } = readSignedWith(responder.signatureAlgorithm);
    issued = equal(responder.issuer, issuer.subject) &&
      equal(responder.signatureAlgorithm, responder.innerAlgorithm) &&
      isBy(anyKey(issuer), kind, hash, pssSaltBytes, responder.signature, responder.signed);
  } catch (error) {
    if (!(error instanceof SaysNothing || error instanceof Malformed)) throw error;
    return false;
  }
  if (!issued || at < responder.notBefore || at > responder.notAfter) return false;
  const purposes = readExtensions(responder).get(EXTENDED_KEY_USAGE)?.value ?? [];
  return purposes.includes(OCSP_SIGNING);
}
