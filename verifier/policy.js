// Witness policies (C2SP tlog-policy; notary/tlog/policy.py).

import { hex } from "./bytes.js";
import { Malformed, Unverifiable } from "./errors.js";
import { openNote, parseNote, parseVkey, sameKey } from "./note.js";

export const NONE = "none";
const MAX_CHARACTERS = 1 << 20;

/** {witnesses, groups, quorum}. Throws Malformed that names the line at fault. */
export function parsePolicy(text) {
  if (text.length > MAX_CHARACTERS) throw new Malformed(`policy of ${text.length} characters`);
  const reading = new Reading();
  text.split("\n").forEach((raw, at) => {
    const line = raw.replace(/^[ \t\r]+|[ \t\r]+$/g, "");
    if (!line || line.startsWith("#")) return;
    try {
      reading.line(line.split(/[ \t]+/));
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      throw new Malformed(`policy line ${at + 1}: ${error.message}`);
    }
  });
  if (reading.quorum === null) throw new Malformed("policy has no quorum line");
  return { witnesses: reading.witnesses, groups: reading.groups, quorum: reading.quorum };
}

/** Throws Unverifiable unless the cosigners meet the quorum. */
function checkPolicy(policy, signers) {
  const met = new Set(
    policy.witnesses
      .filter(({ key }) => signers.some((signer) => sameKey(signer, key)))
      .map(({ name }) => name),
  );
  const had = [...met].sort();
  for (const { name, threshold, members } of policy.groups) {
    if (members.filter((member) => met.has(member)).length >= threshold) met.add(name);
  }
  if (policy.quorum !== NONE && !met.has(policy.quorum)) {
    throw new Unverifiable(
      `quorum '${policy.quorum}' is not met by the cosignatures of ${JSON.stringify(had)}`,
    );
  }
}

/** The names of the witnesses whose cosignatures meet the policy. Throws Malformed, Broken,
 *  Unverifiable. */
export function meetPolicy(policy, checkpoint) {
  const cosigners = openNote(parseNote(checkpoint), policy.witnesses.map(({ key }) => key));
  checkPolicy(policy, cosigners);
  return cosigners.map(({ name }) => name);
}

class Reading {
  constructor() {
    this.witnesses = [];
    this.groups = [];
    this.quorum = null;
    this.free = new Set();
    this.names = new Set();
    this.keys = new Set();
  }

  line(words) {
    const [kind, ...rest] = words;
    if (kind === "log" && (rest.length === 1 || rest.length === 2)) {
      this.key(rest[0]);
    } else if (kind === "witness" && (rest.length === 2 || rest.length === 3)) {
      this.define(rest[0]);
      this.witnesses.push({ name: rest[0], key: this.key(rest[1]) });
    } else if (kind === "group" && rest.length >= 3) {
      this.group(rest[0], rest[1], rest.slice(2));
    } else if (kind === "quorum" && rest.length === 1) {
      if (this.quorum !== null) throw new Malformed("a second quorum");
      if (rest[0] !== NONE && !this.names.has(rest[0])) {
        throw new Malformed(`quorum '${rest[0]}' is not defined before`);
      }
      this.quorum = rest[0];
    } else {
      throw new Malformed(`not a policy line: '${words.join(" ").slice(0, 100)}'`);
    }
  }

  define(name) {
    if (name === NONE || this.names.has(name)) throw new Malformed(`name '${name}' is taken`);
    this.names.add(name);
    this.free.add(name);
  }

  key(vkey) {
    const key = parseVkey(vkey);
    const bytes = hex(key.publicKey);
    if (this.keys.has(bytes)) throw new Malformed(`the key of '${key.name}' stands here twice`);
    this.keys.add(bytes);
    return key;
  }

  group(name, threshold, members) {
    for (const member of members) {
      if (!this.free.delete(member)) {
        throw new Malformed(`member '${member}' is not defined before, or in a group already`);
      }
    }
    let count = { any: 1, all: members.length }[threshold];
    if (count === undefined) {
      if (!/^[1-9][0-9]{0,3}$/.test(threshold)) {
        throw new Malformed(`threshold '${threshold}' is not all, any or a number`);
      }
      count = Number(threshold);
    }
    if (count > members.length) throw new Malformed(`threshold ${count} of ${members.length} members`);
    this.define(name);
    this.groups.push({ name, threshold: count, members });
  }
}
