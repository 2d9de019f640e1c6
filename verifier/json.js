// JSON: strict in, RFC 8785 out, as certs/canonical.py has it. Objects are Maps, so that no name
// in a file meets a name of JavaScript's own.

import { equal, fromUtf8, utf8 } from "./bytes.js";
import { Unreadable } from "./errors.js";

const MAX_INTEGER = 2 ** 53 - 1;
const DEPTH = 900;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
// eslint-disable-next-line no-control-regex
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORDS = [["true", true], ["false", false], ["null", null]];

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  wrong(what) {
    return new Unreadable(`not JSON: ${what} at character ${this.at}`);
  }

  space() {
    SPACE.lastIndex = this.at;
    SPACE.test(this.text);
    this.at = SPACE.lastIndex;
  }

  /** Whether the next character is `wanted`, which is then passed over with the space around. */
  passes(wanted) {
    this.space();
    if (this.text[this.at] !== wanted) return false;
    this.at += 1;
    this.space();
    return true;
  }

  matched(pattern) {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match === null) return null;
    this.at = pattern.lastIndex;
    return match;
  }

  value(depth) {
    if (depth === 0) throw new Unreadable("JSON is nested too deeply");
    this.space();
    const first = this.text[this.at];
    if (first === '"') return this.string();
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.integer();
  }

  string() {
    const match = this.matched(STRING);
    if (match === null) throw this.wrong("no string");
    return JSON.parse(match[0]);
  }

  integer() {
    const match = this.matched(NUMBER);
    if (match === null) throw this.wrong("no value");
    const [text, fraction, exponent] = match;
    if (fraction !== undefined || exponent !== undefined) {
      throw new Unreadable(`number '${text.slice(0, 40)}' is not a plain integer`);
    }
    const value = Number(text);
    if (Math.abs(value) > MAX_INTEGER || text.length > 17) {
      throw new Unreadable(`integer of ${text.length} digits is beyond 2**53-1`);
    }
    return value === 0 ? 0 : value;
  }

  array(depth) {
    const items = [];
    this.passes("[");
    if (this.passes("]")) return items;
    do items.push(this.value(depth - 1));
    while (this.passes(","));
    if (!this.passes("]")) throw this.wrong("no end of an array");
    return items;
  }

  object(depth) {
    const members = new Map();
    this.passes("{");
    if (this.passes("}")) return members;
    do {
      if (this.text[this.at] !== '"') throw this.wrong("no name");
      const name = this.string();
      if (!this.passes(":")) throw this.wrong("no colon");
      if (members.has(name)) {
        throw new Unreadable(`name '${name}' appears twice in one JSON object`);
      }
      members.set(name, this.value(depth - 1));
    } while (this.passes(","));
    if (!this.passes("}")) throw this.wrong("no end of an object");
    return members;
  }
}

function load(bytes) {
  let text;
  try {
    text = fromUtf8(bytes);
  } catch {
    throw new Unreadable("JSON is not UTF-8");
  }
  const reader = new Reader(text);
  const value = reader.value(DEPTH);
  reader.space();
  if (reader.at !== text.length) throw reader.wrong("extra data");
  return value;
}

/** The RFC 8785 text. Throws Unreadable for a lone surrogate. */
export function canonicalText(value) {
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new Unreadable("JSON text holds a lone surrogate");
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(",")}]`;
  if (value instanceof Map) {
    const names = [...value.keys()].sort();  // by UTF-16 units, which is the order of RFC 8785
    return `{${names.map((n) => `${canonicalText(n)}:${canonicalText(value.get(n))}`).join(",")}}`;
  }
  return String(value);
}

/** The value of one strict JSON text in any layout. Throws Unreadable. */
export function parseJson(bytes) {
  const value = load(bytes);
  canonicalText(value);
  return value;
}

/** The value of a JSON text that is exactly its own RFC 8785 form. Throws Unreadable. */
export function parseCanonical(bytes) {
  const value = load(bytes);
  if (!equal(utf8(canonicalText(value)), bytes)) {
    throw new Unreadable("JSON is not in canonical form (RFC 8785)");
  }
  return value;
}

/** Maps to plain objects, for showing. */
export function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  return Object.fromEntries([...value].map(([name, each]) => [name, plain(each)]));
}
