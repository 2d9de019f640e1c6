// RFC 4998 Evidence Records: read, and verified as its sections 4.3 and 5.3 say (notary/ers.py). What
// is read is one form alone: attributes, cryptoInfos and encryptionInfo are refused.

import { concat, equal, hex } from "./bytes.js";
import { requireValidAt } from "./certpath.js";
import { DIGEST_OIDS, readDigestAlgorithm } from "./cms.js";
import { INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, context, encode } from "./der.js";
import { Broken, Malformed, Unverifiable } from "./errors.js";
import { HASHES } from "./signatures.js";
import { parseToken, verifyToken } from "./tsp.js";

const MAX_RECORD_BYTES = 4 << 20;
const MAX_CHAINS = 32;
const MAX_IN_CHAIN = 1000;
const MAX_LISTS = 128;
const MAX_HASHES = 1024;
const ALGORITHMS = ["sha256", "sha384", "sha512"];
const [DIGEST_TAG, TREE_TAG] = [context(0), context(2)];

// --- reading --------------------------------------------------------------------------------

/** {algorithms, chains}: each chain an array of {token, algorithm, reduced}. Throws Malformed. */
export function parseEvidenceRecord(der) {
  if (der.length > MAX_RECORD_BYTES) {
    throw new Malformed(`${der.length} bytes of a record, accepted are ${MAX_RECORD_BYTES}`);
  }
  const outer = Reader.inside(der, SEQUENCE, "EvidenceRecord");
  const version = outer.integer();
  if (version !== 1n) throw outer.malformed(`version ${version}, known is 1`);
  const named = outer.enter(SEQUENCE, "digestAlgorithms");
  const algorithms = some(named, 0, ALGORITHMS.length, () => known(readDigestAlgorithm(named), named));
  const sequence = outer.enter(SEQUENCE, "ArchiveTimeStampSequence");
  outer.end();
  const chains = some(sequence, 1, MAX_CHAINS, () =>
    readChain(sequence.enter(SEQUENCE, "ArchiveTimeStampChain")));
  const record = { algorithms, chains };
  if (!equal(encodeRecord(record), der)) throw outer.malformed("not in the one form that is taken");
  return record;
}

/** All that is left in `reader`, `least` to `most` values. */
function some(reader, least, most, read) {
  const found = [];
  while (reader.nextTag() !== null) {
    found.push(read());
    if (found.length > most) throw reader.malformed(`more than ${most} values`);
  }
  if (found.length < least) throw reader.malformed("no value");
  return found;
}

function known(algorithm, reader) {
  if (!ALGORITHMS.includes(algorithm)) throw reader.malformed(`digest '${algorithm}'`);
  return algorithm;
}

function readChain(reader) {
  return some(reader, 1, MAX_IN_CHAIN, () => readTimestamp(reader.enter(SEQUENCE, "ArchiveTimeStamp")));
}

function readTimestamp(reader) {
  let algorithm = null;
  if (reader.nextTag() === DIGEST_TAG) {
    const named = encode(SEQUENCE, reader.take(DIGEST_TAG));
    algorithm = known(readDigestAlgorithm(new Reader(named, "digestAlgorithm")), reader);
  }
  const lists = reader.takeIf(TREE_TAG);
  const token = reader.takeEncoded(SEQUENCE);
  reader.end();
  parseToken(token);
  return { token, algorithm, reduced: lists === null ? null : readLists(lists) };
}

/** The lists of a reducedHashtree, each in binary ascending order. */
function readLists(contents) {
  const reader = new Reader(contents, "reducedHashtree");
  return some(reader, 1, MAX_LISTS, () => {
    const list = reader.enter(SEQUENCE, "PartialHashtree");
    const values = some(list, 1, MAX_HASHES, () => list.take(OCTET_STRING));
    if (values.some((value, at) => at > 0 && compareBytes(values[at - 1], value) >= 0)) {
      throw list.malformed("not some hashes in binary ascending order, each once");
    }
    return values;
  });
}

function compareBytes(left, right) {
  for (let at = 0; at < Math.min(left.length, right.length); at += 1) {
    if (left[at] !== right[at]) return left[at] - right[at];
  }
  return left.length - right.length;
}

// --- writing, for what is hashed and for the one form ---------------------------------------

const encodeAlgorithm = (name) => encode(OID, DIGEST_OIDS[name]);
const encodeAll = (values, each) => concat(...values.map(each));

