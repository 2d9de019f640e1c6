// From a certificate up to a configured root, every link valid at one time (notary/certpath.py).

import { equal } from "./bytes.js";
import { SIGNATURES, STRONG, isBy, readSignatureAlgorithm } from "./cms.js";
import { Reader } from "./der.js";
import { Broken, Malformed, Unverifiable } from "./errors.js";
import {
  BASIC_CONSTRAINTS, KEY_USAGE, UNDERSTOOD, USAGES, UnreadablePart, readExtensions, strongKey,
} from "./x509.js";

const MAX_CHAIN = 8;
const MAX_LINKS_TRIED = 64;

/** RFC 5280 section 4.1.2.5, both ends included. `at` and the dates sort as texts. */
export function requireValidAt(certificate, at) {
  const { notBefore, notAfter, called } = certificate;
  if (at < notBefore || at > notAfter) {
    throw new Broken(
      `certificate of ${called} is valid from ${notBefore} to ${notAfter}, the token is of ${at}`,
    );
  }
}

/** RFC 5280 section 4.2: a critical extension that is not read here. */
export function requireUnderstood(extensions) {
  for (const [oid, { critical }] of extensions) {
    if (critical && !UNDERSTOOD.includes(oid)) {
      throw new Unverifiable(`critical extension ${oid} not known here`);
    }
  }
}

/** The chain `leaf` … root through `pool`, every link good at `at`. Throws Broken where a date or
 *  a weak algorithm broke the only way up, else Unverifiable. */
export function findPath(leaf, { at, roots, pool }) {
  const candidates = [...roots, ...pool];
  const refusals = [];
  let tried = 0;

  function climb(path) {
    const last = path[path.length - 1];
    if (roots.some((root) => equal(root.der, last.der))) return path;
    if (path.length === MAX_CHAIN) return null;
    for (const issuer of candidates) {
      const seen = path.some((each) => equal(each.der, issuer.der));
      if (!equal(issuer.subject, last.issuer) || seen || tried === MAX_LINKS_TRIED) continue;
      tried += 1;
      try {
        checkLink(last, issuer, path.length - 1);
        requireValidAt(issuer, at);
      } catch (refusal) {
        if (!(refusal instanceof Broken || refusal instanceof Unverifiable)) throw refusal;
        refusals.push(refusal);
        continue;
      }
      const found = climb([...path, issuer]);
      if (found !== null) return found;
    }
    return null;
  }

  const path = climb([leaf]);
  if (path !== null) return path;
  const broken = refusals.find((refusal) => refusal instanceof Broken);
  if (broken !== undefined) throw broken;
  const why = refusals.length ? `: ${refusals[0].message}` : "";
  throw new Unverifiable(`no chain from ${leaf.called} to a configured root${why}`);
}

/** That `issuer` may issue and did issue `child`, with `below` intermediates under it. */
function checkLink(child, issuer, below) {
  const key = strongKey(issuer);
  const link = `link ${child.called} by ${issuer.called} does not hold`;
  let may;
  try {
    const { algorithm, pssDigests, pssSaltBytes } = readAlgorithm(child);
    const [kind, named] = SIGNATURES[algorithm] ?? [null, null];
    if (kind === null) throw new UnreadablePart(`signature algorithm ${algorithm} not known here`);
    const hash = kind === "pss" ? pssDigests[0] : named;
    if (kind !== "ed25519" && !STRONG.includes(hash)) {
      throw new Broken(`certificate signed with ${algorithm}`);
    }
    if (!equal(child.signatureAlgorithm, child.innerAlgorithm)) {
      throw new UnreadablePart("inner and outer signature algorithms do not match");
    }
    const oneHash = pssDigests.every((each) => each === hash);
    if (!oneHash || !isBy(key, kind, hash, pssSaltBytes, child.signature, child.signed)) {
      throw new Unverifiable(`${link}, the signature is not by it`);
    }
    may = mayIssue(issuer, below);
  } catch (error) {
    if (error instanceof UnreadablePart) throw new Unverifiable(`${link}, ${error.message}`);
    throw error;
  }
  if (!may) {
    throw new Unverifiable(`${link}, it is no certificate authority for a chain like this`);
  }
}

function readAlgorithm(child) {
  try {
    return readSignatureAlgorithm(new Reader(child.signatureAlgorithm, "signatureAlgorithm"));
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new UnreadablePart(error.message);
  }
}

/** RFC 5280 section 6.1.4 (k) to (o): cA, pathLenConstraint, keyCertSign, critical ones. */
function mayIssue(issuer, below) {
  const extensions = readExtensions(issuer);
  requireUnderstood(extensions);
  const limits = extensions.get(BASIC_CONSTRAINTS)?.value;
  const usage = extensions.get(KEY_USAGE)?.value;
  if (!limits?.ca || (usage !== undefined && !(usage.bits & USAGES.keyCertSign))) return false;
  return limits.pathLength === null || BigInt(below) <= limits.pathLength;
}
