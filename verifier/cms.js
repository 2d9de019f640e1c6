// The one signature of a time-stamp token, as CMS writes it (RFC 5652, RFC 5035; notary/cms.py).

import { equal, fromHex } from "./bytes.js";
import { NULL, OCTET_STRING, Reader, SEQUENCE, SET, context, retagged } from "./der.js";
import { Broken, Unverifiable } from "./errors.js";
import { HASHES, ecdsaHolds, ed25519Holds, pssHolds, rsaHolds } from "./signatures.js";
import { UnreadablePart, readEcdsa, readExtensions, strongKey } from "./x509.js";

const DIGESTS = {
  "1.2.840.113549.2.2": "md2",
  "1.2.840.113549.2.5": "md5",
  "1.3.14.3.2.26": "sha1",
  "2.16.840.1.101.3.4.2.4": "sha224",
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
  "2.16.840.1.101.3.4.2.8": "sha3_256",
  "2.16.840.1.101.3.4.2.9": "sha3_384",
  "2.16.840.1.101.3.4.2.10": "sha3_512",
  "1.2.156.10197.1.401": "sm3",
};
/** The contents of the OBJECT IDENTIFIERs, for writing. */
export const DIGEST_OIDS = {
  sha256: fromHex("608648016503040201"),
  sha384: fromHex("608648016503040202"),
  sha512: fromHex("608648016503040203"),
};
export const IMPRINTS = ["sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "sm3"];
export const STRONG = ["sha256", "sha384", "sha512"];
const WEAK = ["md2", "md5", "sha1", "sha224"];
const RSASSA_PSS = "1.2.840.113549.1.1.10";
export const SIGNATURES = {
  "1.2.840.113549.1.1.1": ["rsa", null],
  "1.2.840.113549.1.1.4": ["rsa", "md5"],
  "1.2.840.113549.1.1.5": ["rsa", "sha1"],
  "1.2.840.113549.1.1.14": ["rsa", "sha224"],
  "1.2.840.113549.1.1.11": ["rsa", "sha256"],
  "1.2.840.113549.1.1.12": ["rsa", "sha384"],
  "1.2.840.113549.1.1.13": ["rsa", "sha512"],
  [RSASSA_PSS]: ["pss", null],
  "1.2.840.10045.4.1": ["ecdsa", "sha1"],
  "1.2.840.10045.4.3.1": ["ecdsa", "sha224"],
  "1.2.840.10045.4.3.2": ["ecdsa", "sha256"],
  "1.2.840.10045.4.3.3": ["ecdsa", "sha384"],
  "1.2.840.10045.4.3.4": ["ecdsa", "sha512"],
  "1.3.101.112": ["ed25519", null],
};
const KEY_ID_TAG = 0x80;
const MAX_SALT_BYTES = 512n;
const MGF1 = "1.2.840.113549.1.1.8";
const CONTENT_TYPE = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST = "1.2.840.113549.1.9.4";
const SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12";
const SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47";
const SUBJECT_KEY_IDENTIFIER = "2.5.29.14";

/** Throws Malformed unless `found`, read from `reader`, is `wanted`. */
export function expect(reader, what, found, wanted) {
  if (found !== wanted) throw reader.malformed(`${what} is ${found}, not ${wanted}`);
}

/** The SignerInfo that comes next (RFC 5652 section 5.3). Throws Malformed. */
export function readSigner(reader, contentType) {
  const info = reader.enter(SEQUENCE, "SignerInfo");
  const version = info.integer();
  let [issuer, serial, keyId] = [null, null, null];
  if (info.nextTag() === SEQUENCE) {
    const named = info.enter(SEQUENCE, "IssuerAndSerialNumber");
    [issuer, serial] = [named.takeEncoded(SEQUENCE), named.integer()];
    named.end();
  } else {
    keyId = info.take(KEY_ID_TAG);
  }
  expect(info, "version", version, keyId === null ? 1n : 3n);
  const digestAlgorithm = readDigestAlgorithm(info);
  const encoded = info.takeEncoded(context(0));
  const attributes = readAttributes(Reader.inside(encoded, context(0), "signedAttrs"));
  const algorithm = readSignatureAlgorithm(info);
  const signature = info.take(OCTET_STRING);
  info.takeIf(context(1));
  info.end();
  const type = attribute(attributes, CONTENT_TYPE, info);
  expect(type, "type", type.oid(), contentType);
  type.end();
  const digest = attribute(attributes, MESSAGE_DIGEST, info);
  const messageDigest = digest.take(OCTET_STRING);
  digest.end();
  return {
    issuer, serial, keyId, digestAlgorithm, ...algorithm,
    // RFC 5652 section 5.4: what is signed is the SET OF itself, not its [0] in the SignerInfo.
    signedAttributes: retagged(encoded, SET),
    messageDigest,
    references: readReferences(attributes, info),
    signature,
  };
}

function readAttributes(reader) {
  const found = new Map();
  while (reader.nextTag() !== null) {
    const each = reader.enter(SEQUENCE, "signed attribute");
    const [kind, values] = [each.oid(), each.take(SET)];
    each.end();
    if (found.has(kind)) throw each.malformed(`${kind} is there twice`);
    found.set(kind, values);
  }
  return found;
}

function attribute(attributes, kind, signer) {
  if (!attributes.has(kind)) throw signer.malformed(`no signed attribute ${kind}`);
  return new Reader(attributes.get(kind), `signed attribute ${kind}`);
}

function endWithoutParameters(algorithm) {
  const parameters = algorithm.takeIf(NULL);
  if (parameters !== null && parameters.length) throw algorithm.malformed("a NULL that is not empty");
  algorithm.end();
}

/** The name of the AlgorithmIdentifier that comes next; its OID if there is none. */
export function readDigestAlgorithm(reader) {
  const algorithm = reader.enter(SEQUENCE, "AlgorithmIdentifier");
  const oid = algorithm.oid();
  endWithoutParameters(algorithm);
  return DIGESTS[oid] ?? oid;
}

/** OID, and for RSASSA-PSS (RFC 4055 section 3.1) the hashes it names and its salt's length. */
export function readSignatureAlgorithm(reader) {
  const algorithm = reader.enter(SEQUENCE, "AlgorithmIdentifier");
  const oid = algorithm.oid();
  if (oid !== RSASSA_PSS) {
    endWithoutParameters(algorithm);
    return { algorithm: oid, pssDigests: [], pssSaltBytes: 0 };
  }
  const pss = algorithm.enter(SEQUENCE, "RSASSA-PSS-params");
  algorithm.end();
  const fields = [0, 1, 2, 3].map((number) => pss.takeIf(context(number)));
  pss.end();
  const readers = fields.map((each) => new Reader(each ?? new Uint8Array(), "RSASSA-PSS-params"));
  const [digest, mask, salt, trailer] = readers;
  const named = fields[0] === null ? "sha1" : readDigestAlgorithm(digest);
  let maskNamed = "sha1";
  if (fields[1] !== null) {
    const generator = mask.enter(SEQUENCE, "AlgorithmIdentifier");
    expect(mask, "mask generation", generator.oid(), MGF1);
    maskNamed = readDigestAlgorithm(generator);
    generator.end();
  }
  const saltBytes = fields[2] === null ? 20n : salt.integer();
  expect(trailer, "trailer field", fields[3] === null ? 1n : trailer.integer(), 1n);
  readers.forEach((each) => each.end());
  if (saltBytes < 0n || saltBytes > MAX_SALT_BYTES) throw pss.malformed(`a salt of ${saltBytes} bytes`);
  return { algorithm: oid, pssDigests: [named, maskNamed], pssSaltBytes: Number(saltBytes) };
}

function readReferences(attributes, signer) {
  const kinds = [SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2].filter((kind) => attributes.has(kind));
  if (!kinds.length) {
    throw signer.malformed("neither ESSCertID nor ESSCertIDv2 among the signed attributes");
  }
  return kinds.map((kind) => readReference(attribute(attributes, kind, signer), kind));
}

function readReference(value, kind) {
  const certificates = value.enter(SEQUENCE, "SigningCertificate").enter(SEQUENCE, "ESSCertIDs");
  value.end();
  const named = certificates.enter(SEQUENCE, "ESSCertID");
  const version = kind === SIGNING_CERTIFICATE_V2 ? 2 : 1;
  let digestAlgorithm = version === 2 ? "sha256" : "sha1";
  if (version === 2 && named.nextTag() === SEQUENCE) digestAlgorithm = readDigestAlgorithm(named);
  const digest = named.take(OCTET_STRING);
  let [issuer, serial] = [null, null];
  if (named.nextTag() === SEQUENCE) {
    const pair = named.enter(SEQUENCE, "IssuerSerial");
    const names = pair.enter(SEQUENCE, "GeneralNames");
    serial = pair.integer();
    pair.end();
    issuer = names.take(context(4));
    names.end();
  }
  named.end();
  return { version, digestAlgorithm, digest, issuer, serial };
}

/** Throws Broken for MD2, MD5, SHA-1 and SHA-224, Unverifiable for others not accepted. */
export function requireStrong(what, name, accepted) {
  if (WEAK.includes(name)) throw new Broken(`${what} with '${name}'`);
  if (!accepted.includes(name)) throw new Unverifiable(`${what} with '${name}', which is not known here`);
}

/** The certificate that the sid names, and that the signed attributes name as well. */
export function signingCertificate(signer, pool) {
  const named = pool.filter((each) => isNamedBySid(each, signer));
  if (!named.length) throw new Unverifiable("the signing certificate is not at hand");
  const found = named.find((each) => signer.references.every((one) => refersTo(one, each)));
  if (found === undefined) {
    throw new Broken(`the signed attributes name another certificate than ${named[0].called}`);
  }
  return found;
}

function isNamedBySid(certificate, signer) {
  if (signer.keyId === null) {
    return certificate.serial === signer.serial && equal(certificate.issuer, signer.issuer);
  }
  try {
    const extension = readExtensions(certificate).get(SUBJECT_KEY_IDENTIFIER);
    return extension !== undefined && equal(extension.value, signer.keyId);
  } catch (error) {
    if (error instanceof UnreadablePart) return false;
    throw error;
  }
}

function refersTo(reference, certificate) {
  if (reference.version === 2) {
    requireStrong("signing certificate named", reference.digestAlgorithm, STRONG);
  }
  return (
    equal(HASHES[reference.digestAlgorithm](certificate.der), reference.digest) &&
    (reference.serial === null || reference.serial === certificate.serial) &&
    (reference.issuer === null || equal(reference.issuer, certificate.issuer))
  );
}

/** RFC 5652 sections 5.4 and 5.6. Throws Broken, or Unverifiable for algorithms not known here. */
export function checkSignature(signer, content, leaf) {
  const name = signer.digestAlgorithm;
  const [kind, named] = SIGNATURES[signer.algorithm] ?? [null, null];
  for (const each of [name, ...signer.pssDigests, named ?? name]) {
    requireStrong("signature", each, STRONG);
  }
  if (kind === null) throw new Unverifiable(`signature algorithm ${signer.algorithm} not known here`);
  if ([named ?? name, ...signer.pssDigests].some((each) => each !== name)) {
    throw new Broken("signature does not hold, it names several hashes");
  }
  if (!equal(HASHES[name](content), signer.messageDigest)) {
    throw new Broken("signature does not hold, the message-digest attribute is not that of the content");
  }
  const key = strongKey(leaf);
  if (!isBy(key, kind, name, signer.pssSaltBytes, signer.signature, signer.signedAttributes)) {
    throw new Broken(`signature does not hold, it is not by the key of ${leaf.called}`);
  }
}

/** Whether `signature` over `signed` is by `key`, in the way that `kind` and `hash` name. */
export function isBy(key, kind, hash, saltBytes, signature, signed) {
  if (key.kind === "ed25519") return kind === "ed25519" && ed25519Holds(signature, signed, key.point);
  if (kind === "ed25519") return false;
  if (HASHES[hash] === undefined) return false;
  const digest = HASHES[hash](signed);
  if (key.kind === "rsa" && kind === "rsa") return rsaHolds(key, signature, hash, digest);
  if (key.kind === "rsa" && kind === "pss") return pssHolds(key, signature, hash, digest, saltBytes);
  if (key.kind !== "ecdsa" || kind !== "ecdsa") return false;
  const pair = readEcdsa(signature);
  return pair !== null && ecdsaHolds(key.curve, key.point, pair, digest);
}