function encodeTimestamp({ token, algorithm, reduced }) {
  const list = (values) => encode(SEQUENCE, encodeAll(values, (value) => encode(OCTET_STRING, value)));
  return encode(SEQUENCE, concat(
    algorithm === null ? [] : encode(DIGEST_TAG, encodeAlgorithm(algorithm)),
    reduced === null ? [] : encode(TREE_TAG, encodeAll(reduced, list)),
    token,
  ));
}

/** What section 5.3 calls atsc(i). */
function encodeChains(chains) {
  return encode(SEQUENCE, encodeAll(chains, (chain) =>
    encode(SEQUENCE, encodeAll(chain, encodeTimestamp))));
}

function encodeRecord({ algorithms, chains }) {
  const named = encodeAll(algorithms, (each) => encode(SEQUENCE, encodeAlgorithm(each)));
  return encode(
    SEQUENCE, concat(encode(INTEGER, [1]), encode(SEQUENCE, named), encodeChains(chains)),
  );
}

// --- verifying ------------------------------------------------------------------------------

/** {genTime, tokens, expiresAt} of a record of the document with `digests` (by name), each token
 *  judged at the time of the next. Throws Broken, Malformed, Unverifiable. */
export function verifyEvidenceRecord({ algorithms, chains }, { digests, roots, intermediates }) {
  const tokens = [];
  const used = [];
  chains.forEach((chain, number) => {
    const algorithm = parseToken(chain[0].token).imprintAlgorithm;
    used.push(algorithm);
    let value = documentDigest(algorithm, digests);
    if (number > 0) {
      const before = HASHES[algorithm](encodeChains(chains.slice(0, number)));
      value = HASHES[algorithm](concat(value, before));
    }
    for (const stamp of chain) {
      const token = checkTimestamp(stamp, value, algorithm, roots, intermediates);
      if (tokens.length) checkOrder(tokens[tokens.length - 1], token);
      tokens.push(token);
      value = HASHES[algorithm](stamp.token);
    }
  });
  if (algorithms.join() !== [...new Set(used)].join()) {
    throw bad(`it names ${algorithms.join(", ")}, its chains are by ${used.join(", ")}`);
  }
  const [expiresAt] = tokens[tokens.length - 1].chain.map(({ notAfter }) => notAfter).sort();
  return { genTime: tokens[0].genTime, tokens, expiresAt };
}

function documentDigest(algorithm, digests) {
  if (!ALGORITHMS.includes(algorithm)) throw bad(`a chain by '${algorithm}'`);
  if (digests[algorithm] === undefined) {
    const given = Object.keys(digests).join(", ");
    throw new Unverifiable(
      `the record needs the document's ${algorithm}, given were ${given}`, "evidence_record_digest",
    );
  }
  return digests[algorithm];
}

/** Section 4.3, of one archive time-stamp of a chain by `algorithm`. */
function checkTimestamp(stamp, value, algorithm, roots, intermediates) {
  const token = parseToken(stamp.token);
  if (token.imprintAlgorithm !== algorithm || ![null, algorithm].includes(stamp.algorithm)) {
    const named = stamp.algorithm ?? token.imprintAlgorithm;
    throw bad(`a time-stamp by ${named} in a chain by ${algorithm}`);
  }
  const imprint = climb(value, stamp.reduced, algorithm);
  try {
    return verifyToken(token, { imprint, algorithm, roots, intermediates });
  } catch (error) {
    if (!(error instanceof Broken || error instanceof Malformed)) throw error;
    throw bad(`the token of ${token.genTime}: ${error.message}`);
  }
}

/** Section 4.3, steps 1 and 2: up to what the token must be over. */
function climb(value, reduced, algorithm) {
  if (reduced === null) return value;
  if (!reduced[0].some((each) => equal(each, value))) {
    throw bad(`${hex(value)} is not in the first list of the hash tree`);
  }
  const size = HASHES[algorithm].outputLen;
  if (reduced.some((list) => list.some((each) => each.length !== size))) {
    throw bad(`a hash in the tree is not of ${algorithm}'s ${size} bytes`);
  }
  const join = (hashes) => HASHES[algorithm](concat(...[...hashes].sort(compareBytes)));
  return reduced.slice(1).reduce((node, list) => join([node, ...list]), join(reduced[0]));
}

/** Section 5.3: the one before was valid when this one was made, and is not younger. */
function checkOrder(last, token) {
  if (token.genTime < last.genTime) {
    throw bad(`a token of ${token.genTime} renews one of ${last.genTime}`);
  }
  for (const certificate of last.chain) {
    try {
      requireValidAt(certificate, token.genTime);
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      throw bad(`renewed too late: ${error.message}`);
    }
  }
}

function bad(message) {
  return new Broken(`evidence record: ${message}`);
}
