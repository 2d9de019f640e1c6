// Whom the verifier believes: the trust file (notary/trust.py).

import { thumbprint } from "./certificate.js";
import { Malformed } from "./errors.js";
import { parseVkey } from "./note.js";
import { parsePolicy } from "./policy.js";
import { parseToml } from "./vendor/vendor.js";
import { readCertificate } from "./x509.js";

const FORMAT = "evidence-trust/v1";
const LISTS = ["log_keys", "statement_keys", "certificate_keys", "timestamp_roots"];
const MEMBERS = ["format", "origin", ...LISTS, "witness_policy", "timestamp_quorum"];
const MOST_AUTHORITIES = 64;
const PEM = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END/;

/** Throws Malformed that names the member at fault. */
export function parseTrust(text) {
  let given;
  try {
    given = parseToml(text, { integersAsBigInt: true });  // 2 and 2.0 are not the same
  } catch (error) {
    throw new Malformed(`trust file: ${error.message}`);
  }
  if (given.format !== FORMAT) {
    throw new Malformed(`trust file: format is '${given.format}', known is '${FORMAT}'`);
  }
  const unknown = Object.keys(given).filter((name) => !MEMBERS.includes(name));
  if (unknown.length) throw new Malformed(`trust file: unknown members ${unknown.join(", ")}`);
  if (typeof given.origin !== "string") throw new Malformed("trust file: origin is not a text");
  for (const name of LISTS) {
    const list = given[name];
    if (!Array.isArray(list) || list.some((each) => typeof each !== "string")) {
      throw new Malformed(`trust file: ${name} is not a list of texts`);
    }
  }
  const policy = given.witness_policy;
  if (policy !== undefined && typeof policy !== "string") {
    throw new Malformed("trust file: witness_policy is not a text");
  }
  return {
    origin: given.origin,
    logKeys: given.log_keys.map(parseVkey),
    statementKeys: given.statement_keys.map(rawKey),
    certificateKeys: given.certificate_keys.map(rawKey),
    timestampRoots: given.timestamp_roots.map(der),
    witnessPolicy: policy === undefined ? null : parsePolicy(policy),
    timestampQuorum: quorum(given.timestamp_quorum),
  };
}

function quorum(value = 0n) {
  if (typeof value !== "bigint" || value < 0n || value > MOST_AUTHORITIES) {
    throw new Malformed(`trust file: timestamp_quorum is not 0 to ${MOST_AUTHORITIES}`);
  }
  return Number(value);
}

function rawKey(text) {
  let publicKey;
  try {
    publicKey = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  } catch {
    throw new Malformed(`trust file: '${text}' is not base64`);
  }
  if (publicKey.length !== 32) {
    throw new Malformed(`trust file: key '${text}' has ${publicKey.length} bytes, not 32`);
  }
  return { kid: thumbprint(publicKey), publicKey };
}

function der(pem) {
  const match = PEM.exec(pem);
  if (match === null) throw new Malformed("trust file: a timestamp root is no PEM certificate");
  let bytes;
  try {
    bytes = Uint8Array.from(atob(match[1].replace(/\s/g, "")), (each) => each.charCodeAt(0));
  } catch {
    throw new Malformed("trust file: a timestamp root is no PEM certificate");
  }
  return readCertificate(bytes).der;
}
